import { PdsError, type UnavailableError } from '../errors.ts'
import { type Pending, pathOf } from './pending.ts'
import { isServerError } from './write-call.ts'

/** Records alone, in a row and alike, without anything written in between: as many may be neighbours. */
const MAX_NEIGHBOURS = 4
/** With one from the end and one from the middle of what is left: it is not the records. */
const MAX_IN_A_ROW = MAX_NEIGHBOURS + 2
/** As few as these may all be refused each for itself, as where all others are there since an earlier run. */
const FEW = 20

interface Suspect {
  item: Pending
  error: UnavailableError
}

/** What it is that a record alone, or by name, fails for. */
export type Blame =
  /** The record, as far as can be told. */
  | 'record'
  /** The host, which does so whatever it is sent. */
  | 'host'

/**
 * The records that calls failed for. When they end alike in a row, the last two tried are from elsewhere in the queue:
 * neighbours may be bad for the same reason. If those end so as well, it is the host.
 */
export class Culprits {
  /** With unknown outcome each time, and nothing written since. */
  #suspects: Suspect[] = []
  /** Paths of single records whose outcome was unknown once. */
  readonly #doubted = new Set<string>()
  #row = { error: '', count: 0 }

  get suspects(): readonly Suspect[] {
    return this.#suspects
  }

  /** That ended alike, with nothing written in between. */
  get countInARow(): number {
    return this.#row.count
  }

  /** @returns whether it was already: once may have been the moment */
  doubt(item: Pending): boolean {
    if (this.#doubted.has(pathOf(item))) return true
    this.#doubted.add(pathOf(item))
    return false
  }

  suspect(item: Pending, error: UnavailableError): void {
    this.#suspects.push({ item, error })
  }

  /** To be called for each that is taken out of the queue. @param restCount what is left in it */
  blame(error: PdsError | UnavailableError, restCount: number): Blame {
    const name = error instanceof PdsError ? error.error : error.name
    this.#row = { error: name, count: this.#row.error === name ? this.#row.count + 1 : 1 }
    const fewCount = error instanceof PdsError ? FEW : 0
    return this.#row.count >= MAX_IN_A_ROW && restCount > fewCount ? 'host' : 'record'
  }

  /** In the order in which they are to be tried. */
  inOrder(queue: readonly Pending[]): readonly Pending[] {
    const beyond = this.#row.count - MAX_NEIGHBOURS
    if (beyond < 0) return queue
    const at = beyond === 0 ? queue.length - 1 : queue.length >> 1
    return [...queue.slice(at, at + 1), ...queue.slice(0, Math.max(0, at)), ...queue.slice(at + 1)]
  }

  /** Something was written: what was set aside is not there for want of a host. */
  convict(): readonly Suspect[] {
    this.#row = { error: '', count: 0 }
    const convicted = this.#suspects
    this.#suspects = []
    return convicted
  }

  /** Why the suspects cannot be told from an outage: no host was there to fail in them. */
  get outage(): UnavailableError | undefined {
    return this.#suspects.find(({ error }) => !isServerError(error))?.error
  }
}
