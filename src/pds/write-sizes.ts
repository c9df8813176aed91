import { MAX_WRITES } from './batches.ts'
import { type Pending, pathOf } from './pending.ts'

/** Batches are made no smaller than this for the records that are refused among them: less would be mostly calls. */
const SMALLEST = 25

/**
 * How many records the next call takes, as the calls before it ended.
 *
 * A call that fails as a whole is searched for the record that is why, by halves: what passes is written, and it is
 * among the others. From a call of 200 that is at most 10 calls, of together fewer than 400 records that are sent in
 * vain. After it batches are half as large, until 200 records have passed without another: a batch that is refused
 * costs all its points.
 */
export class CallSizes {
  #most: number
  /** That have to pass before calls are made larger again. */
  #quietCount = 0
  /** Paths of the last call that failed, without those that passed since. */
  readonly #searched = new Set<string>()
  /** That one of them is why, and not the moment. */
  #isSure = false
  /** Since the search began: its next call would be the next one to fail as a whole. */
  #isVain = false
  /** Found, with nothing passed since. */
  #foundCount = 0

  constructor(most = MAX_WRITES) {
    this.#most = most
  }

  next(queue: readonly Pending[]): number {
    return this.#half(queue) ?? (this.#isVain ? 1 : this.#most)
  }

  /** Of what is searched. */
  #half(queue: readonly Pending[]): number | undefined {
    const end = queue.findIndex((item) => !this.#searched.has(pathOf(item)))
    const count = end === -1 ? queue.length : end
    return count === 0 ? undefined : Math.max(1, count >> 1)
  }

  /**
   * For another run to begin with, where this one ends in the middle of a search: begun anew each time with as many,
   * it could use up what an account may write in an hour and never come to its end. Undefined: as many as a host takes.
   */
  carried(queue: readonly Pending[]): number | undefined {
    const count = Math.min(this.#most, this.#half(queue) ?? this.#most)
    return count < MAX_WRITES ? count : undefined
  }

  passed(items: readonly Pending[]): void {
    if (!this.#isSure) this.#searched.clear()
    for (const item of items) this.#searched.delete(pathOf(item))
    this.#isVain = false
    this.#foundCount = 0
    this.#quietCount = Math.max(0, this.#quietCount - items.length)
    if (items.length >= this.#most && this.#quietCount === 0)
      this.#most = Math.min(MAX_WRITES, this.#most * 2)
  }

  /** @param isSure one of them is why; else it may have been the moment, until it fails once more */
  failed(items: readonly Pending[], { isSure }: { isSure: boolean }): void {
    const isAgain = items.some((item) => this.#searched.has(pathOf(item)))
    if (!isAgain) this.#isVain = true
    this.#isSure = isSure || isAgain
    this.#searched.clear()
    for (const item of items) this.#searched.add(pathOf(item))
  }

  /** The record that was searched for, or that the host named, is out of the queue. */
  found(): void {
    this.#searched.clear()
    this.#foundCount++
    if (this.#foundCount > 1) this.#isVain = true
    this.#most = Math.max(Math.min(SMALLEST, this.#most), this.#most >> 1)
    this.#quietCount = MAX_WRITES
  }

  /** Someone else made some of these at the same time, and may go on to. */
  crowded(items: readonly Pending[]): void {
    this.#most = Math.max(1, items.length >> 1)
  }
}
