import type { Proof, Refusal } from '../events.ts'
import type { VerifiedRepo } from '../repo/verified-repo.ts'
import { type Budget, newBudget } from './budget.ts'
import type { LostRecord, RefusedRecord } from './lost-record.ts'
import { pendingOf } from './pending.ts'
import { chooseWay, type Operation, type Way } from './way.ts'

export const CONFLICT_POLICIES = ['overwrite', 'keep', 'fail'] as const
/** What to do with a record that was created again under a lost key. */
export type ConflictPolicy = (typeof CONFLICT_POLICIES)[number]

export interface PlannedRecord {
  uri: string
  action: 'create' | 'same' | 'overwrite' | 'keep' | 'refuse'
  /** CID to be written; absent for what is refused before it could be encoded. */
  cid?: string
  /** CID in the repo now, where a record is there. */
  currentCid?: string
  bytes: number
  proof?: Proof
  refusal?: Refusal
  reason?: string
}

/** What a write would do: names, CIDs and sizes, no bodies, no secrets. Printed by --dry-run, executed otherwise. */
export interface WritePlan {
  did: string
  /** The repo's revision that this plan was made against. */
  rev: string
  records: PlannedRecord[]
  counts: Record<PlannedRecord['action'], number>
  /** Bytes of record blocks to be written. */
  bytes: number
  /** How it is written: whichever ends sooner with what the account may write. */
  way: Way
  /** Why that way, in words. */
  why: string
  /** What the rate limit will count. */
  points: number
  /** Without faults, and when the records are written in this order in one run. */
  commits: number
  /** From the first call to the last commit, waits for the rate limit included. */
  estimateMs: number
}

/**
 * @param repo the account's repo as it is now
 * @param neverLost URIs of records that were not deleted: what differs there was edited by the author since the
 *   backup, and is kept whatever `onConflict` says, which is about records created again under a lost key
 * @param pace what the account may still write, and what time it is
 */
export function planWrite(
  records: readonly (LostRecord | RefusedRecord)[],
  repo: VerifiedRepo,
  onConflict: ConflictPolicy = 'overwrite',
  neverLost: ReadonlySet<string> = new Set(),
  { budget = newBudget(), nowMs = Date.now() }: { budget?: Budget; nowMs?: number } = {},
): WritePlan {
  const planned = records.map((record) =>
    planRecord(record, repo, neverLost.has(record.uri) ? 'edited' : onConflict),
  )
  const counts = { create: 0, same: 0, overwrite: 0, keep: 0, refuse: 0 }
  const operations: Operation[] = []
  let bytes = 0
  for (const [index, { action }] of planned.entries()) {
    counts[action]++
    const record = records[index]
    if (record === undefined || 'refusal' in record || (action !== 'create' && action !== 'overwrite'))
      continue
    bytes += record.bytes
    const pending = pendingOf(record)
    if ('jsonBytes' in pending) operations.push({ ...pending, isCreate: action === 'create' })
  }
  const { way, why, estimates } = chooseWay(operations, budget, nowMs)
  const { points, commits, durationMs } = estimates[way]
  return {
    did: repo.did,
    rev: repo.rev,
    records: planned,
    counts,
    bytes,
    way,
    why,
    points,
    commits,
    estimateMs: durationMs,
  }
}

function planRecord(
  record: LostRecord | RefusedRecord,
  repo: VerifiedRepo,
  onConflict: ConflictPolicy | 'edited',
): PlannedRecord {
  const { uri } = record
  if ('refusal' in record) {
    return { uri, action: 'refuse', bytes: 0, refusal: record.refusal, reason: record.reason }
  }
  const { cid, bytes, proof } = record
  const currentCid = repo.get(record.collection, record.rkey)?.cid.toString()
  if (currentCid === undefined) return { uri, action: 'create', cid, bytes, proof }
  if (currentCid === cid) return { uri, action: 'same', cid, currentCid, bytes, proof }
  const conflict = { uri, cid, currentCid, bytes, proof }
  switch (onConflict) {
    case 'overwrite':
      return { ...conflict, action: 'overwrite' }
    case 'edited':
      return { ...conflict, action: 'keep', reason: 'edited by its author since the backup' }
    case 'keep':
      return { ...conflict, action: 'keep', reason: 'another record is there now' }
    case 'fail':
      return { ...conflict, action: 'refuse', refusal: 'conflict', reason: 'another record is there now' }
  }
}
