import { against, nameOf, type Pending, whyStays } from './pending.ts'
import type { ConflictPolicy } from './plan.ts'
import type { WrittenRecord } from './write-state.ts'

/** Of a repo, the CID of what it holds under a key. */
export interface HeldRecords {
  get(collection: string, rkey: string): { cid: { toString(): string } } | undefined
}

/** What is left to do, by the repo as it is now. */
export interface Decision {
  left: Pending[]
  /** What needs no write, or must have none. */
  settled: WrittenRecord[]
}

export function decide(
  pending: readonly Pending[],
  repo: HeldRecords,
  onConflict: ConflictPolicy = 'overwrite',
): Decision {
  const decision: Decision = { left: [], settled: [] }
  for (const item of pending) {
    const currentCid = repo.get(item.collection, item.rkey)?.cid.toString()
    const settled = outcomeAgainst(item, currentCid, onConflict)
    if (settled === undefined) decision.left.push(against(item, currentCid))
    else decision.settled.push(settled)
  }
  return decision
}

/** Undefined: it is to be written. */
function outcomeAgainst(
  item: Pending,
  currentCid: string | undefined,
  onConflict: ConflictPolicy,
): WrittenRecord | undefined {
  if (currentCid === item.cid) return { ...nameOf(item), outcome: 'same' }
  const newer = whyStays(item, currentCid)
  if (newer !== undefined) return { ...nameOf(item), outcome: 'kept', reason: newer }
  if (currentCid === undefined || onConflict === 'overwrite') return undefined
  const reason = 'another record is there now'
  if (onConflict === 'fail') return { ...nameOf(item), outcome: 'refused', refusal: 'conflict', reason }
  return { ...nameOf(item), outcome: 'kept', reason }
}
