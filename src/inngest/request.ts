import { isValidDid } from '@atproto/syntax'
import { type EventType, eventType } from 'inngest'
import { z } from 'zod'
import { VerificationError } from '../errors.ts'
import type { JsonObject } from '../events.ts'
import { CONFLICT_POLICIES } from '../pds/plan.ts'

/** Name of the event that asks for records to be written. */
export const WRITE_RECORDS_EVENT = 'user/write-records-to-pds'

/** Passed on as it is: what its JSON cannot hold is found, and said, where it is encoded. */
const recordBody = z.custom<JsonObject>(
  (value) => typeof value === 'object' && value !== null && !Array.isArray(value),
  'is not an object',
)

const recordSchema = z.object({
  collection: z.string(),
  rkey: z.string(),
  record: recordBody,
  /** CID of the one record that may be replaced; null: none. @defaultValue any, as `onConflict` says */
  replaces: z.string().nullable().optional(),
})

const common = {
  /** The account whose repo is to hold the records. */
  did: z.string().refine((value): boolean => isValidDid(value), 'is not a DID'),
  /** What to do where another record has the key now. @defaultValue 'overwrite' */
  onConflict: z.enum(CONFLICT_POLICIES).optional(),
  /** Names the restore this belongs to, for people who look at the run. */
  run: z.string().optional(),
}

/** A request with its records in it. */
export const writeRequestSchema = z.object({
  ...common,
  /** In the order they are to be written. One record has one entry. */
  records: z.array(recordSchema).min(1, 'holds no record').superRefine(refuseDuplicates),
})
export type WriteRequest = z.infer<typeof writeRequestSchema>

const referenceSchema = z.object({
  id: z.string().min(1),
  recordCount: z.int().positive(),
  /** Length of the records' JSON in UTF-8. */
  bytes: z.int().positive(),
  /** SHA-256, in hex, of what `digestOf` says. */
  digest: z.string().regex(/^[0-9a-f]{64}$/, 'is not a SHA-256 in hex'),
})
/** Where the records of a request are kept, and how to know them again: plain JSON. */
export type RequestReference = z.infer<typeof referenceSchema>

/** A request whose records are in a RequestStore. */
const storedRequestSchema = z.object({ ...common, reference: referenceSchema })
export type StoredWriteRequest = z.infer<typeof storedRequestSchema>

/** Data of the event {@link WRITE_RECORDS_EVENT}. */
export const writeEventSchema = z.union([writeRequestSchema, storedRequestSchema])
export type WriteEventData = z.infer<typeof writeEventSchema>

/** The event, as a client of one's own sends it. */
export interface WriteRecordsEvent {
  name: typeof WRITE_RECORDS_EVENT
  data: WriteEventData
  /** Inngest runs an id once in 24 hours, also if that run failed. */
  id?: string
}

/**
 * The event for a client of one's own: `client.send(writeRecordsEvent.create({ did, records }))` checks the data
 * before it is sent.
 */
export const writeRecordsEvent: EventType<typeof WRITE_RECORDS_EVENT, typeof writeEventSchema> = eventType(
  WRITE_RECORDS_EVENT,
  { schema: writeEventSchema },
)

/** @throws VerificationError naming the path of what does not fit */
export function parseWriteRequest(data: unknown): WriteRequest {
  return parse(writeRequestSchema, data)
}

/** Of an event that came in. @throws VerificationError naming the path of what does not fit */
export function parseWriteEvent(data: unknown): WriteEventData {
  // Not by the union: its message would not say which of the two the data was meant to be.
  const isStored = typeof data === 'object' && data !== null && 'reference' in data
  return isStored ? parse(storedRequestSchema, data) : parseWriteRequest(data)
}

function parse<T>(schema: z.ZodType<T>, data: unknown): T {
  const parsed = schema.safeParse(data)
  if (parsed.success) return parsed.data
  const [issue] = parsed.error.issues
  const path = ['data', ...(issue?.path ?? [])].reduce<string>(pathStep, '')
  throw new VerificationError(`${path}: ${issue?.message ?? 'does not fit'}.`, {
    hint: `The event ${WRITE_RECORDS_EVENT} has data { did, records: [{ collection, rkey, record, replaces? }], onConflict?, run? }.`,
  })
}

function pathStep(path: string, key: PropertyKey): string {
  if (typeof key === 'number') return `${path}[${key}]`
  return path === '' ? String(key) : `${path}.${String(key)}`
}

/** Two entries for one key: which of them stays would depend on how they fall into batches. */
function refuseDuplicates(
  records: readonly { collection: string; rkey: string }[],
  context: z.RefinementCtx,
) {
  const seen = new Set<string>()
  for (const [index, { collection, rkey }] of records.entries()) {
    const name = `${collection}/${rkey}`
    if (seen.has(name)) {
      context.addIssue({ code: 'custom', path: [index], message: `is a second entry for ${name}` })
      return
    }
    seen.add(name)
  }
}
