import type { Random } from './random.ts'

const SUBJECTS = [
  'The heron below the weir',
  'A pair of dippers',
  'The café on Rue Émile-Zola',
  'Whoever keeps the allotment by the railway',
  'My neighbour Søren',
  'The tide table on the harbour wall',
  'An old field guide, its spine long gone',
  'The night ferry to Tórshavn',
  'Every oak along the ridge',
  'The small museum of clocks',
]
const VERBS = [
  'came back to',
  'kept away from',
  'would not let go of',
  'had nothing to say about',
  'took its time with',
  'remembered',
  'was built around',
  'outlasted',
]
const OBJECTS = [
  'the flooded meadow',
  'a habit nobody could explain',
  'the first warm week of March',
  'the road that the map leaves out',
  'what the survey of 1911 called “poor ground”',
  'a jar of sourdough older than the house',
  'the long argument about the footpath',
  'the lighthouse and its one stubborn lamp',
  'a notebook full of water levels',
]
const ENDINGS = [
  'before the fog had lifted',
  'and that was the end of it',
  'for the third winter in a row',
  'as if nothing had happened',
  '— or so the postman says 🐦',
  'while the rest of us looked the other way',
  'until somebody wrote it down',
  'in the half hour between rain and rain',
]
const ASIDES = [
  'I have been wrong about this before.',
  'You can skip the next paragraph if you have never cared about mud.',
  'None of it is in the books.',
  'Ask again in a year.',
  'It took me two years to notice.',
]
const TITLE_STARTS = [
  'On',
  'Against',
  'Notes towards',
  'A short history of',
  'In praise of',
  'Walking back from',
]
const TITLE_ENDS = [
  'mud',
  'waiting rooms',
  'the lower weir',
  'bread at altitude',
  'maps that lie',
  'the naïve gardener',
  'small boats',
  'counting birds',
  'the wrong bus',
]
const TAGS = [
  'Birds',
  'walking',
  'Bread',
  'maps',
  'weather',
  'long reads',
  'Food & drink',
  'Éire',
  'notebook',
]

export const WORDS_TO_MARK = [
  'the flooded meadow',
  'remembered',
  'notebook',
  'Søren',
  'Tórshavn',
  'heron',
] as const

export function sentence(random: Random): string {
  if (random.chance(15)) return random.pick(ASIDES)
  return `${random.pick(SUBJECTS)} ${random.pick(VERBS)} ${random.pick(OBJECTS)} ${random.pick(ENDINGS)}.`
}

export function sentences(random: Random, count: number): string {
  return Array.from({ length: count }, () => sentence(random)).join(' ')
}

export function title(random: Random): string {
  return `${random.pick(TITLE_STARTS)} ${random.pick(TITLE_ENDS)}`
}

export function tags(random: Random): string[] {
  return random.sample(TAGS, 1 + random.below(4))
}
