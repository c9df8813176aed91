/** Pages of Leaflet's editor: blocks of rich text, as pub.leaflet.pages.linearDocument holds them. */

import type { JsonObject } from '../../events.ts'
import { sentence, sentences, title, WORDS_TO_MARK } from './prose.ts'
import { type Random, uuidOf } from './random.ts'

const FACET = 'pub.leaflet.richtext.facet'
const FEATURES: readonly JsonObject[] = [
  { $type: `${FACET}#bold` },
  { $type: `${FACET}#italic` },
  { $type: `${FACET}#underline` },
  { $type: `${FACET}#highlight` },
  { $type: `${FACET}#link`, uri: 'https://example.org/water-levels?year=1911#march' },
]
const ALIGNMENTS = ['textAlignLeft', 'textAlignCenter', 'textAlignJustify']

export interface Page {
  json: JsonObject
  /** Its text without markup, as `textContent` holds it. */
  text: string
}

interface Block {
  json: JsonObject
  text: string
}

/** @param sections each is a header, some paragraphs and now and then a list, a quote, code or a formula */
export function pageOf(random: Random, sections: number): Page {
  const blocks = Array.from({ length: sections }, () => sectionOf(random)).flat()
  const json = {
    $type: 'pub.leaflet.pages.linearDocument',
    id: uuidOf(random),
    blocks: blocks.map((block) => block.json),
  }
  return { json, text: blocks.flatMap(({ text }) => text || []).join('\n') }
}

function sectionOf(random: Random): Block[] {
  const paragraphs = Array.from({ length: 1 + random.below(3) }, () => paragraph(random))
  const extra = random.chance(60) ? [random.pick(EXTRAS)(random)] : []
  return [header(random), ...paragraphs, ...extra]
}

function blockOf(name: string, fields: JsonObject, text: string, alignment?: string): Block {
  const block = { $type: `pub.leaflet.blocks.${name}`, ...fields }
  // With the scheme in front, as the editor writes it.
  const token = alignment && `lex:pub.leaflet.pages.linearDocument#${alignment}`
  return { json: token ? { block, alignment: token } : { block }, text }
}

function header(random: Random): Block {
  const plaintext = title(random)
  return blockOf('header', { plaintext, level: 1 + random.below(3) }, plaintext)
}

function paragraph(random: Random): Block {
  const plaintext = sentences(random, 2 + random.below(2))
  const facets = facetsOf(random, plaintext)
  const fields: JsonObject = { plaintext }
  if (facets.length > 0) fields.facets = facets
  if (random.chance(10)) fields.textSize = 'small'
  return blockOf('text', fields, plaintext, random.chance(15) ? random.pick(ALIGNMENTS) : undefined)
}

/** Marks known words where they are in the text; offsets count UTF-8 bytes. */
export function facetsOf(random: Random, plaintext: string): JsonObject[] {
  return WORDS_TO_MARK.flatMap((word) => {
    const index = plaintext.indexOf(word)
    if (index < 0) return []
    const byteStart = Buffer.byteLength(plaintext.slice(0, index))
    const byteEnd = byteStart + Buffer.byteLength(word)
    return [{ index: { byteStart, byteEnd }, features: [{ ...random.pick(FEATURES) }] }]
  })
}

const EXTRAS: readonly ((random: Random) => Block)[] = [
  (random) => list(random, 'unorderedList'),
  (random) => list(random, 'orderedList'),
  (random) => {
    const plaintext = sentence(random)
    return blockOf('blockquote', { plaintext }, plaintext)
  },
  () => {
    const plaintext =
      'const level = readings.at(-1) ?? 0\nif (level > 1911) warn("high water") // "poor ground"'
    return blockOf('code', { plaintext, language: 'typescript' }, plaintext)
  },
  () => blockOf('math', { tex: 'h(t) = h_0 + \\sum_{i=1}^{n} a_i \\cos(\\omega_i t + \\varphi_i)' }, ''),
  () => blockOf('horizontalRule', {}, ''),
]

function list(random: Random, name: 'unorderedList' | 'orderedList'): Block {
  const items = Array.from({ length: 2 + random.below(3) }, () => title(random))
  const children = items.map((plaintext, index) => ({
    content: { $type: 'pub.leaflet.blocks.text', plaintext },
    ...(index === 0 ? { children: [listItem('and its other half')] } : {}),
  }))
  return blockOf(name, { children }, items.join('\n'))
}

function listItem(plaintext: string): JsonObject {
  return { content: { $type: 'pub.leaflet.blocks.text', plaintext } }
}
