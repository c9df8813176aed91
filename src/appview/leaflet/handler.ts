/** What every handler here does: validate, then turn the record into mutations. */

import type { LexMap, Validator } from '@atproto/lex'
import type { Handler, HandlerResult, JsonObject, RecordUpsert, RowMutation } from '../../events.ts'
import { validateRecord } from '../validation.ts'

export interface HandlerParts<Main> extends Omit<Handler, 'rows'> {
  /** The generated schema of the record. */
  schema: Validator
  /** Applied to the record before it is validated. */
  prepare?(record: LexMap): LexMap
  /** Why a valid record stands for no rows; undefined when it does. */
  skip?(json: JsonObject): string | undefined
  /** @param record the validated record, defaults filled in; @param json the same as JSON */
  mutations(event: RecordUpsert, record: Main, json: JsonObject): readonly RowMutation[]
}

/** @typeParam Main the generated type that belongs to `schema` */
export function handlerOf<Main>(parts: HandlerParts<Main>): Handler {
  const { collection, derives, rank, toRecord, mergeRow } = parts
  return {
    collection,
    derives,
    rank,
    rows: (event) => rowsOf(parts, event),
    ...(toRecord && { toRecord }),
    ...(mergeRow && { mergeRow }),
  }
}

function rowsOf<Main>(parts: HandlerParts<Main>, event: RecordUpsert): HandlerResult {
  const validated = validateRecord<Main>(parts.schema, parts.prepare?.(event.record) ?? event.record)
  if (!validated.ok) return { outcome: 'invalid', reason: validated.reason }
  const skipped = parts.skip?.(validated.json)
  if (skipped !== undefined) return { outcome: 'skipped', reason: skipped }
  return { outcome: 'rows', mutations: parts.mutations(event, validated.value, validated.json) }
}
