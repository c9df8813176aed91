import { AtUri } from '@atproto/syntax'
import { Subscription } from '@atproto/xrpc-server'
import { messageOf, shouldRetry, UnavailableError } from '../errors.ts'
import type { EventSink, RecordEvent } from '../events.ts'
import { type Logger, silentLogger } from '../logger.ts'
import type { Identity } from '../network/identity.ts'
import { readCarBytes } from '../repo/car.ts'
import { type Signer, signedCommitOf } from '../repo/commit.ts'
import { type VerifiedOp, verifyCommitFrame } from '../repo/commit-frame.ts'
import { recordFromBytes } from '../repo/record.ts'
import { SignatureError } from '../repo/repo-errors.ts'
import {
  type CommitFrame,
  didOf,
  type Frame,
  isCommit,
  isSync,
  isUnreadable,
  parseFrame,
  SUBSCRIBE_REPOS,
  type SyncFrame,
  type UnreadableFrame,
} from './frame.ts'

export interface LiveOptions {
  /** Relay or PDS, as `wss://bsky.network`. */
  service: string
  sink: EventSink
  identity: Identity
  /** Whether anything is indexed from this collection. */
  isWanted: (collection: string) => boolean
  /** Where to go on; undefined: from now. */
  cursor: number | undefined
  /** Makes a cursor durable. Called after the sink's flush, never for what is not durable. */
  saveCursor: (seq: number) => Promise<void>
  /**
   * A repo whose frames cannot be trusted or are not complete: it must be replayed from its PDS. Resolves when that
   * is done or has been noted durably; only then does the cursor move on.
   */
  onBrokenRepo: (broken: BrokenRepo) => Promise<void>
  /** Told once for each frame that is done with; for progress and tests. */
  onFrame?: (frame: { seq: number; did: string }) => void
  signal: AbortSignal
  /** How often the cursor is saved, in milliseconds. @defaultValue 1000 */
  saveEveryMs?: number
  logger?: Logger
}

/** Where a repo's stream stopped making sense, and why. */
export interface BrokenRepo {
  did: string
  seq: number
  rev: string
  reason: string
}

/**
 * Live ingestion: a relay's or PDS's firehose, verified, into an EventSink. Runs until the signal aborts; then what
 * was handled is flushed and the cursor saved.
 *
 * @throws UnavailableError when the database stays away: the cursor then stands before what is not durable
 */
export async function consumeFirehose(options: LiveOptions): Promise<void> {
  const { sink, signal, logger = silentLogger } = options
  const subscription = new Subscription<Frame>({
    service: options.service,
    method: SUBSCRIBE_REPOS,
    signal,
    getParams: () => (position.handled === undefined ? undefined : { cursor: position.handled }),
    validate: (value) => parseFrame(value) ?? note(value, logger),
    onReconnectError: (error, attempt) =>
      logger.warn({ attempt, error: messageOf(error) }, 'relay not reachable'),
  })
  const position = { handled: options.cursor, saved: options.cursor }
  const saveNow = async (): Promise<void> => {
    // Taken before the flush: whatever was handled by now is durable after it.
    const { handled } = position
    if (handled === undefined || handled === position.saved) return
    await sink.flush()
    await options.saveCursor(handled)
    position.saved = handled
  }
  let lastSave = Date.now()
  try {
    for await (const frame of subscription) {
      await handleFrame(frame, options)
      position.handled = frame.seq
      options.onFrame?.({ seq: frame.seq, did: didOf(frame) })
      if (Date.now() - lastSave >= (options.saveEveryMs ?? 1000)) {
        await saveNow()
        lastSave = Date.now()
      }
    }
  } catch (error) {
    if (!signal.aborted) throw asUnavailable(error)
  }
  await saveNow()
}

/** CID of the MST node that holds nothing: `{ e: [], l: null }`. */
const EMPTY_TREE = 'bafyreie5737gdxlw5i64vzichcalba3z2v5n6icifvx5xytvske7mr3hpm'

async function handleFrame(frame: Frame, options: LiveOptions): Promise<void> {
  if (isCommit(frame)) return handleCommit(frame, options)
  const did = didOf(frame)
  if (isUnreadable(frame)) return repoIsBroken(frame, 'the frame is not as the lexicon has it', options)
  if (isSync(frame)) return handleSync(frame, options)
  await options.identity.refresh(did).catch((error: unknown) => {
    // The next commit of this account resolves it again; nothing is lost here.
    options.logger?.debug({ did, error: messageOf(error) }, 'identity not refreshed')
  })
}

/**
 * A PDS announces each new account with a #sync of its empty repo. There is nothing to fetch then, and a replay
 * would run ahead of the account's first records and keep their side effects from happening.
 */
async function handleSync(frame: SyncFrame, options: LiveOptions): Promise<void> {
  let reason = 'the relay said that the repo must be fetched afresh (#sync)'
  try {
    const { commit } = await withFreshKey(frame.did, options.identity, (signer) =>
      signedCommitOf(readCarBytes(frame.blocks), signer),
    )
    if (commit.data.toString() === EMPTY_TREE) return
  } catch (error) {
    if (stopsUs(error, frame.did)) throw error
    reason = messageOf(error)
  }
  return repoIsBroken(frame, reason, options)
}

async function handleCommit(frame: CommitFrame, options: LiveOptions): Promise<void> {
  const ops = frame.ops.filter((op) => options.isWanted(op.path.split('/')[0] ?? ''))
  if (ops.length === 0) return
  let events: RecordEvent[]
  try {
    const { ops: verified } = await withFreshKey(frame.repo, options.identity, (signer) =>
      verifyCommitFrame({ ...frame, ops, ...signer }),
    )
    events = verified.map((op) => eventOf(frame, op))
  } catch (error) {
    if (stopsUs(error, frame.repo)) throw error
    return repoIsBroken(frame, messageOf(error), options)
  }
  for (const event of events) await options.sink.handle(event)
}

/**
 * Where the PLC directory is away nothing can be verified: better to stop before this frame and meet it again. A
 * did:web host is its owner's own: nobody's absence may stop everybody's ingestion.
 */
function stopsUs(error: unknown, did: string): boolean {
  return shouldRetry(error) && !did.startsWith('did:web:')
}

function repoIsBroken(
  frame: CommitFrame | SyncFrame | UnreadableFrame,
  reason: string,
  options: LiveOptions,
): Promise<void> {
  const broken = { did: didOf(frame), seq: frame.seq, rev: frame.rev, reason }
  options.logger?.warn(broken, 'repo must be replayed')
  return options.onBrokenRepo(broken)
}

/** The signing key may have changed since it was cached: one more try with the DID document as it is now. */
async function withFreshKey<T>(did: string, identity: Identity, check: (signer: Signer) => T): Promise<T> {
  try {
    return check({ did, signingKey: (await identity.resolve(did)).signingKey })
  } catch (error) {
    if (!(error instanceof SignatureError)) throw error
    return check({ did, signingKey: (await identity.refresh(did)).signingKey })
  }
}

/** What no consumer can act on is at least said: an #info that the cursor is too old means events were missed. */
function note(value: unknown, logger: Logger): undefined {
  const { $type: type, name, message, seq } = Object(value) as Record<string, unknown>
  const level = String(type).endsWith('#info') ? 'warn' : 'debug'
  logger[level]({ type, name, message, seq }, 'frame left out')
}

function eventOf(frame: CommitFrame, op: VerifiedOp): RecordEvent {
  const { seq, time, commit, rev, repo: did } = frame
  const { collection, rkey } = op
  const uri = AtUri.make(did, collection, rkey)
  const prev = op.prev === undefined ? {} : { prev: op.prev }
  const base = { source: 'firehose', seq, time, commit, rev, uri, did, collection, rkey, ...prev } as const
  return op.action === 'delete'
    ? { ...base, event: 'delete' }
    : { ...base, event: op.action, cid: op.cid, record: recordFromBytes(op.bytes) }
}

function asUnavailable(error: unknown): unknown {
  if (error instanceof Error && error.name === 'AbortError') {
    return new UnavailableError('The relay closed the connection.', { cause: error })
  }
  return error
}
