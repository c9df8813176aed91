import { PdsError, UnavailableError } from '../errors.ts'
import { believe, close } from './budget.ts'
import { type Pending, pathOf, type RecordName } from './pending.ts'
import { rateLimitOf } from './sessions/rate-limits.ts'
import { blamedIn, isBlobRefusal, type WriteBlobs } from './write-blobs.ts'
import { type Call, isServerError, isTooLarge } from './write-call.ts'
import { Culprits } from './write-culprits.ts'
import { decide } from './write-decision.ts'
import { keepsFailing, refusesAll, tryLater } from './write-failures.ts'
import { headOf, type WriteLedger } from './write-ledger.ts'
import type { CallSizes } from './write-sizes.ts'
import type { WriteOptions } from './write-state.ts'

/** In a row, without anything written in between: the state keeps being another one than was read. */
const MAX_MISSES = 5

/** What of the queue is left, and what of the call is in the repo after all. */
export interface Recovered {
  queue: readonly Pending[]
  landed?: readonly Pending[]
}

export interface RecoveryParts {
  options: Pick<WriteOptions, 'session' | 'readRepo' | 'onConflict'>
  ledger: WriteLedger
  sizes: CallSizes
  blobs: WriteBlobs | undefined
  now: () => number
}

/**
 * What the failure of a call means for the queue:
 *
 * - too large (413): the same again with half the bytes;
 * - another commit came in between (InvalidSwap): from then on no call depends on the commit before it;
 * - refused for a blob (400): the blobs are brought once more, then the record that needs them is refused;
 * - refused (4xx): the record that is refused is searched for (`CallSizes`), and alone is failed;
 * - outcome unknown (5xx, connection lost): the repo is read, which ends an outage of the host. When nothing of the
 *   call is there, the same search; one record alone that ends so twice over is set aside. It is failed when anything
 *   behind it passes; when nothing was left to try, it is if the host said 500 and the session is alive;
 * - rate limited (429): nothing goes until the host says.
 *
 * Where it is the host and not the records (`Culprits`), the run ends.
 */
export class WriteRecovery {
  readonly #parts: RecoveryParts
  #misses = 0
  readonly #culprits = new Culprits()

  constructor(parts: RecoveryParts) {
    this.#parts = parts
  }

  get #did(): string {
    return this.#parts.options.session.did
  }

  /** Set aside, with nothing written since. */
  get aside(): Pending[] {
    return this.#culprits.suspects.map(({ item }) => item)
  }

  /**
   * @throws PdsError when the host refuses whatever it is sent; UnavailableError when it keeps failing, or its repo
   *   keeps changing, or it must be left alone for too long; SessionError
   */
  async recover({ items }: Call, queue: readonly Pending[], error: unknown): Promise<Recovered> {
    if (isTooLarge(error)) return { queue: this.#halveBytes(items, queue, error) }
    if (error instanceof PdsError) return { queue: await this.#afterRefusal(items, queue, error) }
    if (!(error instanceof UnavailableError)) throw error
    if (error.retryAtMs === undefined) return this.#lookAgain(items, queue, error)
    this.#closeAsTold(error)
    return { queue }
  }

  /** Something was written: what was set aside is not there for want of a host. */
  passed(items: readonly Pending[]): void {
    this.#parts.sizes.passed(items)
    this.#misses = 0
    this.#convict()
  }

  /**
   * Nothing but what was set aside is left, and the repo was read since.
   *
   * @throws UnavailableError, SessionError when it may be the host, or the session
   */
  async conclude(): Promise<void> {
    const { ledger, options } = this.#parts
    if (this.aside.length === 0) return
    const { outage } = this.#culprits
    if (outage !== undefined && ledger.commits === 0) throw keepsFailing(this.#did, outage)
    await options.session.verify()
    this.#convict()
  }

  /** What is left to do, by the repo as it is now; what needs no write gets its outcome. */
  async look(pending: readonly Pending[]): Promise<Pending[]> {
    const { left, settled } = await this.#readAgain(pending)
    this.#parts.ledger.settle(...settled)
    return left
  }

  async #readAgain(pending: readonly Pending[]) {
    const { options, ledger } = this.#parts
    const repo = await options.readRepo()
    ledger.learn({ head: headOf(repo) })
    return decide(pending, repo, options.onConflict)
  }

  #halveBytes(items: readonly Pending[], queue: readonly Pending[], error: PdsError): readonly Pending[] {
    const { ledger } = this.#parts
    const [only] = items
    if (items.length === 1 && only !== undefined) {
      ledger.refuse(only, 'too-large', `the host takes no request as large as this record: ${error.message}`)
      return queue.slice(1)
    }
    const bytes = items.reduce((sum, { jsonBytes }) => sum + jsonBytes, 0)
    ledger.learn({ maxRequestBytes: Math.ceil(bytes / 2) })
    return queue
  }

  async #afterRefusal(items: readonly Pending[], queue: readonly Pending[], refusal: PdsError) {
    const { ledger, sizes, blobs } = this.#parts
    if (refusal.error === 'InvalidSwap') {
      ledger.learn({ isBusy: true })
      this.#countMiss(refusal)
      return this.look(queue)
    }
    const isOfBlob = blobs !== undefined && isBlobRefusal(refusal)
    if (isOfBlob && refusal.error === 'BlobNotFound' && blobs.renew(items)) return queue
    const culprits = items.length === 1 ? items : isOfBlob ? blamedIn(items, refusal) : []
    if (culprits.length === 0) {
      sizes.failed(items, { isSure: true })
      return queue
    }
    for (const item of culprits) {
      if (isOfBlob) ledger.refuse(item, 'blob-missing', refusal.message)
      else ledger.fail(item, refusal.message)
    }
    return this.#without(culprits, queue, refusal)
  }

  /** The outcome is unknown: when all that was sent is there now, our commit landed. */
  async #lookAgain(
    items: readonly Pending[],
    queue: readonly Pending[],
    error: UnavailableError,
  ): Promise<Recovered> {
    const { ledger, sizes } = this.#parts
    const { left, settled } = await this.#readAgain(queue)
    const sent = new Map(items.map((item) => [pathOf(item), item]))
    const stillLeft = left.filter((item) => sent.has(pathOf(item)))
    if (stillLeft.length === 0) {
      const same = new Set(settled.filter(({ outcome }) => outcome === 'same').map(pathOf))
      const isLanded = (name: RecordName) => sent.has(pathOf(name)) && same.has(pathOf(name))
      ledger.settle(...settled.filter((record) => !isLanded(record)))
      return { queue: left, landed: items.filter(isLanded) }
    }
    ledger.settle(...settled)
    const unchanged = stillLeft.filter((item) => item.currentCid === sent.get(pathOf(item))?.currentCid)
    if (unchanged.length === items.length) return { queue: this.#doubt(stillLeft, left, error) }
    // Someone else made some of them: what failed was creating these. Who makes more of the same in the meantime
    // makes each call fail whole and cost its points, so that the next one risks less of them.
    this.#countMiss(error)
    sizes.crowded(items)
    return { queue: left }
  }

  /** Nothing of the call is there. */
  #doubt(items: readonly Pending[], queue: readonly Pending[], error: UnavailableError): readonly Pending[] {
    const { sizes, blobs } = this.#parts
    // Of a blob whose bytes are gone while it is still in its books, a host says no more than that.
    if (isServerError(error)) blobs?.renew(items)
    const [only] = items
    if (items.length > 1 || only === undefined || !this.#culprits.doubt(only)) {
      sizes.failed(items, { isSure: false })
      return queue
    }
    this.#culprits.suspect(only, error)
    return this.#without(items, queue, error)
  }

  /** The queue without these, each of which ended so alone, or by name. */
  #without(
    items: readonly Pending[],
    queue: readonly Pending[],
    error: PdsError | UnavailableError,
  ): readonly Pending[] {
    this.#parts.sizes.found()
    const gone = new Set(items.map(pathOf))
    const rest = queue.filter((item) => !gone.has(pathOf(item)))
    if (this.#culprits.blame(error, rest.length) === 'record') return this.#culprits.inOrder(rest)
    if (!(error instanceof PdsError)) throw keepsFailing(this.#did, error)
    throw refusesAll(this.#did, error, { refused: this.#culprits.countInARow, untried: rest.length })
  }

  #convict(): void {
    for (const { item, error } of this.#culprits.convict()) this.#parts.ledger.fail(item, error.message)
  }

  #closeAsTold(error: UnavailableError): void {
    const { ledger, now } = this.#parts
    const limits = rateLimitOf(error)
    const { budget } = ledger.state
    const told = limits === undefined ? budget : believe(budget, limits, now())
    ledger.learn({ budget: close(told, ledger.pauseAfter(error, now())) })
  }

  #countMiss(error: PdsError | UnavailableError): void {
    this.#misses++
    if (this.#misses >= MAX_MISSES) throw tryLater(this.#did, 'kept changing while it was written to', error)
  }
}
