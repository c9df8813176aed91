import type { UnavailableError } from '../errors.ts'
import type { Refusal } from '../events.ts'
import { nameOf, outcomeOf, type Pending } from './pending.ts'
import type { Head, WriteOptions, WriteState, WrittenRecord } from './write-state.ts'
import { pauseAfter } from './write-wait.ts'

/** What one call of `writeRecords` has come to so far, what it cost, and what it has learned. */
export class WriteLedger {
  readonly #told: Pick<WriteOptions, 'onCommit' | 'onBudget' | 'onUploads'>
  readonly #records: WrittenRecord[] = []
  /** Written, by an answer that named no CIDs. */
  readonly #unconfirmed: Pending[] = []
  #state: WriteState
  #commits = 0
  #points = 0

  constructor(state: WriteState, told: Pick<WriteOptions, 'onCommit' | 'onBudget' | 'onUploads'>) {
    this.#state = state
    this.#told = told
  }

  get state(): WriteState {
    return this.#state
  }

  get records(): WrittenRecord[] {
    return this.#records
  }

  get commits(): number {
    return this.#commits
  }

  get points(): number {
    return this.#points
  }

  /** Fewer are left than there were. */
  get hasProgress(): boolean {
    return this.#records.length + this.#unconfirmed.length > 0
  }

  get unconfirmed(): readonly Pending[] {
    return this.#unconfirmed
  }

  learn(change: Partial<WriteState>): void {
    this.#state = { ...this.#state, ...change }
    if (change.budget !== undefined) this.#told.onBudget?.(change.budget)
    if (change.uploads !== undefined) this.#told.onUploads?.(change.uploads)
  }

  /** @returns until when nothing goes @throws as `pauseAfter` does */
  pauseAfter(refusal: UnavailableError, nowMs: number): number {
    const { refusals, untilMs } = pauseAfter(refusal, this.#state, nowMs)
    this.learn({ refusals })
    return untilMs
  }

  spend(points: number): void {
    this.#points += points
  }

  settle(...records: readonly WrittenRecord[]): void {
    this.#records.push(...records)
  }

  fail(item: Pending, reason: string): void {
    this.settle({ ...nameOf(item), outcome: 'failed', reason })
  }

  refuse(item: Pending, refusal: Refusal, reason: string): void {
    this.settle({ ...nameOf(item), outcome: 'refused', refusal, reason })
  }

  /** @param cids what the host says it stored; undefined: the repo is to be asked at the end */
  commit(items: readonly Pending[], cids: readonly string[] | undefined): void {
    this.#commits++
    if (cids === undefined) this.#unconfirmed.push(...items)
    else this.settle(...items.map((item, index) => storedAs(item, cids[index])))
    this.#told.onCommit?.(items.length)
  }

  /** @param cidOf what the repo holds */
  confirm(cidOf: (item: Pending) => string | undefined): void {
    this.settle(...this.#unconfirmed.splice(0).map((item) => storedAs(item, cidOf(item))))
  }
}

/** The commit that the next call is to follow. */
export function headOf(repo: { commit: { toString(): string }; rev: string }): Head {
  return { commit: repo.commit.toString(), rev: repo.rev }
}

function storedAs(item: Pending, cid: string | undefined): WrittenRecord {
  if (cid === item.cid) return { ...nameOf(item), outcome: outcomeOf(item) }
  return { ...nameOf(item), outcome: 'failed', reason: `the host holds ${cid ?? 'nothing'}, not ${item.cid}` }
}
