import type { Catalog } from '../database/catalog.ts'
import { ConfigError } from '../errors.ts'
import type { AppView } from '../events.ts'

/**
 * The unique keys of a table that the appview's own code keeps and the schema does not declare.
 *
 * @throws ConfigError when the description names a key with a column that the table does not have
 */
export function virtualKeysOf(
  catalog: Pick<Catalog, 'table'>,
  { virtualUniqueKeys = [] }: Pick<AppView, 'virtualUniqueKeys'>,
  name: string,
): (readonly string[])[] {
  const { uniqueKeys, columns: known } = catalog.table(name)
  const virtual = virtualUniqueKeys.filter(({ table }) => table === name).map(({ columns }) => columns)
  for (const columns of virtual) {
    const lacking = columns.find((column) => !known.some((candidate) => candidate.name === column))
    if (lacking === undefined && columns.length > 0) continue
    throw new ConfigError(
      `The description's virtual unique key of "${name}" names ${lacking === undefined ? 'no column' : `"${lacking}", which the table does not have`}.`,
      { hint: 'Correct virtualUniqueKeys in the description of the appview.', table: name },
    )
  }
  return virtual.filter((columns) => !uniqueKeys.some((key) => sameColumns(key, columns)))
}

function sameColumns(a: readonly string[], b: readonly string[]): boolean {
  return a.length === b.length && a.every((column) => b.includes(column))
}
