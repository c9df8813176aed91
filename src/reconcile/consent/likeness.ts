import { canonicalJson } from '../../database/json.ts'
import { meaningOf } from '../../database/meaning.ts'
import { VerificationError } from '../../errors.ts'
import type {
  DerivedTable,
  Handler,
  HandlerResult,
  Json,
  JsonObject,
  RecordUpsert,
  Row,
} from '../../events.ts'
import { cidOfRecord, lexToJson } from '../../repo/record.ts'
import type { MadeRow } from './foreign-records.ts'

/** How a record that is there relates to the rows that the backup has of it. */
export type Likeness =
  | { is: 'same' }
  | { is: 'changed' }
  /** Changed into something that stands for no row: its present value has none to bring. */
  | { is: 'rowless'; reason: string }

/**
 * The record decides where a row holds it: rows whose keys were pointed elsewhere since (an account that migrated
 * collections) differ from what the handler makes of the old record, and are right. Where none does, the handler
 * decides. Only `uri` and `cid` in a record's place are the reply to the write that made it, not another record.
 */
export function likenessOf(
  present: RecordUpsert,
  rows: readonly MadeRow[],
  handler: Pick<Handler, 'rows'> | undefined,
): Likeness {
  if (rows.some((made) => heldRecords(made, present).some((held) => isRecord(held, present))))
    return { is: 'same' }
  const derived = rows.filter((made): made is DerivedRow => made.derived !== undefined)
  // Nothing that is known of these rows says what the record said.
  if (derived.length === 0 && rows.length > 0) return { is: 'same' }
  const result = handler?.rows(present) ?? { outcome: 'skipped', reason: 'nothing here indexes it' }
  if (result.outcome !== 'rows') return { is: 'rowless', reason: result.reason }
  return derived.every((made) => isDerivedRow(made, result, present)) ? { is: 'same' } : { is: 'changed' }
}

interface DerivedRow extends MadeRow {
  derived: DerivedTable
}

interface Held {
  text: string
  json: JsonObject
}

/** What a row holds in the place of its record: JSON with the record's type, or a placeholder for it. */
function heldRecords({ row, derived, types }: MadeRow, { collection }: RecordUpsert): Held[] {
  return (derived?.columns ?? []).flatMap((column) => {
    const text = row[column]
    const type = types.get(column)
    if (text == null || (type !== 'json' && type !== 'jsonb')) return []
    const json: unknown = JSON.parse(text)
    if (json === null || typeof json !== 'object' || Array.isArray(json)) return []
    const held = { text, json: json as JsonObject }
    return held.json.$type === collection || isPlaceholder(held.json) ? [held] : []
  })
}

function isPlaceholder(json: JsonObject): boolean {
  const keys = Object.keys(json)
  return keys.length > 0 && keys.every((key) => key === 'uri' || key === 'cid')
}

function isRecord({ text, json }: Held, { cid, record }: RecordUpsert): boolean {
  if (isPlaceholder(json)) return json.cid === cid.toString()
  if (canonicalJson(text) === canonicalJson(JSON.stringify(lexToJson(record)))) return true
  try {
    return cidOfRecord(json) === cid.toString()
  } catch (error) {
    // What the row holds cannot be a record as it stands, so it is not this one.
    if (error instanceof VerificationError) return false
    throw error
  }
}

function isDerivedRow(
  made: DerivedRow,
  { mutations }: HandlerResult & { outcome: 'rows' },
  present: RecordUpsert,
): boolean {
  const rowsOfTable = mutations.flatMap((mutation): readonly Row[] => {
    if (mutation.kind === 'ensure' || mutation.into.table !== made.derived.table) return []
    return mutation.kind === 'upsert' ? [mutation.row] : mutation.rows
  })
  return rowsOfTable.some((derived) =>
    made.derived.columns.every((column) => isEqual(column, made, derived, present)),
  )
}

function isEqual(
  column: string,
  { row, derived, types }: DerivedRow,
  now: Row,
  present: RecordUpsert,
): boolean {
  const before = row[column] ?? null
  const type = types.get(column)
  // A column that the backup's schema did not have.
  if (type === undefined) return true
  if (before === null && derived.nullIfMissing?.includes(column)) return true
  const value = now[column] ?? null
  if (before !== null && value !== null && isPlaceholderText(before, type)) return isRecordOf(value, present)
  return meaningOf(before, type) === meaningOf(textOf(value, type), type)
}

function isPlaceholderText(text: string, type: string): boolean {
  if (type !== 'json' && type !== 'jsonb') return false
  const json: unknown = JSON.parse(text)
  return json !== null && typeof json === 'object' && isPlaceholder({ ...json })
}

function isRecordOf(value: Json, { collection }: RecordUpsert): boolean {
  return value !== null && typeof value === 'object' && !Array.isArray(value) && value.$type === collection
}

function textOf(value: Json, type: string): string | null {
  if (value === null) return null
  return typeof value === 'string' && type !== 'json' && type !== 'jsonb' ? value : JSON.stringify(value)
}
