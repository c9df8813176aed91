import { packBatches, type Sized } from '../pds/batches.ts'
import type { Budget } from '../pds/budget.ts'
import type { LostRecord, RefusedRecord } from '../pds/lost-record.ts'
import { measure } from '../pds/measured.ts'
import { pendingOf, whyStays } from '../pds/pending.ts'
import { type PlannedRecord, planWrite } from '../pds/plan.ts'
import type { Way } from '../pds/way.ts'
import type { Head, RecordToWrite, WrittenRecord } from '../pds/write.ts'
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
  /** How the batches are written. By putRecord each of their records is a commit. */
  way: Way
  batches: PlannedBatch[]
  /** The records that need no write, or cannot have one. */
  settled: Tally
}

export interface PlanBatchesOptions {
  /** What the account may still write, and what time it is: the way depends on it. */
  pace?: { budget: Budget; nowMs: number }
  /** Indices of the records to plan. @defaultValue all */
  among?: readonly number[]
  /** What a record that is there already counts as. @defaultValue 'same' */
  outcomeOfSame?: (index: number) => WrittenRecord['outcome']
}

interface Left extends Sized {
  index: number
  isOverwrite: boolean
}

export function planBatches(
  request: WriteRequest,
  repo: VerifiedRepo,
  { pace, among = [...request.records.keys()], outcomeOfSame = () => 'same' }: PlanBatchesOptions = {},
): BatchPlan {
  const { did, records, onConflict } = request
  const wanted = among.flatMap((index) => {
    const record = records[index]
    return record === undefined ? [] : [{ index, record }]
  })
  const lost = wanted.map(({ record }) => asLostRecord(did, record))
  const plan = planWrite(lost, repo, onConflict, newerThanPlanned(did, wanted, repo), pace)
  const settled: WrittenRecord[] = []
  const left: Left[] = []
  for (const [position, { index, record }] of wanted.entries()) {
    const planned = plan.records[position]
    if (planned === undefined) continue
    if (planned.action === 'create' || planned.action === 'overwrite') {
      const pending = pendingOf(record)
      if ('reason' in pending) continue
      const { jsonBytes, blockBytes = 0 } = pending
      left.push({ index, isOverwrite: planned.action === 'overwrite', jsonBytes, blockBytes })
    } else settled.push(settledAs(record, planned, outcomeOfSame(index)))
  }
  return {
    head: { commit: repo.commit.toString(), rev: repo.rev },
    way: plan.way,
    batches: packBatches(left).map((batch) => ({
      records: batch.map(({ index }) => index),
      overwrites: batch.filter(({ isOverwrite }) => isOverwrite).map(({ index }) => index),
    })),
    settled: tallyOf(settled),
  }
}

/** By URI, why a record that came since the sender made its plan stays. */
function newerThanPlanned(
  did: string,
  wanted: readonly { record: RecordToWrite }[],
  repo: VerifiedRepo,
): Map<string, string> {
  return new Map(
    wanted.flatMap(({ record }) => {
      const { collection, rkey } = record
      const reason = whyStays(record, repo.get(collection, rkey)?.cid.toString())
      return reason === undefined ? [] : [[`at://${did}/${collection}/${rkey}`, reason] as const]
    }),
  )
}

function asLostRecord(did: string, { collection, rkey, record }: RecordToWrite): LostRecord | RefusedRecord {
  const uri = `at://${did}/${collection}/${rkey}`
  const measured = measure(record, { collection, rkey })
  if ('reason' in measured)
    return { uri, refusal: 'unencodable', reason: measured.reason, originalCid: undefined }
  const { cid, blockBytes } = measured
  return {
    uri,
    collection,
    rkey,
    cid,
    bytes: blockBytes,
    record,
    originalCid: undefined,
    proof: 'self-consistent',
  }
}

function settledAs(
  { collection, rkey }: RecordToWrite,
  { action, refusal, reason }: PlannedRecord,
  same: WrittenRecord['outcome'],
): WrittenRecord {
  const outcome = action === 'same' ? same : action === 'keep' ? 'kept' : 'refused'
  return {
    collection,
    rkey,
    outcome,
    ...(refusal === undefined ? {} : { refusal }),
    ...(reason === undefined ? {} : { reason }),
  }
}
