import { filterName, inLists, quoteValue } from '../database/exact.ts'

/** A PostgREST filter, as readExact takes it. */
export type Filter = readonly [column: string, condition: string]

/** As for `inLists`: half of what common proxies accept, because select and order take their share. */
const MAX_BYTES = 4000

/**
 * Filters, each short enough for a URL, that together give the rows whose `columns` hold one of `values`, each
 * row by exactly one of them.
 */
export function keyFilters(
  columns: readonly string[],
  values: readonly (readonly string[])[],
  maxBytes = MAX_BYTES,
): Filter[] {
  const [column] = columns
  if (column === undefined || values.length === 0) return []
  if (columns.length === 1) {
    return inLists(
      values.map(([value = '']) => value),
      maxBytes,
    ).map((list) => [column, list])
  }
  // A list of one and no `eq`: Supabase Lite takes a quoted value's escapes for part of the value there.
  const terms = values.map(
    (tuple) =>
      `and(${columns.map((name, i) => `${filterName(name)}.in.(${quoteValue(tuple[i] ?? '')})`).join(',')})`,
  )
  // Under `and`, because `or` is where readExact says which page it wants.
  return cut(terms, maxBytes).map((group) => ['and', `(or(${group.join(',')}))`])
}

function cut(terms: readonly string[], maxBytes: number): string[][] {
  const groups: string[][] = []
  let bytes = Number.POSITIVE_INFINITY
  for (const term of terms) {
    const termBytes = new URLSearchParams({ '': `,${term}` }).toString().length
    if (bytes + termBytes > maxBytes) {
      groups.push([])
      bytes = 0
    }
    groups.at(-1)?.push(term)
    bytes += termBytes
  }
  return groups
}
