import type { Cid } from '@atproto/lex'
import { messageOf, PdsError, ReplayError, VerificationError } from '../errors.ts'
import type { CatchUpReceipt, EventSink, RecordEvent } from '../events.ts'
import { type Logger, silentLogger } from '../logger.ts'
import { createFetch } from '../network/fetch.ts'
import { createIdentity, type Identity } from '../network/identity.ts'
import { createXrpc, type Xrpc } from '../network/xrpc.ts'
import { readCarBytes } from '../repo/car.ts'
import { signedCommitOf } from '../repo/commit.ts'
import { isEmptyTree } from '../repo/mst.ts'
import { deleteAbsent, type KnownRevision, lookAtHead } from './absent-records.ts'
import { type CommitFrame, isCommit, isSync, isUnreadable, type SyncFrame } from './frame.ts'
import { AccountKey, type FrameEvents, verifiedEvents } from './frame-events.ts'
import { PresentRecords } from './present-records.ts'
import { readWindow, type WindowEnd, type WindowEntry, type WindowOptions } from './relay-window.ts'
import { type HeadNetwork, headRev, pathOf } from './repo-head.ts'
import { type ReplayTarget, sinkOf } from './target.ts'

export type RelayReplayOptions = ReplayTarget &
  WindowOptions & {
    /** @defaultValue createIdentity() */
    identity?: Identity
    /** Of interest; others are left out. @defaultValue all */
    isWanted?: (collection: string) => boolean
    /** For `sparesPresent` and `dropsAbsent`. @defaultValue one over createFetch() */
    xrpc?: Xrpc
    /**
     * Deletes at the end what this replay has handed over and the account's repo no longer has: a window that ends in
     * the past, or has gaps, does not show every delete. Fetches the account's repo, unless the window proves that it
     * has come to the repo's head. @defaultValue true for `handleEvent`, false for `sink`
     */
    dropsAbsent?: boolean
    /** Records, as `collection/rkey`, that `dropsAbsent` leaves all the same: their rows rest on something else. */
    exempt?: ReadonlySet<string>
    /**
     * Leaves out deletes of records that are there at present, which the window shows from before they came back.
     * Needed where the target cannot tell what is newer, as our Indexer does by rev. Fetches the account's repo when
     * it meets the first delete. @defaultValue true for `handleEvent`, false for `sink`
     */
    sparesPresent?: boolean
  }

/** A place where the window says nothing certain about the account. */
export interface WindowGap {
  seq: number
  rev?: string
  reason: string
}

export interface RelayReplayResult {
  did: string
  window: WindowEnd
  /** Commits of the account in the window. */
  commits: number
  /** Events handed over. */
  records: number
  /**
   * Revisions that the window leads from and to: every commit in between was in it, verified, each following the one
   * before. `since` is null when the repo was empty at first. Undefined when there was no commit, or a gap.
   */
  chain?: { since: string | null; rev: string; commit: string }
  /** Frames that could not be trusted or are missing; the account's repo has to be replayed to be sure. */
  gaps: WindowGap[]
  /** Deletes of records that are there at present: not handed over. */
  superseded: number
  /** Records of the window that the repo no longer has: handed over, and deleted again at the end. */
  dropped: number
  /** Set where it could not be learnt which records the repo still has, though they may be gone by now: why. */
  headUnknown?: string
  unreadable: { uri: string; reason: string }[]
}

/**
 * One account's slice of a relay's firehose, from a cursor to an end that is fixed at the start, through an EventSink
 * or the handler of @atproto/sync's Firehose. Frames are verified as live ones are, and handed over in their order.
 * Resolves when all of it is durable.
 *
 * At least once: who runs it again is given the same events again, and of a window of the past older versions than
 * live ingestion has brought since. Our Indexer decides by revision. A handler that keeps no revisions, and whose
 * tables others write meanwhile, must compare `rev` itself, or be replayed from the repo when the window is through.
 *
 * A relay can leave frames out, and no frame proves that none is missing between two others; `since` says so as long
 * as the relay does not lie. Contents cannot be forged.
 *
 * @throws ConfigError when the relay has never reached the cursor. UnavailableError when relay or database stay away
 */
export async function replayRelay(options: RelayReplayOptions): Promise<RelayReplayResult> {
  const identity = options.identity ?? createIdentity()
  const key = new AccountKey(options.did, identity)
  await key.lookUp()
  const replay = new RelayReplay(options, sinkOf(options), { identity, key })
  const entries = readWindow(options)
  for (;;) {
    const next = await entries.next()
    if (next.done) return replay.finish(next.value)
    await replay.take(next.value)
  }
}

/**
 * The receipt that a window earns: undefined unless the index had reached the window's first revision already, or the
 * repo began in the window. Otherwise nothing is known of the records that no frame of the window names.
 */
export function receiptOf(
  { did, chain }: RelayReplayResult,
  known: CatchUpReceipt | undefined,
): CatchUpReceipt | undefined {
  if (chain === undefined) return undefined
  const isWhole = chain.since === null || (known !== undefined && known.rev >= chain.since)
  return isWhole ? { did, rev: chain.rev, commit: chain.commit } : undefined
}

/** Frames whose signatures may be with the pool while the next are read: some megabytes at most. */
const MAX_UNDER_WAY = 32

class RelayReplay {
  readonly #options: RelayReplayOptions
  readonly #sink: EventSink
  readonly #logger: Logger
  readonly #key: AccountKey
  readonly #present: PresentRecords | undefined
  readonly #result: Omit<RelayReplayResult, 'window' | 'chain'>
  readonly #network: HeadNetwork
  /** Records handed over that no delete has followed, by path, in the order of their last event. */
  readonly #standing = new Map<string, { collection: string; rkey: string }>()
  #underWay: (() => Promise<void>)[] = []
  /** The newest commit that was verified. */
  #last: { rev: string; commit: Cid } | undefined
  #chain: { since: string | null; rev: string; commit: Cid } | undefined
  /** Root of the tree that the last commit left. */
  #tree: Cid | undefined

  constructor(
    options: RelayReplayOptions,
    sink: EventSink,
    { identity, key }: { identity: Identity; key: AccountKey },
  ) {
    this.#options = options
    this.#sink = sink
    this.#logger = options.logger ?? silentLogger
    this.#key = key
    const { did, signal, handleEvent, sparesPresent = handleEvent !== undefined } = options
    const xrpc = options.xrpc ?? createXrpc({ fetch: createFetch() })
    this.#network = { identity, xrpc, ...(signal && { signal }) }
    this.#present = sparesPresent ? new PresentRecords(did, this.#network) : undefined
    this.#result = { did, commits: 0, records: 0, gaps: [], superseded: 0, dropped: 0, unreadable: [] }
  }

  /** Begins with the entry; what came before it is done with first, whatever takes longer. */
  async take(entry: WindowEntry): Promise<void> {
    this.#underWay.push(this.#begin(entry))
    if (this.#underWay.length > MAX_UNDER_WAY) await this.#settleFirst()
  }

  async #settleFirst(): Promise<void> {
    await this.#underWay.shift()?.()
  }

  /** What can be checked of it without what came before; the rest, to be done in order. */
  #begin(entry: WindowEntry): () => Promise<void> {
    if (entry.kind === 'unreadable') {
      return async () => this.#gap({ seq: entry.afterSeq, reason: entry.reason })
    }
    const { frame } = entry
    if (isUnreadable(frame)) {
      return async () => this.#gap({ ...frame, reason: 'the frame is not as the lexicon has it' })
    }
    if (isSync(frame)) return () => this.#trusted(frame, () => this.#takeSync(frame))
    if (!isCommit(frame)) return async () => undefined
    this.#result.commits++
    const verified = verifiedEvents(frame, {
      key: this.#key,
      isWanted: this.#options.isWanted ?? (() => true),
      source: 'relay',
    })
    // Whoever settles it meets the rejection; until then it is nobody's fault.
    verified.catch(() => undefined)
    return () => this.#trusted(frame, async () => this.#takeCommit(frame, await verified))
  }

  /** What cannot be trusted is a gap, and the window goes on. What may pass by itself ends the replay. */
  async #trusted({ seq, rev }: { seq: number; rev: string }, take: () => Promise<void>): Promise<void> {
    try {
      await take()
    } catch (error) {
      if (!(error instanceof VerificationError)) throw error
      this.#gap({ seq, rev, reason: messageOf(error) })
    }
  }

  /** A new account is announced with its empty repo, by this and a commit: from there on the window has all of it. */
  async #takeSync(frame: SyncFrame): Promise<void> {
    const { seq, rev } = frame
    const { cid, commit } = await this.#key.checked((signer) =>
      signedCommitOf(readCarBytes(frame.blocks), signer),
    )
    if (!isEmptyTree(commit.data)) return this.#gap({ seq, rev, reason: 'the repo was set anew (#sync)' })
    this.#beginChain(commit, cid)
  }

  #beginChain({ rev, data }: { rev: string; data: Cid }, commit: Cid): void {
    this.#chain = { since: null, rev, commit }
    this.#tree = data
  }

  async #takeCommit(frame: CommitFrame, { data, events, unreadable }: FrameEvents): Promise<void> {
    this.#result.unreadable.push(...unreadable)
    this.#last = { rev: frame.rev, commit: frame.commit }
    if (isEmptyTree(data)) this.#beginChain({ rev: frame.rev, data }, frame.commit)
    else this.#follow(frame)
    this.#tree = data
    for (const event of events) await this.#handOver(event)
  }

  async finish(window: WindowEnd): Promise<RelayReplayResult> {
    while (this.#underWay.length > 0) await this.#settleFirst()
    await this.#sink.flush()
    await this.#dropAbsent()
    const result = { ...this.#result, window }
    const chain = this.#chain
    if (chain === undefined || result.gaps.length > 0) return result
    return { ...result, chain: { ...chain, commit: chain.commit.toString() } }
  }

  async #dropAbsent(): Promise<void> {
    const { did, handleEvent, dropsAbsent = handleEvent !== undefined } = this.#options
    if (!dropsAbsent || this.#standing.size === 0) return
    for (const path of this.#options.exempt ?? []) this.#standing.delete(path)
    const head = await this.#head()
    if (head === 'as the window' || head === undefined) return
    const dropped = await deleteAbsent({
      did,
      records: [...this.#standing.values()],
      sink: this.#sink,
      network: this.#network,
      head,
      logger: this.#logger,
    })
    this.#result.dropped = dropped.length
  }

  /** undefined: it cannot be had, and that is noted. */
  async #head(): Promise<KnownRevision | 'as the window' | undefined> {
    const { did } = this.#options
    const last = this.#last
    try {
      if (await this.#isAtHead()) return 'as the window'
      return await lookAtHead({ did, network: this.#network, ...(last && { lastKnown: last }) })
    } catch (error) {
      if (!(error instanceof ReplayError)) throw error
      this.#logger.warn(
        { did, error: messageOf(error) },
        'whether records of the window still stand is not known',
      )
      this.#result.headUnknown = messageOf(error)
      return undefined
    }
  }

  /** Every commit up to the repo's head was in the window, so that every delete was, too. */
  async #isAtHead(): Promise<boolean> {
    if (this.#chain === undefined || this.#result.gaps.length > 0) return false
    try {
      return (await headRev(this.#options.did, this.#network)) === this.#chain.rev
    } catch (error) {
      if (error instanceof PdsError && error.error === 'RepoNotFound') return false
      throw error
    }
  }

  #follow({ seq, rev, since, prevData, commit }: CommitFrame): void {
    const known = this.#chain
    if (since === undefined) this.#gap({ seq, rev, reason: 'the commit does not say which one it follows' })
    else if (known !== undefined && since !== known.rev) {
      this.#gap({ seq, rev, reason: `the commit follows ${since}, but the one before it is ${known.rev}` })
    } else if (this.#tree !== undefined && prevData !== undefined && !prevData.equals(this.#tree)) {
      this.#gap({ seq, rev, reason: 'the commit changes another tree than the one before it left' })
    }
    const from = known === undefined ? (since ?? null) : known.since
    this.#chain = { since: from, rev, commit }
  }

  async #handOver(event: RecordEvent): Promise<void> {
    if (event.event === 'delete' && (await this.#present?.has(event))) {
      this.#result.superseded++
      return
    }
    await this.#sink.handle(event)
    this.#result.records++
    const { collection, rkey } = event
    this.#standing.delete(pathOf(event))
    if (event.event !== 'delete') this.#standing.set(pathOf(event), { collection, rkey })
  }

  #gap({ seq, rev, reason }: WindowGap): void {
    const gap = rev === undefined ? { seq, reason } : { seq, rev, reason }
    this.#logger.warn({ did: this.#options.did, ...gap }, 'the window says nothing certain here')
    this.#result.gaps.push(gap)
  }
}
