import { type BlastRadius, blastRadiusOf } from '../../backup/closure.ts'
import { type Edge, edgesOf } from '../../backup/edges.ts'
import type { Config } from '../../config.ts'
import { type Catalog, readCatalog } from '../../database/catalog.ts'
import { type Database, openDatabase } from '../../database/client.ts'
import { isMissingObject } from '../../database/failure.ts'
import { ReplayError } from '../../errors.ts'
import type { AppView } from '../../events.ts'
import { type MigrationFunction, ownMigration } from './own-migration.ts'

/** What was read, or why it could not be. */
export type Reading<T> = { ok: true; value: T } | { ok: false; said: string; todo: string }

export interface DatabaseReadings {
  /** Host of its API; a reading that failed says why it cannot even be asked. */
  name: Reading<string>
  /** Undefined: it answers, and has no functions of ours. */
  catalog: Reading<Catalog | undefined>
  /** Of root tables and those below: whether no row of it can be seen. Tables that are not there are left out. */
  isEmpty: Reading<ReadonlyMap<string, boolean>>
}

/** All that the checks judge. */
export interface Readings {
  appview: AppView
  production: DatabaseReadings
  backup: DatabaseReadings
  /** By production's catalog; absent where there is none. */
  radius: Reading<BlastRadius> | undefined
  /** By virtual reference, how many rows of production name a parent that is not there. */
  hanging: readonly { edge: Edge; count: Reading<number> }[]
  /** Functions that the migration of this version brings. */
  migration: readonly MigrationFunction[]
}

/** Reads what the checks judge; what cannot be read, and why, is among it. Nothing is written. */
export async function readAll(config: Config): Promise<Readings> {
  const { appview } = config
  const production = await reading(async () => openNamed(config, 'production'))
  const backup = await reading(async () => openNamed(config, 'backup'))
  const catalog = await andThen(production, readCatalogIfThere)
  const known = catalog.ok ? catalog.value : undefined
  const radius = known && (await reading(async () => blastRadiusOf(known, appview)))
  const tables = radius?.ok
    ? radius.value.tables.map(({ table }) => table)
    : [...new Set(appview.roots.map(({ table }) => table))]
  const virtual = known && radius?.ok ? edgesOf(known, appview).filter(({ kind }) => kind === 'virtual') : []
  const backupCatalog = await andThen(backup, readCatalogIfThere)
  // One that does not answer is not waited for a second time.
  const emptiness = async (
    database: Reading<Database>,
    answers: Reading<unknown>,
  ): Promise<DatabaseReadings['isEmpty']> =>
    answers.ok ? andThen(database, (open) => emptyTables(open, tables)) : answers
  return {
    appview,
    production: {
      name: await andThen(production, async ({ name }) => name),
      catalog,
      isEmpty: await emptiness(production, catalog),
    },
    backup: {
      name: await andThen(backup, async ({ name }) => name),
      catalog: backupCatalog,
      isEmpty: await emptiness(backup, backupCatalog),
    },
    radius,
    hanging: await Promise.all(
      virtual.map(async (edge) => ({
        edge,
        count: await andThen(production, (open) => countHanging(open, edge)),
      })),
    ),
    migration: await ownMigration(),
  }
}

function openNamed({ required }: Config, label: 'production' | 'backup'): Database {
  return openDatabase({ url: required(`${label}Url`), serviceKey: required(`${label}Key`), label })
}

async function readCatalogIfThere(database: Database): Promise<Catalog | undefined> {
  try {
    return await readCatalog(database)
  } catch (error) {
    if (isMissingObject(error)) return undefined
    throw error
  }
}

/** One row is asked for: a count of all would take as long as the table is large. */
async function emptyTables(database: Database, tables: readonly string[]): Promise<Map<string, boolean>> {
  const found = new Map<string, boolean>()
  for (const table of tables) {
    try {
      const rows: unknown = database.check(await database.client.from(table).select('*').limit(1), { table })
      found.set(table, !(Array.isArray(rows) && rows.length > 0))
    } catch (error) {
      if (!isMissingObject(error)) throw error
    }
  }
  return found
}

async function countHanging(database: Database, edge: Edge): Promise<number> {
  const { child, columns, keys, parent, parentColumns } = edge
  const batch = { child, column: columns[0], keys, parent, parentColumn: parentColumns[0] }
  return Number(await database.call('firehose_replay_hanging', batch))
}

async function reading<T>(read: () => Promise<T>): Promise<Reading<T>> {
  try {
    return { ok: true, value: await read() }
  } catch (error) {
    // Anything else is a fault of ours and goes on.
    if (!(error instanceof ReplayError)) throw error
    return {
      ok: false,
      said: error.message,
      todo: error.hint ?? 'Look at what it says, then run doctor again.',
    }
  }
}

async function andThen<A, B>(before: Reading<A>, read: (value: A) => Promise<B>): Promise<Reading<B>> {
  return before.ok ? reading(() => read(before.value)) : before
}
