import { VerificationError } from '../errors.ts'
import {
  parseWriteEvent,
  parseWriteRequest,
  type StoredWriteRequest,
  WRITE_RECORDS_EVENT,
  type WriteEventData,
  type WriteRequest,
} from './request.ts'
import { type RequestStore, referenceTo } from './request-store.ts'

/** Requests of some runs that take turns: one has at most about 4 MB. */
const CACHE_BYTES = 32 * 1000 ** 2

const REFERENCE_KEYS = ['id', 'recordCount', 'bytes', 'digest'] as const

/** The requests that events carry or refer to. */
export interface KeptRequests {
  /**
   * Looks at what the event itself says, and opens nothing.
   *
   * @throws VerificationError when it does not fit, or asks for what this worker may not write
   */
  read(data: unknown): WriteEventData
  /** With its records. @throws VerificationError when they are not those that the event was made for */
  load(event: WriteEventData): Promise<WriteRequest>
}

/**
 * Records are loaded in each step that needs them and kept in this process; a step's result holds none, since it
 * would be stored by Inngest and sent with every later call.
 *
 * @param writableCollections others are refused. @defaultValue all may be written
 */
export function keepRequests(
  store: RequestStore | undefined,
  writableCollections?: readonly string[],
): KeptRequests {
  const kept = new Map<string, { request: WriteRequest; bytes: number }>()
  const keep = (key: string, request: WriteRequest, bytes: number) => {
    kept.set(key, { request, bytes })
    let sum = [...kept.values()].reduce((total, entry) => total + entry.bytes, 0)
    for (const [oldest, entry] of kept) {
      if (sum <= CACHE_BYTES || oldest === key) break
      kept.delete(oldest)
      sum -= entry.bytes
    }
  }
  return {
    read(data) {
      const event = parseWriteEvent(data)
      if ('records' in event) refuseOthers(event, writableCollections)
      else if (store === undefined) throw noStore(event)
      return event
    },
    async load(event) {
      if ('records' in event) return event
      if (store === undefined) throw noStore(event)
      const { reference, ...rest } = event
      // All of the reference: what it claims is checked against the records where they are fetched, and its id is what
      // the run drops in the end.
      const key = JSON.stringify([event.did, ...REFERENCE_KEYS.map((name) => reference[name])])
      const found = kept.get(key)?.request ?? (await fetchRequest(store, event))
      kept.delete(key)
      keep(key, found, reference.bytes)
      refuseOthers(found, writableCollections)
      return { ...rest, records: found.records }
    },
  }
}

async function fetchRequest(store: RequestStore, event: StoredWriteRequest): Promise<WriteRequest> {
  const { did, reference } = event
  const records = await store.get(reference, did)
  if (records === undefined) {
    throw new VerificationError(`The records of request ${reference.id} are not there any more.`, {
      did,
      hint: 'They are dropped once they are written, and after 30 days. Run the command that sent them again.',
    })
  }
  const found = referenceTo({ did, records: [...records] }, reference.id)
  const differing = REFERENCE_KEYS.filter((name) => found[name] !== reference[name])
  if (differing.length > 0) {
    throw new VerificationError(
      `The records of request ${reference.id} are not those that its event was made for: they differ in ${differing.join(', ')}.`,
      {
        did,
        hint: 'Look who else writes to the store of requests, then run the command that sent them again.',
      },
    )
  }
  return parseWriteRequest({ did, records })
}

/** Whoever holds the event key could otherwise write anything anywhere. */
function refuseOthers({ did, records }: WriteRequest, writable: readonly string[] | undefined): void {
  if (writable === undefined) return
  const foreign = [...new Set(records.map(({ collection }) => collection))].filter(
    (collection) => !writable.includes(collection),
  )
  if (foreign.length === 0) return
  throw new VerificationError(
    `The event asks for records of ${foreign.slice(0, 5).join(', ')}, which this worker does not write.`,
    {
      did,
      hint: `It writes ${writable.join(', ')}. If the event is yours, add the collection to those that the worker may write (serve --collections); if not, replace the event key.`,
    },
  )
}

function noStore({ did, reference }: StoredWriteRequest): VerificationError {
  return new VerificationError(
    `The event ${WRITE_RECORDS_EVENT} refers to stored records (${reference.id}), and this worker has no store.`,
    {
      did,
      hint: "Give the worker the sender's store: for serve that is the production database (SUPABASE_URL and its key).",
    },
  )
}
