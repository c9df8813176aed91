import type { Catalog } from '../database/catalog.ts'
import { ConfigError } from '../errors.ts'
import type { AppView } from '../events.ts'

export interface UniqueKey {
  columns: readonly string[]
  /** Only the appview's own code keeps it: the database would take a second row. */
  isVirtual: boolean
}

/**
 * The unique keys of a table, primary key first, virtual ones last and only where the schema does not declare the same
 * columns.
 *
 * @throws ConfigError when the description names a key with a column that the table does not have
 */
export function uniqueKeysOf(
  catalog: Pick<Catalog, 'table'>,
  { virtualUniqueKeys = [] }: Pick<AppView, 'virtualUniqueKeys'>,
  name: string,
): UniqueKey[] {
  const { uniqueKeys, columns: known } = catalog.table(name)
  const declared = uniqueKeys.map((columns) => ({ columns, isVirtual: false }))
  const virtual = virtualUniqueKeys.filter(({ table }) => table === name)
  for (const { columns } of virtual) {
    const lacking = columns.find((column) => !known.some((candidate) => candidate.name === column))
    if (lacking === undefined && columns.length > 0) continue
    throw new ConfigError(
      `The description's virtual unique key of "${name}" names ${lacking === undefined ? 'no column' : `"${lacking}", which the table does not have`}.`,
      { hint: 'Correct virtualUniqueKeys in the description of the appview.', table: name },
    )
  }
  return [
    ...declared,
    ...virtual
      .filter(({ columns }) => !uniqueKeys.some((key) => sameColumns(key, columns)))
      .map(({ columns }) => ({ columns, isVirtual: true })),
  ]
}

function sameColumns(a: readonly string[], b: readonly string[]): boolean {
  return a.length === b.length && a.every((column) => b.includes(column))
}
