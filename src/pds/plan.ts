import type { Proof, Refusal } from '../events.ts'
import type { VerifiedRepo } from '../repo/verified-repo.ts'
import type { BlobsOfWrite } from './blobs/plan.ts'
import { type Budget, newBudget } from './budget.ts'
import { type LostRecord, type RefusedRecord, recordNameOf } from './lost-record.ts'
import type { ProofSource } from './original-cid.ts'
import { pendingOf } from './pending.ts'
import { chooseWay, type Operation, type Way } from './way.ts'

export const CONFLICT_POLICIES = ['overwrite', 'keep', 'fail'] as const
/**
 * What to do with a record that was created again under a lost key:
 * - `overwrite`: the lost one takes its place.
 * - `keep`: it stays, and the lost one is not written.
 * - `fail`: nothing at all is written. The plan refuses each such record and goes on, so that all of them are seen at
 *   once; who carries it out stops before the first write. A record that comes only afterwards is met in the middle of
 *   the write: then it alone is refused.
 */
export type ConflictPolicy = (typeof CONFLICT_POLICIES)[number]

export interface PlannedRecord {
  uri: string
  action: 'create' | 'same' | 'overwrite' | 'keep' | 'refuse'
  /** CID to be written; absent for what is refused before it could be encoded. */
  cid?: string
  /** CID in the repo now, where a record is there. */
  currentCid?: string
  /** Length of the block of the record in the repo now. */
  currentBytes?: number
  bytes: number
  proof?: Proof
  /** Of what is proven: by what. */
  provenBy?: ProofSource
  /** Of what is different: why, in plain words. */
  differs?: string
  refusal?: Refusal
  reason?: string
  /** It is written all the same: what is wrong with it, or doubtful. */
  warning?: string
}

/** What a write was restricted to. */
export interface PlannedScope {
  uris?: readonly string[]
  collections?: readonly string[]
  /** Records of the snapshot that are left out. */
  leftOut: number
}

/** What a write would do: names, CIDs and sizes, no bodies, no secrets. Printed by --dry-run, executed otherwise. */
export interface WritePlan {
  did: string
  /** The repo's revision that this plan was made against. */
  rev: string
  records: PlannedRecord[]
  counts: Record<PlannedRecord['action'], number>
  /** Of the records that are proven, whatever their action: how many by what. They add up to those. */
  provenBy: Record<ProofSource, number>
  /** Records to be written that have a warning. */
  warnings: number
  /** Set where only a part of the snapshot is to be written: the records above are that part. */
  scope?: PlannedScope
  /** Set where blobs were looked for. */
  blobs?: BlobsOfWrite
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
  /** From the first call to the last commit: waits for the rate limit and uploads of blobs included. */
  estimateMs: number
}

export interface PlanOptions {
  /** What the account may still write. @defaultValue all points of an hour and a day */
  budget?: Budget
  /** @defaultValue Date.now() */
  nowMs?: number
  /** What is wrong with a record that is written all the same. Asked only of those to be written. */
  warningOf?: (record: LostRecord) => string | undefined
  scope?: PlannedScope
  blobs?: BlobsOfWrite
}

/**
 * @param repo the account's repo as it is now
 * @param kept by URI, why the record that is there now stays, whatever `onConflict` says. That policy is about
 *   records created again under a lost key, not about one that was never deleted and has been edited since
 */
export function planWrite(
  records: readonly (LostRecord | RefusedRecord)[],
  repo: VerifiedRepo,
  onConflict: ConflictPolicy = 'overwrite',
  kept: ReadonlyMap<string, string> = new Map(),
  { budget = newBudget(), nowMs = Date.now(), warningOf, scope, blobs }: PlanOptions = {},
): WritePlan {
  const planned = records.map((record) => planRecord(record, repo, onConflict, kept.get(record.uri)))
  const counts = { create: 0, same: 0, overwrite: 0, keep: 0, refuse: 0 }
  const operations: Operation[] = []
  let bytes = 0
  let warnings = 0
  for (const [index, plan] of planned.entries()) {
    const { action } = plan
    counts[action]++
    const record = records[index]
    if (record === undefined || 'refusal' in record || !isWritten(plan)) continue
    bytes += record.bytes
    const warning = [warningOf?.(record), record.doubt].filter((text) => text !== undefined).join('; ')
    if (warning !== '') {
      plan.warning = warning
      warnings++
    }
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
    provenBy: countBySource(planned),
    warnings,
    ...(scope && { scope }),
    ...(blobs && { blobs }),
    bytes,
    way,
    why,
    points,
    commits,
    estimateMs: withUploads(durationMs, blobs),
  }
}

function countBySource(planned: readonly PlannedRecord[]): WritePlan['provenBy'] {
  const counts = { tombstone: 0, 'strong-reference': 0, repo: 0 }
  for (const { provenBy } of planned) if (provenBy !== undefined) counts[provenBy]++
  return counts
}

/** True for a record that the plan has written, be it under a free key or over another one. */
export function isWritten({ action }: Pick<PlannedRecord, 'action'>): boolean {
  return action === 'create' || action === 'overwrite'
}

/** Of pictures of some hundred KB, four at a time over a common line: a rough guess on the slow side. */
const UPLOADS_PER_SECOND = 5
const DAY_MS = 24 * 60 * 60 * 1000

/**
 * Uploads go before the batches that need them, so their time adds to that of the writes. The waits for the two
 * limits (points, uploads a day) overlap: the longer one counts.
 */
function withUploads(writeMs: number, blobs: BlobsOfWrite | undefined): number {
  if (blobs === undefined || blobs.counts.upload === 0) return writeMs
  const waitMs = (blobs.uploadDays - 1) * DAY_MS
  return Math.max(writeMs, waitMs) + Math.round((blobs.counts.upload / UPLOADS_PER_SECOND) * 1000)
}

function planRecord(
  record: LostRecord | RefusedRecord,
  repo: VerifiedRepo,
  onConflict: ConflictPolicy,
  whyKept: string | undefined,
): PlannedRecord {
  const { uri } = record
  const current = currentOf(uri, repo)
  if ('refusal' in record) {
    const { refusal, reason } = record
    // Nothing was lost there, and nothing can be said of what differs.
    if (whyKept !== undefined && current.currentCid !== undefined)
      return { uri, action: 'keep', ...current, bytes: 0, reason: `the record there now stays: ${reason}` }
    return { uri, action: 'refuse', ...current, bytes: 0, refusal, reason }
  }
  const { cid, bytes, proof, provenBy, differs } = record
  const written = {
    uri,
    cid,
    ...current,
    bytes,
    proof,
    ...(provenBy && { provenBy }),
    ...(differs && { differs }),
  }
  if (current.currentCid === undefined) return { ...written, action: 'create' }
  if (current.currentCid === cid) return { ...written, action: 'same' }
  if (whyKept !== undefined) return { ...written, action: 'keep', reason: whyKept }
  const reason = 'another record is there now'
  switch (onConflict) {
    case 'overwrite':
      return { ...written, action: 'overwrite' }
    case 'keep':
      return { ...written, action: 'keep', reason }
    case 'fail':
      return { ...written, action: 'refuse', refusal: 'conflict', reason }
  }
}

function currentOf(uri: string, repo: VerifiedRepo): Pick<PlannedRecord, 'currentCid' | 'currentBytes'> {
  const name = recordNameOf(uri)
  const current = name && repo.get(name.collection, name.rkey)
  return current === undefined
    ? {}
    : { currentCid: current.cid.toString(), currentBytes: current.bytes.length }
}
