import type { AppView } from '../events.ts'

/** Which handlers write a table, and so whose repo gives its rows back. */
export interface Derivation {
  collections: readonly string[]
  /** The column that holds the AT-URI of the record that a row is made from. */
  of: string
  /** The columns that the handlers write; the others only the backup has. */
  columns: readonly string[]
  /**
   * `own`: records of the account that is restored, whose replay brings all rows back. `anyone`: also records of other
   * accounts, whose repos no replay of this account reads.
   */
  whose: 'own' | 'anyone'
}

/** @returns undefined where no handler writes the table: only the backup has its rows */
export function derivationOf(
  { handlers, roots }: Pick<AppView, 'handlers' | 'roots'>,
  table: string,
): Derivation | undefined {
  const writers = handlers.flatMap(({ collection, derives }) =>
    derives.filter((derived) => derived.table === table).map((derived) => ({ collection, ...derived })),
  )
  const [first] = writers
  if (first === undefined) return undefined
  return {
    collections: writers.map(({ collection }) => collection),
    of: first.of,
    columns: [...new Set(writers.flatMap(({ columns }) => columns))],
    whose: roots.some((root) => root.table === table) ? 'own' : 'anyone',
  }
}
