export interface Random {
  /** An integer from 0 up to and without `limit`. */
  below(limit: number): number
  /** @throws RangeError when the list is empty */
  pick<T>(list: readonly T[]): T
  /** `count` different elements, in the order of the list; all of them where it has no more. */
  sample<T>(list: readonly T[], count: number): T[]
  /** True in `percent` of a hundred cases. */
  chance(percent: number): boolean
}

/** The same numbers for the same name, in every run. No cryptography: FNV-1a over the name, then mulberry32. */
export function randomOf(name: string): Random {
  let state = 0x811c9dc5
  for (const character of name) state = Math.imul(state ^ (character.codePointAt(0) ?? 0), 0x01000193)
  const below = (limit: number): number => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return Math.floor((((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32) * limit)
  }
  const pick = <T>(list: readonly T[]): T => {
    if (list.length === 0) throw new RangeError('Nothing to pick from.')
    return list[below(list.length)] as T
  }
  const sample = <T>(list: readonly T[], count: number): T[] => {
    const indexes = new Set<number>()
    while (indexes.size < Math.min(count, list.length)) indexes.add(below(list.length))
    return list.filter((_, index) => indexes.has(index))
  }
  return { below, pick, sample, chance: (percent) => below(100) < percent }
}

/** A UUID in form, from `random`: for ids inside records, which are to be the same in every run. */
export function uuidOf(random: Random): string {
  const hex = Array.from({ length: 32 }, () => random.below(16).toString(16)).join('')
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-7${hex.slice(13, 16)}-8${hex.slice(17, 20)}-${hex.slice(20)}`
}
