import PQueue from 'p-queue'
import { messageOf, UnavailableError } from '../../errors.ts'
import { type Logger, silentLogger } from '../../logger.ts'
import { readCarBytes } from '../../repo/car.ts'
import { signedCommitOf } from '../../repo/commit.ts'
import { isEmptyTree } from '../../repo/mst.ts'
import {
  type AccountFrame,
  type CommitFrame,
  didOf,
  type Frame,
  isAccount,
  isCommit,
  isSync,
  isUnreadable,
  type SyncFrame,
  type UnreadableFrame,
} from '../frame.ts'
import { RepoChains } from './chains.ts'
import { Delivery } from './delivery.ts'
import { NamedDeletes } from './named-deletes.ts'
import type { BrokenRepo, LiveOptions } from './options.ts'
import type { FrameOutcome, LiveStatus } from './status.ts'
import {
  stopsEverybody,
  type VerifiedCommit,
  type VerifiedEvent,
  verifiedEventsOf,
  withSigner,
} from './verified-events.ts'

/** @see LiveOptions.maxFrameBytes */
export const MAX_FRAME_BYTES = 5 * 1024 ** 2

const MAX_REPLAY_MS = 600_000
/**
 * After its signal, what a replay may wait for: one answer that comes as slowly as is allowed (30 s until it begins,
 * two minutes until it is whole), then a note in the database.
 */
const SETTLE_REPLAY_MS = 300_000

/** Repos whose last commit is remembered, at some 300 bytes each. */
const MAX_KNOWN_REPOS = 100_000

/** A frame with its size and its place in the order of arrival, which unlike seq never starts again. */
export interface Arrived<T extends Frame = Frame> {
  frame: T
  bytes: number
  arrival: number
}

/** What each kind of frame leads to. Frames of one account are handled one after the other, others at the same time. */
export class FrameHandler {
  readonly #options: LiveOptions
  readonly #status: LiveStatus
  readonly #lastArrival: () => number
  readonly #logger: Logger
  readonly #delivery: Delivery
  readonly #chains = new RepoChains(MAX_KNOWN_REPOS)
  readonly #named: NamedDeletes
  readonly #replays: PQueue
  /** By account: what had arrived before its last replay began is in that replay. */
  readonly #replayedUpTo = new Map<string, number>()

  constructor(options: LiveOptions, status: LiveStatus, lastArrival: () => number, signal: AbortSignal) {
    this.#options = options
    this.#status = status
    this.#lastArrival = lastArrival
    this.#logger = options.logger ?? silentLogger
    this.#named = new NamedDeletes(options.isWanted)
    this.#replays = new PQueue({ concurrency: options.maxReplays ?? 4 })
    this.#delivery = new Delivery({
      sink: options.sink,
      attempts: options.attempts ?? 5,
      onFailedEvent: options.onFailedEvent,
      onFailure: () => {
        status.failedEvents++
      },
      onHandled: () => {
        status.events++
      },
      signal,
      logger: this.#logger,
    })
  }

  /** Told of each frame as it comes, before it waits for its turn. */
  arrived(frame: Frame): void {
    if (isCommit(frame)) this.#named.add(frame)
  }

  /** Resolves when the frame is in the sink, in a finished replay, or noted durably. */
  async handle(arrived: Arrived): Promise<FrameOutcome> {
    const { frame } = arrived
    try {
      return await this.#outcomeOf(arrived)
    } finally {
      if (isCommit(frame)) this.#named.remove(frame)
    }
  }

  async #outcomeOf(arrived: Arrived): Promise<FrameOutcome> {
    const { frame, bytes } = arrived
    if (isAccount(frame)) return this.#account(frame)
    const isTooLarge = bytes > (this.#options.maxFrameBytes ?? MAX_FRAME_BYTES)
    if (isCommit(frame)) {
      const reason = isTooLarge ? `the frame has ${bytes} bytes` : undefined
      return this.#commit(
        { ...arrived, frame },
        frame.tooBig === true ? 'its ops were left out (tooBig)' : reason,
      )
    }
    if (isUnreadable(frame))
      return this.#broken({ ...arrived, frame }, 'the frame is not as the lexicon has it')
    if (isSync(frame)) return this.#sync({ ...arrived, frame })
    await this.#options.identity.clear(frame.did)
    await this.#options.onIdentity?.({ did: frame.did, seq: frame.seq })
    return 'identity'
  }

  /** Replays an account of which a message was lost. */
  async replayLost(did: string, seq: number, arrival: number, reason: string): Promise<void> {
    await this.#replay({ did, seq, rev: '', reason }, arrival)
  }

  async #commit(arrived: Arrived<CommitFrame>, fault: string | undefined): Promise<FrameOutcome> {
    const { frame } = arrived
    const step = this.#chains.stepOf(frame)
    if (step.kind === 'old') return 'old'
    if (fault !== undefined) return this.#broken(arrived, fault)
    const ops = frame.ops.filter((op) => this.#options.isWanted(op.path.split('/')[0] ?? ''))
    let data: string | undefined
    if (ops.length > 0) {
      const verified = await this.#verified(arrived, ops)
      if (verified === 'broken') return 'broken'
      data = verified.data
      await this.#deliver(verified.events, frame)
    }
    // The frame itself was right, so its records came live; the replay brings what was lost before it.
    if (step.kind === 'broken') return this.#broken(arrived, step.reason)
    this.#chains.advance(frame.repo, frame.rev, data)
    return data === undefined ? 'unwanted' : 'handled'
  }

  async #verified(
    arrived: Arrived<CommitFrame>,
    ops: CommitFrame['ops'],
  ): Promise<VerifiedCommit | 'broken'> {
    try {
      return await verifiedEventsOf(arrived.frame, ops, this.#options.identity)
    } catch (error) {
      if (stopsEverybody(error, arrived.frame.repo)) throw error
      await this.#broken(arrived, messageOf(error))
      return 'broken'
    }
  }

  async #deliver(events: readonly VerifiedEvent[], { seq, rev }: CommitFrame): Promise<void> {
    for (const event of events) {
      if ('event' in event) await this.#delivery.deliver(event)
      else {
        this.#status.unreadableRecords++
        this.#logger.error({ uri: event.uri, seq, reason: event.reason }, 'record cannot be read')
        await this.#options.onUnreadable?.({ ...event, seq, rev })
      }
    }
  }

  async #sync(arrived: Arrived<SyncFrame>): Promise<FrameOutcome> {
    const { frame } = arrived
    let commit: { rev: string; data: string; isEmpty: boolean }
    try {
      const car = readCarBytes(frame.blocks)
      const { identity } = this.#options
      const signed = await withSigner(frame.did, identity, (signer) => signedCommitOf(car, signer))
      const { rev, data } = signed.commit
      commit = { rev, data: data.toString(), isEmpty: isEmptyTree(data) }
    } catch (error) {
      if (stopsEverybody(error, frame.did)) throw error
      return this.#broken(arrived, messageOf(error))
    }
    // A PDS announces each new account with a #sync of its empty repo. There is nothing to fetch then, and a replay
    // would run ahead of the account's first records and keep their side effects from happening.
    const isNew =
      commit.isEmpty && !this.#chains.has(frame.did) && !(await this.#options.holdsRecords?.(frame.did))
    const isNews = !isNew && !this.#chains.isAt(frame.did, commit)
    if (isNews) await this.#broken(arrived, 'the host says that the repo must be fetched afresh (#sync)')
    this.#chains.advance(frame.did, commit.rev, commit.data)
    return isNews ? 'broken' : 'sync'
  }

  async #account({ did, seq, active, status }: AccountFrame): Promise<FrameOutcome> {
    this.#logger.info({ did, seq, active, status }, 'account status')
    // An account that is back announces its repo by a #sync, which must not pass for what is known already.
    this.#chains.forget(did)
    await this.#options.onAccount?.({ did, seq, active, status })
    return 'account'
  }

  async #broken(
    { frame, arrival }: Arrived<CommitFrame | SyncFrame | UnreadableFrame>,
    reason: string,
  ): Promise<FrameOutcome> {
    const { seq, rev } = frame
    await this.#replay({ did: didOf(frame), seq, rev, reason }, arrival)
    return 'broken'
  }

  /**
   * A host whose every frame is broken costs one replay after the other, not one for each frame: what had arrived
   * before a replay began is in it.
   */
  async #replay(broken: BrokenRepo, arrival: number): Promise<void> {
    const { did } = broken
    this.#chains.forget(did)
    if (arrival <= (this.#replayedUpTo.get(did) ?? 0)) return
    this.#logger.warn(broken, 'repo must be replayed')
    let upTo = arrival
    await this.#replays.add(async () => {
      upTo = this.#lastArrival()
      this.#status.replays++
      const deletes = this.#named.of(did)
      await this.#replayInTime(deletes.length === 0 ? broken : { ...broken, deletes })
    })
    if (this.#replayedUpTo.size >= MAX_KNOWN_REPOS) this.#replayedUpTo.clear()
    this.#replayedUpTo.set(did, upTo)
  }

  /** A host that takes for ever must not make everybody wait for ever. */
  async #replayInTime(broken: BrokenRepo): Promise<void> {
    const { onBrokenRepo, maxReplayMs = MAX_REPLAY_MS } = this.#options
    const late = new AbortController()
    const abort = () => {
      this.#logger.error({ ...broken, maxReplayMs }, 'replay takes too long, and is given up')
      late.abort(takesTooLong(broken, maxReplayMs))
    }
    const timers = [setTimeout(abort, maxReplayMs)]
    const ignored = new Promise<never>((_, reject) => {
      const error = takesTooLong(broken, maxReplayMs)
      timers.push(setTimeout(() => reject(error), maxReplayMs + SETTLE_REPLAY_MS))
    })
    try {
      await Promise.race([onBrokenRepo(broken, late.signal), ignored])
    } finally {
      for (const timer of timers) clearTimeout(timer)
      this.#status.replays--
    }
  }
}

function takesTooLong({ did }: BrokenRepo, maxReplayMs: number): UnavailableError {
  return new UnavailableError(`The replay of ${did} did not end within ${maxReplayMs} ms.`, {
    did,
    hint: 'Replay the account by itself, where a slow host holds up nobody.',
  })
}
