import type { StackDatabase } from '../../src/stack/index.ts'

/** The tables that our migration adds. */
export const OWN_TABLES = [
  'firehose_cursors',
  'record_state',
  'parked_events',
  'dead_letters',
  'restore_marks',
  'replay_receipts',
  'write_requests',
  'write_failures',
]

/** By table, its rows: their key, and every column as the database prints it. */
export type TableDump = Map<string, { key: string; columns: Record<string, string | null> }[]>

/** Everything that a database holds, but for the tables named. */
export async function dumpTables(database: StackDatabase, without: readonly string[]): Promise<TableDump> {
  const dump: TableDump = new Map()
  for (const { name, columns, key } of await tablesOf(database, without)) {
    const texts = columns.map((column) => `${quoted(column)}::text as ${quoted(column)}`).join(', ')
    const rows = await database.query(`select ${texts} from public.${quoted(name)}`)
    dump.set(
      name,
      rows
        .map((row) => ({
          key: JSON.stringify(key.map((column) => row[column])),
          columns: row as Record<string, string | null>,
        }))
        .sort((a, b) => (a.key < b.key ? -1 : 1)),
    )
  }
  return dump
}

/** By table and key, which version of each row is the present one: any write, even of the same values, changes it. */
export async function rowVersions(
  database: StackDatabase,
  without: readonly string[],
): Promise<Map<string, string>> {
  const versions = new Map<string, string>()
  for (const { name, key } of await tablesOf(database, without)) {
    const id = key.map((column) => `${quoted(column)}::text`).join(` || '|' || `)
    const rows = await database.query(
      `select ${id} as id, xmin::text || ' ' || ctid::text as version from public.${quoted(name)}`,
    )
    for (const row of rows) versions.set(`${name} ${row.id}`, String(row.version))
  }
  return versions
}

async function tablesOf(database: StackDatabase, without: readonly string[]) {
  const rows = await database.query(
    `select c.relname as name,
            array(select a.attname::text from pg_attribute a where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
                  order by a.attnum) as columns,
            array(select a.attname::text from pg_index i cross join unnest(i.indkey::int2[]) k
                  join pg_attribute a on a.attrelid = c.oid and a.attnum = k where i.indrelid = c.oid and i.indisprimary) as key
     from pg_class c where c.relnamespace = 'public'::regnamespace and c.relkind = 'r' and c.relname <> all($1)
     order by 1`,
    [without],
  )
  return rows.map((row) => ({
    name: String(row.name),
    columns: row.columns as string[],
    key: row.key as string[],
  }))
}

function quoted(name: string): string {
  return `"${name.replaceAll('"', '""')}"`
}
