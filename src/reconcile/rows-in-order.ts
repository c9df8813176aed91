import type { ForeignKey } from '../database/catalog.ts'
import type { ExactRow } from '../database/exact.ts'

/**
 * Rows of one table, those that others hang on first. Rows that hang on one another in a circle end up side by side:
 * they can only be inserted in one statement.
 *
 * @param keys by which the table refers to itself
 */
export function rowsInOrder<T extends { row: ExactRow }>(
  items: readonly T[],
  keys: readonly Pick<ForeignKey, 'columns' | 'parentColumns'>[],
): T[] {
  if (keys.length === 0) return [...items]
  const textOf = (row: ExactRow, columns: readonly string[]): string =>
    JSON.stringify(columns.map((column) => row[column] ?? null))
  const byKey = keys.map(
    ({ parentColumns }) => new Map(items.map((item) => [textOf(item.row, parentColumns), item])),
  )
  const parentsOf = ({ row }: T): T[] =>
    keys.flatMap(({ columns }, index) => byKey[index]?.get(textOf(row, columns)) ?? [])
  const ordered: T[] = []
  const met = new Set<T>()
  for (const root of items) {
    if (met.has(root)) continue
    met.add(root)
    // No recursion: a thread of replies may be deeper than the stack.
    const path = [{ item: root, parents: parentsOf(root) }]
    for (let top = path.at(-1); top !== undefined; top = path.at(-1)) {
      const parent = top.parents.pop()
      if (parent === undefined) {
        ordered.push(top.item)
        path.pop()
      } else if (!met.has(parent)) {
        met.add(parent)
        path.push({ item: parent, parents: parentsOf(parent) })
      }
    }
  }
  return ordered
}
