import { createHash, type Hash } from 'node:crypto'
import type { Snapshot, SnapshotTable } from './snapshot.ts'

/** Where tables without a section of their own, and the parents, are found in the file. */
export const OTHER_TABLES = 'otherTables'
export const PARENTS = 'parents'

/** True when this table's rows are under `otherTables`. */
export function isOther({ section, table }: Pick<SnapshotTable, 'section' | 'table'>): boolean {
  return section === `${OTHER_TABLES}.${table}`
}

/** The file's text in pieces, about a row each. The digest comes last: what is cut short has none. */
export function* snapshotText(snapshot: Snapshot): Generator<string, undefined> {
  const digests = new Map<SnapshotTable, string>()
  yield `{\n"did": ${JSON.stringify(snapshot.did)}`
  for (const table of snapshot.tables.filter((table) => !isOther(table))) {
    yield* rowsText(`,\n${JSON.stringify(table.section)}`, table, digests)
  }
  for (const section of snapshot.meta.emptySections ?? []) yield `,\n${JSON.stringify(section)}: []`
  yield* tablesText(OTHER_TABLES, snapshot.tables.filter(isOther), digests)
  yield* tablesText(PARENTS, snapshot.parents, digests)
  yield `,\n"meta": ${JSON.stringify(metaOf(snapshot, digests), null, 1)}\n}\n`
}

type Digests = Map<SnapshotTable, string>

function* tablesText(
  name: string,
  tables: readonly SnapshotTable[],
  digests: Digests,
): Generator<string, undefined> {
  yield `,\n${JSON.stringify(name)}: {`
  for (const [index, table] of tables.entries()) {
    yield* rowsText(`${index === 0 ? '' : ','}\n${JSON.stringify(table.table)}`, table, digests)
  }
  yield '}'
}

function* rowsText(name: string, table: SnapshotTable, digests: Digests): Generator<string, undefined> {
  yield `${name}: [`
  const digest = rowsDigest(table)
  let count = 0
  for (const row of table.rows) {
    digest.add(row)
    const entries = table.columns.map((column) => [column.name, row[column.name] ?? null])
    yield `${count++ === 0 ? '' : ','}\n${JSON.stringify(Object.fromEntries(entries))}`
  }
  digests.set(table, digest.hex())
  yield ']'
}

function metaOf(snapshot: Snapshot, digests: Digests): Record<string, unknown> {
  const { format, extractedAt, from, appview, emptySections = [], lacking = [], dropped = [] } = snapshot.meta
  return {
    format,
    extractedAt,
    from,
    appview,
    emptySections,
    lacking,
    dropped,
    tables: snapshot.tables.map(headOf),
    parents: snapshot.parents.map(headOf),
    digest: digestOf(snapshot, (table) => digests.get(table) ?? ''),
  }
}

function headOf({ table, section, columns, key, rows }: SnapshotTable): Record<string, unknown> {
  return { table, section, columns, key, count: rows.length }
}

/** Of a table's rows, in their order: to be taken along where they are walked anyway. */
export function rowsDigest({ columns }: Pick<SnapshotTable, 'columns'>) {
  const hash = createHash('sha256')
  return {
    add: (row: Record<string, string | null>) =>
      addLine(
        hash,
        columns.map(({ name }) => row[name] ?? null),
      ),
    hex: () => hash.digest('hex'),
  }
}

/**
 * SHA-256 over everything that the snapshot says: an edit by hand is noticed. It proves no origin, for whoever edits
 * the file on purpose can compute it again.
 *
 * @param rowsDigestOf see `rowsDigest`
 */
export function digestOf(snapshot: Snapshot, rowsDigestOf: (table: SnapshotTable) => string): string {
  const hash = createHash('sha256')
  const { format, extractedAt, from, appview, emptySections = [], lacking = [], dropped = [] } = snapshot.meta
  const others = [lacking, dropped].map((tables) =>
    tables.map(({ table, columns }) => [table, columns ?? null]),
  )
  addLine(hash, [snapshot.did, format, extractedAt, from, appview, emptySections, ...others])
  for (const tables of [snapshot.tables, snapshot.parents]) {
    addLine(hash, tables.length)
    for (const head of tables) {
      const { table, section, columns, key, rows } = head
      const names = columns.map(({ name, type, generated }) => [name, type, generated])
      addLine(hash, [table, section, names, key, rows.length, rowsDigestOf(head)])
    }
  }
  return hash.digest('hex')
}

/** A line each: JSON holds no line break of its own. */
function addLine(hash: Hash, value: unknown): void {
  hash.update(`${JSON.stringify(value)}\n`)
}
