import { believe, charge } from './budget.ts'
import { type Pending, toWrite } from './pending.ts'
import { WriteBlobs } from './write-blobs.ts'
import { type Call, type CallAnswer, type CallChoice, isTooLarge, nextCall, send } from './write-call.ts'
import { WriteLedger } from './write-ledger.ts'
import { WriteRecovery } from './write-recovery.ts'
import { CallSizes } from './write-sizes.ts'
import type { WriteOptions, WriteResult, WriteState } from './write-state.ts'
import { waitFor } from './write-wait.ts'

/** Why the loop ended with some left. */
type Stop = 'limit' | 'deadline'

interface Next {
  call?: Call | undefined
  queue: readonly Pending[]
  stop: Stop
}

/**
 * One call of `writeRecords`. A queue of records, in order; the first of them that fit make the next call. A failure
 * gives the queue back, planned anew by what it showed: see `WriteRecovery`.
 */
export class WriteRun {
  readonly #options: WriteOptions
  readonly #now: () => number
  readonly #ledger: WriteLedger
  readonly #sizes: CallSizes
  readonly #blobs: WriteBlobs | undefined
  readonly #recovery: WriteRecovery
  /** What the first record of the queue waits for, besides points. */
  #uploadsNeeded: number | undefined

  constructor(options: WriteOptions & { state: WriteState }) {
    this.#options = options
    this.#now = options.now ?? Date.now
    this.#ledger = new WriteLedger(options.state, options)
    this.#sizes = new CallSizes(options.state.maxItems)
    this.#blobs = this.#openBlobs()
    this.#recovery = new WriteRecovery({
      options,
      ledger: this.#ledger,
      sizes: this.#sizes,
      blobs: this.#blobs,
      now: this.#now,
    })
  }

  async write(pending: readonly Pending[]): Promise<WriteResult> {
    const { state } = this.#ledger
    let queue = state.head === undefined ? await this.#recovery.look(pending) : pending
    let stop: Stop | undefined
    while (queue.length > 0 && stop === undefined) {
      const next = await this.#next(queue)
      queue = next.queue
      if (next.call !== undefined) queue = await this.#attempt(next.call, queue)
      else if (queue.length > 0) stop = next.stop
    }
    await this.#confirm()
    if (queue.length === 0) await this.#recovery.conclude()
    return this.#result(queue, stop)
  }

  #openBlobs(): WriteBlobs | undefined {
    const { blobs, session } = this.#options
    const { uploads } = this.#ledger.state
    return (
      blobs &&
      new WriteBlobs(blobs, {
        session,
        now: this.#now,
        onBudget: (uploads) => this.#ledger.learn({ uploads }),
        ...(uploads && { budget: uploads }),
      })
    )
  }

  /** The next call, with its blobs at the host; what is refused for them has left the queue. */
  async #next(queue: readonly Pending[]): Promise<Next> {
    const isLate = () => this.#isLate()
    if (this.#ledger.hasProgress && isLate()) return { queue, stop: 'deadline' }
    const choose = (from: readonly Pending[]) => nextCall(from, this.#choice(from))
    if (this.#blobs === undefined) return { call: choose(queue), queue, stop: 'limit' }
    const { call, rest, refused, limited, isCut } = await this.#blobs.next(queue, choose, isLate)
    for (const { record, reason } of refused) this.#ledger.refuse(record, 'blob-missing', reason)
    if (limited !== undefined) {
      this.#uploadsNeeded = limited.uploads
      this.#blobs.closeUntil(this.#ledger.pauseAfter(limited.error, this.#now()))
    }
    return { call, queue: rest, stop: isCut ? 'deadline' : 'limit' }
  }

  #isLate(): boolean {
    const { deadlineMs } = this.#options
    return deadlineMs !== undefined && this.#now() >= deadlineMs
  }

  #choice(queue: readonly Pending[]): CallChoice {
    const { way = 'applyWrites' } = this.#options
    return { state: this.#ledger.state, way, maxItems: this.#sizes.next(queue), nowMs: this.#now() }
  }

  /** Makes the call; returns what is left of the queue. */
  async #attempt(call: Call, queue: readonly Pending[]): Promise<readonly Pending[]> {
    const { budget } = this.#ledger.state
    this.#ledger.learn({ budget: charge(budget, call.points, this.#now()) })
    let answer: CallAnswer
    try {
      answer = await send(this.#options.session, call)
    } catch (error) {
      // One that is refused for its length nobody could have counted the operations of.
      if (isTooLarge(error)) this.#ledger.learn({ budget })
      else this.#ledger.spend(call.points)
      const { queue: left, landed = [] } = await this.#recovery.recover(call, queue, error)
      if (landed.length > 0)
        this.#passed(
          landed,
          landed.map(({ cid }) => cid),
        )
      return left
    }
    this.#ledger.spend(call.points)
    this.#learnFrom(answer)
    this.#passed(call.items, answer.cids)
    return queue.slice(call.items.length)
  }

  #learnFrom({ head, limits }: CallAnswer): void {
    this.#ledger.learn({ ...(head && { head }), refusals: 0 })
    if (limits === undefined) return
    this.#ledger.learn({ budget: believe(this.#ledger.state.budget, limits, this.#now()) })
  }

  #passed(items: readonly Pending[], cids: readonly string[] | undefined): void {
    this.#ledger.commit(items, cids)
    this.#recovery.passed(items)
  }

  /** The host did not say what it stored. */
  async #confirm(): Promise<void> {
    if (this.#ledger.unconfirmed.length === 0) return
    const repo = await this.#options.readRepo()
    this.#ledger.confirm(({ collection, rkey }) => repo.get(collection, rkey)?.cid.toString())
  }

  #result(queue: readonly Pending[], stop: Stop | undefined): WriteResult {
    // What was set aside comes last: before the others, it would use up the next hour's points as it did this one's.
    const left = queue.length === 0 ? [] : [...queue, ...this.#recovery.aside]
    const wait = stop === 'limit' ? this.#waitFor(left) : undefined
    const uploaded = this.#blobs?.uploaded
    const { records, commits, points } = this.#ledger
    return {
      records,
      left: left.map(toWrite),
      commits,
      points,
      ...(wait && { wait }),
      ...(uploaded && { uploaded }),
      state: this.#stateFor(left, stop),
    }
  }

  #waitFor(left: readonly Pending[]) {
    const [first] = left
    const { did } = this.#options.session
    return first && waitFor(first, this.#choice(left), did, this.#uploadsNeeded)
  }

  #stateFor(left: readonly Pending[], stop: Stop | undefined): WriteState {
    const { maxItems: _, head, ...state } = this.#ledger.state
    const maxItems = this.#sizes.carried(left)
    // A wait may be of hours: what the repo holds then is to be seen then. What a record replaces is to be read.
    const goesOn = stop === undefined || (stop === 'deadline' && left.every(({ isCreate }) => isCreate))
    return {
      ...state,
      ...(goesOn && head && { head }),
      ...(maxItems !== undefined && { maxItems }),
    }
  }
}
