import { AtUri } from '@atproto/syntax'
import { VerificationError } from '../errors.ts'
import type { AppView, JsonObject, Proof, RecordCandidates, Refusal } from '../events.ts'
import { measure } from './measured.ts'
import { type FoundCandidate, findOriginal, type KnownCids, type ProofSource } from './original-cid.ts'
import { operationBytes, type RecordName } from './pending.ts'

/** A record of the snapshot as it would be written back. */
export interface LostRecord {
  uri: string
  collection: string
  rkey: string
  /** CID of `record`. */
  cid: string
  /** Length of the record's block, in bytes. */
  bytes: number
  record: JsonObject
  /** The record's CID as known from outside the snapshot, if it is. */
  originalCid: string | undefined
  proof: Proof
  /** Of what is proven: by what. */
  provenBy?: ProofSource
  /** Of what is different: why, in plain words. */
  differs?: string
  /** Of what is self-consistent: why it may be another record than the one that was lost, where there is a reason. */
  doubt?: string
}

export interface RefusedRecord {
  uri: string
  refusal: Refusal
  reason: string
  originalCid: string | undefined
}

/** A root row of the snapshot: its AT-URI and its columns, JSON ones parsed. */
export interface RootRow {
  uri: string
  /** Where it stands: only a collection whose records live there can say what the row is. @defaultValue in any */
  table?: string
  recordColumn: string
  row: JsonObject
}

/**
 * The reference PDS takes request bodies of 1,000,000 bytes; 200 are for what stands around the one operation (repo,
 * validate, swapCommit). It has no limit for a record's block, which is never longer than its JSON.
 */
const MAX_OPERATION_BYTES = 1_000_000 - 200

/**
 * Turns a stored row back into the record it was made from. Of the candidates the one with a known CID is taken;
 * without one that fits, the likeliest. What must not be written unless it is proven is refused unless the tombstone
 * or the repo itself proves it: a reference could be made by anybody who has read the text.
 *
 * A row of a collection that no handler describes is refused: its table may hold more than the repo did (paid text),
 * and nobody can say where. Only in a table without any handler is the record column taken for the record.
 *
 * @param known a text is the CID of the record that was deleted
 */
export function lostRecordOf(
  { uri, table, recordColumn, row }: RootRow,
  appview: AppView,
  known: KnownCids | string | undefined,
): LostRecord | RefusedRecord {
  const cids = typeof known === 'string' ? { deleted: known } : (known ?? {})
  const refuse = (reason: string, refusal: Refusal = 'unencodable'): RefusedRecord => ({
    uri,
    refusal,
    reason,
    originalCid: cids.deleted,
  })
  const name = recordNameOf(uri)
  if (name === undefined) return refuse(`${JSON.stringify(uri)} is not the AT-URI of a record`)
  const described = appview.handlers.filter(
    ({ derives }) => table === undefined || derives[0].table === table,
  )
  const handler = described.find(({ collection }) => collection === name.collection)
  if (handler === undefined && described.length > 0) {
    const where = table === undefined ? '' : ` whose rows are in ${table}`
    return refuse(
      `the appview describes no collection ${name.collection}${where}: nobody can say what of the row was public`,
    )
  }
  const rebuilt: RecordCandidates = handler?.toRecord?.(row) ?? {
    ok: true,
    candidates: [row[recordColumn] as JsonObject],
  }
  if (!rebuilt.ok) return refuse(rebuilt.reason)
  const found = findOriginal(rebuilt.candidates, name, cids)
  if (found === undefined) return refuse(`the row's ${recordColumn} holds no record`)
  if ('reason' in found) return refuse(found.reason)
  const isCertain = found.by === 'tombstone' || found.by === 'repo'
  if (rebuilt.onlyIfProven !== undefined && !isCertain) return refuse(rebuilt.onlyIfProven)
  const measured = measure(found.record, name)
  if ('reason' in measured) return refuse(measured.reason)
  const requestBytes = operationBytes(name, measured)
  if (found.by !== 'repo' && requestBytes > MAX_OPERATION_BYTES)
    return refuse(`it takes ${requestBytes} bytes of a request, and a PDS takes 1,000,000`, 'too-large')
  const { record } = found
  const { cid, blockBytes: bytes } = measured
  return { uri, ...name, cid, bytes, record, ...proofOf(found, cids, rebuilt.mayDiffer) }
}

/** Collection and key of an AT-URI; undefined where it is not one of a record. */
export function recordNameOf(uri: string): RecordName | undefined {
  try {
    const { collection, rkey } = new AtUri(uri)
    return collection === '' || rkey === '' ? undefined : { collection, rkey }
  } catch {
    // The library throws plain errors for what is no AT-URI: that is the answer here.
    return undefined
  }
}

function proofOf(
  { cid, by, searched, isCutShort }: FoundCandidate,
  { deleted }: KnownCids,
  mayDiffer: string | undefined,
): Pick<LostRecord, 'originalCid' | 'proof' | 'provenBy' | 'differs' | 'doubt'> {
  const isOlder = by === 'strong-reference' && deleted !== undefined
  if (by !== undefined && !isOlder) return { originalCid: cid, proof: 'proven', provenBy: by }
  if (deleted === undefined) {
    return { originalCid: undefined, proof: 'self-consistent', ...(mayDiffer && { doubt: mayDiffer }) }
  }
  const tried = `none of the ${searched} records that the row may have been made from has it`
  const why = isOlder
    ? 'it was edited after the backup, whose version is the one that other records refer to'
    : (mayDiffer ?? 'it was edited after the backup, or the appview stored it changed')
  const differs = `the record that was deleted had CID ${deleted}; ${tried}${isCutShort ? ' (there are more)' : ''}: ${why}`
  return { originalCid: deleted, proof: 'different', differs }
}

/** The account that a snapshot's rows must belong to. @throws VerificationError for a URI of another one */
export function assertOwn(uri: string, did: string): void {
  if (new AtUri(uri).host !== did)
    throw new VerificationError(`${uri} is not a record of ${did}.`, { did, uri })
}
