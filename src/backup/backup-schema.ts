import { type Catalog, readCatalog } from '../database/catalog.ts'
import type { Database } from '../database/client.ts'
import { isMissingObject } from '../database/failure.ts'
import { ConfigError } from '../errors.ts'
import type { AppView } from '../events.ts'
import { closureOf } from './closure.ts'
import type { LackingTable } from './snapshot.ts'

/** The backup's own catalog; undefined where it does not have our functions, as it need not. */
export async function backupCatalog(database: Database): Promise<Catalog | undefined> {
  try {
    return await readCatalog(database)
  } catch (error) {
    if (isMissingObject(error)) return undefined
    throw error
  }
}

/**
 * Where row-level security hides rows, counts hide them too: what was read would look whole.
 *
 * @throws ConfigError when it does in a root, in what hangs off them, or in what these refer to
 */
export function refuseHiddenRows(
  theirs: Catalog,
  appview: AppView,
  { label }: Pick<Database, 'label'>,
): void {
  const tables = new Set(knownClosure(theirs, appview))
  // A Set gives what is added while it is walked.
  for (const table of tables)
    for (const { child, parent } of theirs.foreignKeys) if (child === table) tables.add(parent)
  const hidden = [...tables].filter((table) => theirs.table(table).rowSecurity)
  if (hidden.length === 0) return
  const names = hidden.map((table) => `"${table}"`).join(', ')
  throw new ConfigError(
    `Row-level security decides which rows this key sees in the ${label} database: ${names}.`,
    {
      hint: 'Give a key whose role passes it by (the service role has BYPASSRLS in a Supabase project).',
    },
  )
}

/** What the backup has of the roots and of all that hangs off them, and production has no more. */
export function droppedTables(theirs: Catalog, catalog: Catalog, appview: AppView): LackingTable[] {
  return knownClosure(theirs, appview).flatMap((table): LackingTable[] => {
    if (!catalog.has(table)) return [{ table }]
    const known = new Set(catalog.table(table).columns.map(({ name }) => name))
    const columns = theirs.table(table).columns.flatMap(({ name }) => (known.has(name) ? [] : [name]))
    return columns.length === 0 ? [] : [{ table, columns }]
  })
}

/** By foreign keys alone: what the description says may be about a later schema. */
function knownClosure(theirs: Catalog, { roots, untouchableTables }: AppView): string[] {
  const known = roots.filter(({ table }) => theirs.has(table))
  return closureOf(theirs, { roots: known, untouchableTables }).map(({ table }) => table)
}
