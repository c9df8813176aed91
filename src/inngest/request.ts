import { isValidDid } from '@atproto/syntax'
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

const recordSchema = z.object({ collection: z.string(), rkey: z.string(), record: recordBody })

/** Data of the event {@link WRITE_RECORDS_EVENT}. */
export const writeRequestSchema = z.object({
  /** The account whose repo is to hold the records. */
  did: z.string().refine(isValidDid, 'is not a DID'),
  /** In the order they are to be written. One record has one entry. */
  records: z.array(recordSchema).min(1, 'holds no record').superRefine(refuseDuplicates),
  /** What to do where another record has the key now. @defaultValue 'overwrite' */
  onConflict: z.enum(CONFLICT_POLICIES).optional(),
  /** Names the restore this belongs to, for people who look at the run. */
  run: z.string().optional(),
})
export type WriteRequest = z.infer<typeof writeRequestSchema>

/** @throws VerificationError naming the path of what does not fit */
export function parseWriteRequest(data: unknown): WriteRequest {
  const parsed = writeRequestSchema.safeParse(data)
  if (parsed.success) return parsed.data
  const [issue] = parsed.error.issues
  const path = ['data', ...(issue?.path ?? [])].reduce<string>(pathStep, '')
  throw new VerificationError(`${path}: ${issue?.message ?? 'does not fit'}.`, {
    hint: `The event ${WRITE_RECORDS_EVENT} has data { did, records: [{ collection, rkey, record }], onConflict?, run? }.`,
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
