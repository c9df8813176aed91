import { type Catalog, readCatalog } from '../database/catalog.ts'
import { isMissingObject } from '../database/failure.ts'
import { closureOf } from './closure.ts'
import type { ExtractOptions } from './collect-rows.ts'
import type { LackingTable } from './snapshot.ts'

/**
 * What the backup has of the roots and of all that hangs off them, and production has no more. Only a backup that has
 * our functions can tell; of another one nothing is said.
 */
export async function droppedTables({
  database,
  catalog,
  appview,
}: Pick<ExtractOptions, 'database' | 'catalog' | 'appview'>): Promise<LackingTable[]> {
  let theirs: Catalog
  try {
    theirs = await readCatalog(database)
  } catch (error) {
    if (isMissingObject(error)) return []
    throw error
  }
  const roots = appview.roots.filter(({ table }) => theirs.has(table))
  const closure = closureOf(theirs, { roots, untouchableTables: appview.untouchableTables })
  return closure.flatMap(({ table }): LackingTable[] => {
    if (!catalog.has(table)) return [{ table }]
    const known = new Set(catalog.table(table).columns.map(({ name }) => name))
    const columns = theirs.table(table).columns.flatMap(({ name }) => (known.has(name) ? [] : [name]))
    return columns.length === 0 ? [] : [{ table, columns }]
  })
}
