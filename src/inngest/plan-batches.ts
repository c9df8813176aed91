import { packBatches, type Sized } from '../pds/batches.ts'
import type { LostRecord, RefusedRecord } from '../pds/lost-record.ts'
import { type PlannedRecord, planWrite } from '../pds/plan.ts'
import type { Head, RecordToWrite, WrittenRecord } from '../pds/write.ts'
import { encodeRecord, unencodableReason } from '../repo/record.ts'
import type { VerifiedRepo } from '../repo/verified-repo.ts'
import type { WriteRequest } from './request.ts'
import { type Tally, tallyOf } from './summary.ts'

/** Indices into the request's records, in their order. */
export interface PlannedBatch {
  records: number[]
  /** Those of them that replace another record. */
  overwrites: number[]
}

/** What is left to write, as the repo stood at `head`. Goes into step state: no bodies, no secrets. */
export interface BatchPlan {
  head: Head
  batches: PlannedBatch[]
  /** The records that need no write, or cannot have one. */
  settled: Tally
}

interface Left extends Sized {
  index: number
  isOverwrite: boolean
}

export function planBatches(request: WriteRequest, repo: VerifiedRepo): BatchPlan {
  const { did, records, onConflict } = request
  const plan = planWrite(
    records.map((record) => asLostRecord(did, record)),
    repo,
    onConflict,
  )
  const settled: WrittenRecord[] = []
  const left: Left[] = []
  for (const [index, record] of records.entries()) {
    const planned = plan.records[index]
    if (planned === undefined) continue
    if (planned.action === 'create' || planned.action === 'overwrite') {
      left.push({ index, isOverwrite: planned.action === 'overwrite', jsonBytes: operationBytes(record) })
    } else settled.push(settledAs(record, planned))
  }
  return {
    head: { commit: repo.commit.toString(), rev: repo.rev },
    batches: packBatches(left).map((batch) => ({
      records: batch.map(({ index }) => index),
      overwrites: batch.filter(({ isOverwrite }) => isOverwrite).map(({ index }) => index),
    })),
    settled: tallyOf(settled),
  }
}

function asLostRecord(did: string, { collection, rkey, record }: RecordToWrite): LostRecord | RefusedRecord {
  const uri = `at://${did}/${collection}/${rkey}`
  const reason = unencodableReason(record, { collection, rkey })
  if (reason !== null) return { uri, refusal: 'unencodable', reason, originalCid: undefined }
  const { cid, bytes } = encodeRecord(record)
  return {
    uri,
    collection,
    rkey,
    cid: cid.toString(),
    bytes: bytes.length,
    record,
    originalCid: undefined,
    proof: 'self-consistent',
  }
}

function settledAs({ collection, rkey }: RecordToWrite, { action, reason }: PlannedRecord): WrittenRecord {
  const outcome = action === 'same' ? 'same' : action === 'keep' ? 'kept' : 'refused'
  return { collection, rkey, outcome, ...(reason === undefined ? {} : { reason }) }
}

/** As writeRecords measures it, so that a batch of the plan is a commit. */
function operationBytes({ collection, rkey, record }: RecordToWrite): number {
  const operation = { $type: 'com.atproto.repo.applyWrites#create', collection, rkey, value: record }
  return Buffer.byteLength(JSON.stringify(operation)) + 1
}
