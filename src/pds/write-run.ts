import { PdsError, UnavailableError } from '../errors.ts'
import type { VerifiedRepo } from '../repo/verified-repo.ts'
import { CEILINGS } from './batches.ts'
import { believe, charge, close, readyAtMs } from './budget.ts'
import { against, nameOf, outcomeOf, type Pending, pathOf } from './pending.ts'
import { rateLimitOf } from './sessions/rate-limits.ts'
import { pointsOf } from './way.ts'
import {
  type Call,
  type CallAnswer,
  type CallChoice,
  isTooLarge,
  nextCall,
  send,
  wayOf,
} from './write-call.ts'
import type { Head, WriteOptions, WriteResult, WriteState, WrittenRecord } from './write-state.ts'

/** In a row, without anything written in between: the state keeps being another one than was read. */
const MAX_MISSES = 5

/** First pause after a rate limit that came again when its time was up; doubled each time. */
const REFUSED_AGAIN_MS = 60_000
/** One to 32 minutes: together an hour, the longest that a host which never says when can mean by its hourly limit. */
const MAX_REFUSALS = 7
/** A day's limit, and some time for clocks that differ. */
const LONGEST_WAIT_MS = 25 * 60 * 60 * 1000

/**
 * One call of `writeRecords`. A queue of records, in order; the first of them that fit make the next call. Each
 * failure puts the queue back, planned anew by what it showed:
 *
 * - too large (413): the same again with half the bytes;
 * - another commit came in between (InvalidSwap): from then on no call depends on the commit before it;
 * - refused (400): half as many records, down to the one that is refused, which alone is failed;
 * - outcome unknown (500, connection lost): the repo is read; when nothing of the call is there, half as many. One
 *   record alone that ends so twice over is set aside: failed if others can be written, an outage if not;
 * - rate limited (429): stop until the host says.
 */
export class WriteRun {
  readonly #options: WriteOptions & { state: WriteState }
  readonly #now: () => number
  readonly #result: Omit<WriteResult, 'state'> = { records: [], left: [], commits: 0, points: 0 }
  #state: WriteState
  /** Lower while a refused record is looked for. */
  #maxItems = CEILINGS.maxItems
  #misses = 0
  /** Written, by an answer that named no CIDs. */
  readonly #unconfirmed: Pending[] = []
  /** With unknown outcome each time, and nothing written since. */
  #suspects: { item: Pending; reason: string }[] = []
  /** Paths of single records whose outcome was unknown once. */
  readonly #doubted = new Set<string>()

  constructor(options: WriteOptions & { state: WriteState }) {
    this.#options = options
    this.#state = options.state
    this.#now = options.now ?? Date.now
  }

  async write(pending: readonly Pending[]): Promise<WriteResult> {
    let queue = this.#state.head === undefined ? await this.#decide(pending) : pending
    while (queue.length > 0) {
      const call = nextCall(queue, this.#choice())
      if (call === undefined) break
      queue = await this.#attempt(call, queue)
    }
    await this.#confirm()
    if (queue.length > 0) this.#stopUntilReady([...this.#suspects.map(({ item }) => item), ...queue])
    else this.#settleSuspects()
    return { ...this.#result, state: this.#state }
  }

  /** What is left to do, by the repo as it is now; what needs no write gets its outcome. */
  async #decide(pending: readonly Pending[]): Promise<Pending[]> {
    const repo = await this.#options.readRepo()
    this.#learn({ head: headOf(repo) })
    const { onConflict = 'overwrite' } = this.#options
    return pending.flatMap((item) => {
      const currentCid = repo.get(item.collection, item.rkey)?.cid.toString()
      if (currentCid === item.cid) return this.#settle({ ...nameOf(item), outcome: 'same' })
      if (currentCid === undefined || onConflict === 'overwrite') return [against(item, currentCid)]
      const outcome = onConflict === 'keep' ? 'kept' : 'refused'
      return this.#settle({ ...nameOf(item), outcome, reason: 'another record is there now' })
    })
  }

  #choice(): CallChoice {
    const { way = 'applyWrites' } = this.#options
    return { state: this.#state, way, maxItems: this.#maxItems, nowMs: this.#now() }
  }

  /** Makes the call; returns what is left of the queue. */
  async #attempt(call: Call, queue: readonly Pending[]): Promise<readonly Pending[]> {
    const { budget } = this.#state
    this.#learn({ budget: charge(budget, call.points, this.#now()) })
    let answer: CallAnswer
    try {
      answer = await send(this.#options.session, call)
    } catch (error) {
      if (isTooLarge(error)) {
        // Refused for its length, before anyone could have counted its operations.
        this.#learn({ budget })
        return this.#halveBytes(call, queue, error)
      }
      this.#result.points += call.points
      return this.#recover(call, queue, error)
    }
    this.#result.points += call.points
    const { limits, cids, ...head } = answer
    this.#learn({ ...head, refusals: 0 })
    if (limits !== undefined) this.#learn({ budget: believe(this.#state.budget, limits, this.#now()) })
    this.#countCommit(call.items, cids)
    return queue.slice(call.items.length)
  }

  /** @param cids what the host says it stored; undefined: the repo is to be asked at the end */
  #countCommit(items: readonly Pending[], cids: readonly string[] | undefined): void {
    this.#result.commits++
    this.#misses = 0
    this.#maxItems = Math.min(CEILINGS.maxItems, this.#maxItems * 2)
    this.#settleSuspects()
    if (cids === undefined) this.#unconfirmed.push(...items)
    else for (const [index, item] of items.entries()) this.#settle(storedAs(item, cids[index]))
    this.#options.onCommit?.(items.length)
  }

  async #recover(call: Call, queue: readonly Pending[], error: unknown): Promise<readonly Pending[]> {
    if (error instanceof PdsError) {
      if (error.error !== 'InvalidSwap') return this.#halveItems(call, queue, error)
      this.#learn({ isBusy: true })
      this.#countMiss(error)
      return this.#decide(queue)
    }
    if (!(error instanceof UnavailableError)) throw error
    if (error.retryAtMs === undefined) return this.#lookAgain(call, queue, error)
    this.#closeUntil(error.retryAtMs, error)
    return queue
  }

  #halveBytes({ items }: Call, queue: readonly Pending[], error: PdsError): readonly Pending[] {
    const [only] = items
    if (items.length === 1 && only !== undefined) {
      const reason = `the host takes no request as large as this record: ${error.message}`
      this.#settle({ ...nameOf(only), outcome: 'refused', reason })
      return queue.slice(1)
    }
    const bytes = items.reduce((sum, { jsonBytes }) => sum + jsonBytes, 0)
    this.#learn({ maxRequestBytes: Math.ceil(bytes / 2) })
    return queue
  }

  #halveItems({ items }: Call, queue: readonly Pending[], refusal: PdsError): readonly Pending[] {
    const [only] = items
    if (items.length === 1 && only !== undefined) {
      this.#settle({ ...nameOf(only), outcome: 'failed', reason: refusal.message })
      return queue.slice(1)
    }
    this.#maxItems = items.length >> 1
    return queue
  }

  /** The outcome is unknown: when all that was sent is there now, our commit landed. */
  async #lookAgain(
    call: Call,
    queue: readonly Pending[],
    error: UnavailableError,
  ): Promise<readonly Pending[]> {
    const known = this.#result.records.length
    const left = await this.#decide(queue)
    const sent = new Map(call.items.map((item) => [pathOf(item), item]))
    const stillLeft = left.filter((item) => sent.has(pathOf(item)))
    if (stillLeft.length === 0) {
      const settled = this.#result.records.splice(known)
      const others = settled.filter((record) => !sent.has(pathOf(record)) || record.outcome !== 'same')
      const landed = call.items.filter((item) => !others.some((record) => pathOf(record) === pathOf(item)))
      this.#result.records.push(...others)
      if (landed.length > 0)
        this.#countCommit(
          landed,
          landed.map(({ cid }) => cid),
        )
      return left
    }
    const unchanged = stillLeft.filter((item) => item.currentCid === sent.get(pathOf(item))?.currentCid)
    if (unchanged.length < call.items.length) {
      // Someone else made some of them: what failed was creating these.
      this.#countMiss(error)
      return left
    }
    return this.#doubt(call, left, error)
  }

  /** Nothing of the call is there. */
  #doubt({ items }: Call, left: readonly Pending[], error: UnavailableError): readonly Pending[] {
    const [only] = items
    if (items.length > 1 || only === undefined) {
      this.#maxItems = items.length >> 1
      return left
    }
    if (!this.#doubted.has(pathOf(only))) {
      this.#doubted.add(pathOf(only))
      return left
    }
    if (this.#suspects.length > 0)
      throw this.#tryLater('could not be written to: its host keeps failing', error)
    this.#suspects.push({ item: only, reason: error.message })
    const rest = left.filter((item) => pathOf(item) !== pathOf(only))
    if (rest.length === 0 && this.#result.commits === 0)
      throw this.#tryLater('could not be written to: its host keeps failing', error)
    return rest
  }

  /** The host did not say what it stored. */
  async #confirm(): Promise<void> {
    if (this.#unconfirmed.length === 0) return
    const repo = await this.#options.readRepo()
    for (const item of this.#unconfirmed)
      this.#settle(storedAs(item, repo.get(item.collection, item.rkey)?.cid.toString()))
  }

  /** Others could be written: it is these records that cannot. */
  #settleSuspects(): void {
    for (const { item, reason } of this.#suspects)
      this.#settle({ ...nameOf(item), outcome: 'failed', reason })
    this.#suspects = []
  }

  #countMiss(error: PdsError | UnavailableError): void {
    this.#misses++
    if (this.#misses < MAX_MISSES) return
    throw this.#tryLater('kept changing while it was written to', error)
  }

  #tryLater(what: string, cause: PdsError | UnavailableError): UnavailableError {
    const { did } = this.#options.session
    return new UnavailableError(`The repo of ${did} ${what}. ${cause.message}`, {
      did,
      hint: 'Run the same command again later; it goes on where it stopped.',
      cause,
    })
  }

  /** A host that refuses again when its time was up is asked after ever longer pauses. */
  #closeUntil(toldMs: number, error: UnavailableError): void {
    const nowMs = this.#now()
    const refusals = this.#state.refusals + 1
    const pauseMs = refusals > 1 ? REFUSED_AGAIN_MS * 2 ** (refusals - 2) : 0
    if (refusals > MAX_REFUSALS) throw error
    const limits = rateLimitOf(error)
    const told = limits === undefined ? this.#state.budget : believe(this.#state.budget, limits, nowMs)
    this.#learn({ refusals, budget: close(told, Math.max(toldMs, nowMs + pauseMs)) })
  }

  /** The wait may be of hours: what the repo holds then is to be seen then. */
  #stopUntilReady(queue: readonly Pending[]): void {
    const [first] = queue
    if (first === undefined) return
    const { did } = this.#options.session
    const nowMs = this.#now()
    const points = pointsOf(first, wayOf(first, this.#choice()))
    const untilMs = readyAtMs(this.#state.budget, points, nowMs)
    if (untilMs > nowMs + LONGEST_WAIT_MS) {
      throw new UnavailableError(
        `The PDS limits writes for ${did} until ${new Date(untilMs).toISOString()}.`,
        { did, hint: 'Run the same command again then; it goes on where it stopped.', retryAtMs: untilMs },
      )
    }
    const { head: _, ...state } = this.#state
    this.#state = state
    this.#result.left = queue.map(({ collection, rkey, record }) => ({ collection, rkey, record }))
    this.#result.wait = { untilMs, points }
  }

  #settle(record: WrittenRecord): [] {
    this.#result.records.push(record)
    return []
  }

  #learn(change: Partial<WriteState>): void {
    this.#state = { ...this.#state, ...change }
    if (change.budget !== undefined) this.#options.onBudget?.(change.budget)
  }
}

function storedAs(item: Pending, cid: string | undefined): WrittenRecord {
  if (cid === item.cid) return { ...nameOf(item), outcome: outcomeOf(item) }
  return { ...nameOf(item), outcome: 'failed', reason: `the host holds ${cid ?? 'nothing'}, not ${item.cid}` }
}

function headOf(repo: VerifiedRepo): Head {
  return { commit: repo.commit.toString(), rev: repo.rev }
}
