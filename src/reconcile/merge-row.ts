import { isDeepStrictEqual } from 'node:util'
import { rowId, type SnapshotTable } from '../backup/snapshot.ts'
import type { ExactRow } from '../database/exact.ts'
import { canonicalNumber } from '../database/json.ts'
import { meaningOf } from '../database/meaning.ts'
import type { AppView, Handler, Json, JsonObject, Row } from '../events.ts'
import { recordNameOf } from '../pds/lost-record.ts'
import type { RepoRecords } from './own-records.ts'
import { eventFromRepo } from './record-events.ts'

/**
 * What an indexed row must keep of the backup's, as its handler's `mergeRow` says: by column, the text to set. Columns
 * that hold it already are left out. A value that is the backup's goes back with the backup's text; one that the
 * handler made up of both is printed anew, numbers with the digits they had.
 *
 * @param table of the snapshot
 * @param row the snapshot's
 * @param now production's
 */
export function keptOfBackup(
  appview: Pick<AppView, 'handlers'>,
  table: SnapshotTable,
  row: ExactRow,
  now: ExactRow,
): Map<string, string | null> {
  const old = parsedRow(row, table)
  const kept = handlerOf(appview, table, row)?.mergeRow?.(old, parsedRow(now, table)) ?? {}
  const texts = new Map<string, string | null>()
  for (const { name, type, generated } of table.columns) {
    const value = kept[name]
    if (value === undefined || generated) continue
    const text = isDeepStrictEqual(value, old[name]) ? (row[name] ?? null) : textOf(value, type)
    if (meaningOf(text, type) !== meaningOf(now[name] ?? null, type)) texts.set(name, text)
  }
  return texts
}

/**
 * Whether columns of a row still hold what the record in the repo gives: then nobody has written them since.
 *
 * @returns per column; undefined where that cannot be told, because the value has no one text. No column at all
 *   where the repo has no record, or one that its handler makes no such row of
 */
export function holdsRecord(
  appview: Pick<AppView, 'handlers'>,
  table: SnapshotTable,
  now: ExactRow,
  repo: RepoRecords,
): Map<string, boolean | undefined> {
  const given = rowOfRecord(appview, table, now, repo) ?? {}
  const columns = table.columns.filter(({ name }) => given[name] !== undefined)
  return new Map(
    columns.map(({ name, type }) => {
      const value = given[name] ?? null
      const hasOneText = isJson(type) || value === null || typeof value !== 'object'
      const isSame = () => meaningOf(textOf(value, type), type) === meaningOf(now[name] ?? null, type)
      return [name, hasOneText ? isSame() : undefined]
    }),
  )
}

function rowOfRecord(
  appview: Pick<AppView, 'handlers'>,
  table: SnapshotTable,
  now: ExactRow,
  repo: RepoRecords,
): Row | undefined {
  const handler = handlerOf(appview, table, now)
  const uri = handler === undefined ? undefined : now[handler.derives[0].of]
  const event = uri == null ? undefined : eventFromRepo(uri, repo)
  const result = event === undefined ? undefined : handler?.rows(event)
  if (result?.outcome !== 'rows') return undefined
  const id = rowId(now, table.key)
  for (const mutation of result.mutations) {
    if (mutation.kind !== 'upsert' || mutation.into.table !== table.table) continue
    const texts = Object.fromEntries(table.key.map((column) => [column, mutation.row[column] ?? null]))
    if (rowId(texts as ExactRow, table.key) === id) return mutation.row
  }
  return undefined
}

/** The handler whose records' own rows live in this table, by the collection of the row's record. */
function handlerOf(
  { handlers }: Pick<AppView, 'handlers'>,
  { table }: SnapshotTable,
  row: ExactRow,
): Handler | undefined {
  return handlers.find(({ collection, derives: [own] }) => {
    const uri = own.table === table ? row[own.of] : undefined
    return uri != null && recordNameOf(uri)?.collection === collection
  })
}

/** A row as handlers take it: JSON columns parsed, everything else as the database prints it. */
function parsedRow(row: ExactRow, { columns }: SnapshotTable): JsonObject {
  return Object.fromEntries(
    columns.map(({ name, type }) => {
      const text = row[name] ?? null
      return [name, text !== null && isJson(type) ? (JSON.parse(text, keepDigits) as Json) : text]
    }),
  )
}

/** JSON text that JSON.stringify prints as it is (V8 has it; TypeScript's library does not). */
const { rawJSON } = JSON as unknown as { rawJSON(text: string): object }

/** A number that a double cannot hold is opaque to the handler: it can be carried along, and is printed as it was. */
function keepDigits(_key: string, value: unknown, context?: { source?: string }): unknown {
  const source = context?.source
  if (typeof value !== 'number' || source === undefined) return value
  return canonicalNumber(String(value)) === canonicalNumber(source) ? value : rawJSON(source)
}

function textOf(value: Json, type: string): string | null {
  if (value === null) return null
  return typeof value === 'string' && !isJson(type) ? value : JSON.stringify(value)
}

function isJson(type: string): boolean {
  return type === 'json' || type === 'jsonb'
}
