import { createHash } from 'node:crypto'
import type { Snapshot, SnapshotTable } from './snapshot.ts'

/** Where tables without a section of their own, and the parents, are found in the file. */
export const OTHER_TABLES = 'otherTables'
export const PARENTS = 'parents'

/** True when this table's rows are under `otherTables`. */
export function isOther({ section, table }: Pick<SnapshotTable, 'section' | 'table'>): boolean {
  return section === `${OTHER_TABLES}.${table}`
}

/** The file's text in pieces, about a row each. The digest comes last: what is cut short has none. */
export function* snapshotText(snapshot: Snapshot): Generator<string> {
  yield `{\n"did": ${JSON.stringify(snapshot.did)}`
  for (const table of snapshot.tables.filter((table) => !isOther(table))) {
    yield* rowsText(`,\n${JSON.stringify(table.section)}`, table)
  }
  for (const section of snapshot.meta.emptySections ?? []) yield `,\n${JSON.stringify(section)}: []`
  yield* tablesText(OTHER_TABLES, snapshot.tables.filter(isOther))
  yield* tablesText(PARENTS, snapshot.parents)
  yield `,\n"meta": ${JSON.stringify(metaOf(snapshot), null, 1)}\n}\n`
}

function* tablesText(name: string, tables: readonly SnapshotTable[]): Generator<string> {
  yield `,\n${JSON.stringify(name)}: {`
  for (const [index, table] of tables.entries()) {
    yield* rowsText(`${index === 0 ? '' : ','}\n${JSON.stringify(table.table)}`, table)
  }
  yield '}'
}

function* rowsText(name: string, { columns, rows }: SnapshotTable): Generator<string> {
  yield `${name}: [`
  for (const [index, row] of rows.entries()) {
    const entries = columns.map((column) => [column.name, row[column.name] ?? null])
    yield `${index === 0 ? '' : ','}\n${JSON.stringify(Object.fromEntries(entries))}`
  }
  yield ']'
}

function metaOf(snapshot: Snapshot): Record<string, unknown> {
  const { format, extractedAt, from, appview, emptySections = [] } = snapshot.meta
  return {
    format,
    extractedAt,
    from,
    appview,
    emptySections,
    tables: snapshot.tables.map(headOf),
    parents: snapshot.parents.map(headOf),
    digest: digestOf(snapshot),
  }
}

function headOf({ table, section, columns, key, rows }: SnapshotTable): Record<string, unknown> {
  return { table, section, columns, key, count: rows.length }
}

/**
 * SHA-256 over everything that the snapshot says: an edit by hand is noticed. It proves no origin, for whoever edits
 * the file on purpose can compute it again.
 */
export function digestOf(snapshot: Snapshot): string {
  const hash = createHash('sha256')
  // A line each: JSON holds no line break of its own.
  const add = (value: unknown) => hash.update(`${JSON.stringify(value)}\n`)
  const { format, extractedAt, from, appview, emptySections = [] } = snapshot.meta
  add([snapshot.did, format, extractedAt, from, appview, emptySections])
  for (const tables of [snapshot.tables, snapshot.parents]) {
    add(tables.length)
    for (const { table, section, columns, key, rows } of tables) {
      const names = columns.map(({ name, type, generated }) => [name, type, generated])
      add([table, section, names, key, rows.length])
      for (const row of rows) add(columns.map(({ name }) => row[name] ?? null))
    }
  }
  return hash.digest('hex')
}
