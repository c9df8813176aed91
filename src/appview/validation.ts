/**
 * Validates a record against its lexicon as the appviews of today do it, and turns the result into the JSON that a
 * row holds.
 *
 * They use @atproto/lexicon, which is more lenient than @atproto/lex: size and type of blobs are not enforced,
 * legacy blobs and datetimes without a zone pass, and an object behind a `ref` may carry any `$type`. What they
 * index must be indexed here too, or a replay would lose rows that the live appview has.
 */

import {
  type InferInput,
  type LexMap,
  lexToJson,
  OptionalSchema,
  StringSchema,
  TypedObjectSchema,
  ValidationContext,
  type ValidationResult,
  type Validator,
  WithDefaultSchema,
} from '@atproto/lex'
import { isAtUriString } from '@atproto/syntax'
import { messageOf } from '../errors.ts'
import type { JsonObject } from '../events.ts'

export type ValidatedRecord<Main> =
  /** `value` and `json` are the record with the lexicon's defaults filled in; `json` is what a row holds. */
  | { ok: true; value: Main; json: JsonObject }
  /** `reason` is the first issue and its path. */
  | { ok: false; reason: string }

class LenientContext extends ValidationContext {
  constructor() {
    super({ mode: 'parse', strict: false, path: [] })
  }

  override validate<V extends Validator>(input: unknown, validator: V): ValidationResult<InferInput<V>> {
    // Without this, every optional field that is absent is validated, fails, and costs an Error with its stack: nine
    // tenths of the time a document takes. Only a default makes something of nothing.
    if (input === undefined && validator instanceof OptionalSchema && !hasDefault(validator)) {
      return this.success(undefined)
    }
    // A union has matched the $type before it comes here; behind a plain ref @atproto/lexicon never looks at it.
    if (validator instanceof TypedObjectSchema) return super.validate(input, validator.schema)
    const result = super.validate(input, validator)
    // Not strict also means AT-URIs with a query or a trailing slash, which @atproto/lexicon refuses.
    if (result.success && validator instanceof StringSchema && validator.options.format === 'at-uri') {
      if (!isAtUriString(String(result.value))) return this.issueInvalidFormat(input, 'at-uri')
    }
    return result
  }
}

function hasDefault({ validator }: OptionalSchema<Validator>): boolean {
  return validator instanceof WithDefaultSchema
}

/**
 * Never throws: whatever is wrong with the record, which anybody can write, comes back as `reason`.
 *
 * @typeParam Main the generated type that belongs to `schema`. Named by the caller because the types of generated
 * schemas do not survive exactOptionalPropertyTypes; the generated record types do.
 */
export function validateRecord<Main>(schema: Validator, record: LexMap): ValidatedRecord<Main> {
  try {
    const result = new LenientContext().validate(record, schema)
    if (!result.success) return { ok: false, reason: String(result.reason.issues[0] ?? result.reason) }
    const value = result.value as LexMap
    return { ok: true, value: value as Main, json: lexToJson(value) as JsonObject }
  } catch (error) {
    // lexToJson refuses a key named __proto__, and nesting too deep for the stack ends up here as well.
    return { ok: false, reason: `cannot be stored as JSON: ${messageOf(error)}` }
  }
}
