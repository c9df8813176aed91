import { chmod, mkdtemp, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { type DatabaseConnection, quoted } from './postgres.ts'

interface StoredTable {
  name: string
  /** Without generated columns: the backup computes its own. */
  columns: string[]
}

/**
 * Replaces all rows of schema public in `backup` by those of `production`, as they are in one snapshot, while
 * production goes on. Both databases are of one cluster.
 *
 * The rows travel through files in PostgreSQL's own COPY format because that is exact for every type; reading them
 * into JavaScript is not. Tables that `backup` does not have (those of our own migration, perhaps) stay out.
 *
 * @param folder where the files may be put; the server's user must be able to reach it
 */
export async function takeBackup(
  production: DatabaseConnection,
  backup: DatabaseConnection,
  folder: string,
): Promise<void> {
  const files = await mkdtemp(join(folder, 'copy-'))
  try {
    await chmod(files, 0o777)
    const tables = await storedTables(backup)
    await exportTables(production, tables, files)
    await importTables(backup, tables, files)
    await copySequences(production, backup)
  } finally {
    await rm(files, { recursive: true, force: true })
  }
}

async function storedTables(connection: DatabaseConnection): Promise<StoredTable[]> {
  const rows = await connection.query(`
    select c.relname as name, array_agg(a.attname::text order by a.attnum) as columns
    from pg_class c join pg_attribute a on a.attrelid = c.oid
    where c.relnamespace = 'public'::regnamespace and c.relkind = 'r'
      and a.attnum > 0 and not a.attisdropped and a.attgenerated = ''
    group by c.relname order by c.relname`)
  return rows.map((row) => ({ name: String(row.name), columns: (row.columns as string[]).map(String) }))
}

async function exportTables(
  production: DatabaseConnection,
  tables: readonly StoredTable[],
  files: string,
): Promise<void> {
  await inTransaction(production, 'begin isolation level repeatable read read only', async () => {
    for (const [index, table] of tables.entries()) {
      await production.query(`copy ${target(table)} to ${literal(join(files, String(index)))}`)
    }
  })
}

async function importTables(
  backup: DatabaseConnection,
  tables: readonly StoredTable[],
  files: string,
): Promise<void> {
  if (tables.length === 0) return
  await inTransaction(backup, 'begin', async () => {
    // As a restore of a dump does: no trigger fires and no foreign key is checked.
    await backup.query('set local session_replication_role = replica')
    await backup.query(`truncate ${tables.map((table) => qualified(table.name)).join(', ')} cascade`)
    for (const [index, table] of tables.entries()) {
      await backup.query(`copy ${target(table)} from ${literal(join(files, String(index)))}`)
    }
  })
}

async function inTransaction(
  connection: DatabaseConnection,
  begin: string,
  work: () => Promise<void>,
): Promise<void> {
  await connection.query(begin)
  try {
    await work()
    await connection.query('commit')
  } catch (error) {
    await connection.query('rollback')
    throw error
  }
}

/** Also of identity and serial columns. Sequences are not part of a snapshot, so they may be ahead of the rows. */
async function copySequences(production: DatabaseConnection, backup: DatabaseConnection): Promise<void> {
  const known = await backup.query(
    `select sequencename as name from pg_sequences where schemaname = 'public'`,
  )
  for (const { name } of known) {
    const sequence = qualified(String(name))
    const [state] = await production.query(`select last_value::text as value, is_called from ${sequence}`)
    if (state === undefined) continue
    await backup.query('select setval($1::regclass, $2::bigint, $3)', [
      sequence,
      state.value,
      state.is_called,
    ])
  }
}

function target(table: StoredTable): string {
  return `${qualified(table.name)} (${table.columns.map(quoted).join(', ')})`
}

function qualified(name: string): string {
  return `public.${quoted(name)}`
}

function literal(text: string): string {
  return `'${text.replaceAll("'", "''")}'`
}
