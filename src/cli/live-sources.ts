import { countDeadLetters, insertDeadLetters } from '../database/dead-letters.ts'
import { retrying } from '../database/retry.ts'
import { messageOf } from '../errors.ts'
import type { RecordEvent } from '../events.ts'
import type { BrokenRepo, Gap, LiveOptions, Unreadable } from '../firehose/live.ts'
import { writeBrokenRepo, writeDeadLetters } from '../indexer/dead-letters.ts'
import { deleteAccountRecords } from '../restore/delete-account.ts'
import { replayAccount } from '../restore/replay.ts'
import { replayKnownAccounts } from '../restore/replay-known.ts'
import type { CliContext } from './context.ts'
import { say } from './output.ts'

/** Codes of dead letters that are no events. */
const UNREADABLE = 'UNREADABLE'
const GAP = 'GAP'
/** An event that the operator's own function rejected. */
const HANDLER = 'HANDLER'

type Answers = Required<Pick<LiveOptions, 'onBrokenRepo' | 'onGap' | 'onUnreadable' | 'onAccount'>> &
  Pick<LiveOptions, 'onFailedEvent'>

/**
 * What the command does about what the consumer cannot handle by itself. Everything is either mended from the repos
 * or kept as a dead letter; a database that is away can keep nothing, and that stops the consumer.
 */
export function liveAnswers(context: CliContext, service: string): Answers {
  const { production, logger, openSink } = context
  const leaveOut = async (broken: BrokenRepo, error: unknown): Promise<void> => {
    // Whether its host is away or its repo is broken is in its owner's hands, and must not stop everybody's ingestion.
    logger.error({ ...broken, error: messageOf(error) }, 'repo left out until it is replayed')
    await writeBrokenRepo(production, { ...broken, reason: messageOf(error) })
  }
  return {
    async onBrokenRepo(broken) {
      try {
        await replayAccount(context, broken.did, { withDeletes: true })
      } catch (error) {
        await leaveOut(broken, error)
      }
    },
    onGap: (gap, signal) =>
      openSink === undefined
        ? replayAfterGap(context, gap, { signal, leaveOut })
        : keepGap(context, service, gap),
    async onAccount(account) {
      const isToGo = context.appview.onAccount?.(account) === 'delete'
      if (isToGo && openSink === undefined) await deleteAccountRecords(context, account.did)
    },
    onUnreadable: (unreadable) => keepUnreadable(context, service, unreadable),
    // Our own indexer writes its dead letters itself.
    ...(openSink === undefined
      ? {}
      : {
          onFailedEvent: (event: RecordEvent, error: unknown) =>
            writeDeadLetters(production, [{ event, code: HANDLER, error: messageOf(error) }]),
        }),
  }
}

async function replayAfterGap(
  context: CliContext,
  gap: Gap,
  {
    signal,
    leaveOut,
  }: { signal: AbortSignal; leaveOut: (broken: BrokenRepo, error: unknown) => Promise<void> },
): Promise<void> {
  const reason = `frames were missed (${gap.reason})`
  say(`Frames were missed (${gap.reason}): the known accounts are replayed from their repos.`)
  let saidMs = Date.now()
  const { replayed, unchanged, failed } = await replayKnownAccounts(context, {
    signal,
    onFailed: (did, error) => leaveOut({ did, seq: gap.to ?? gap.from ?? 0, rev: '', reason }, error),
    onProgress: (done) => {
      if (Date.now() - saidMs < PROGRESS_EVERY_MS) return
      saidMs = Date.now()
      say(`${done} accounts are done.`)
    },
  })
  say(`Replayed ${replayed} accounts; ${unchanged} were unchanged, ${failed} are left as dead letters.`)
}

const PROGRESS_EVERY_MS = 10_000

/** A consumer of the operator's own keeps no record state: whose records it has is known to it alone. */
async function keepGap({ production, logger }: CliContext, service: string, gap: Gap): Promise<void> {
  const hint = 'replay the accounts that your own consumer knows: firehose-replay replay --did ...'
  logger.error({ ...gap, hint }, 'frames were missed')
  say(`Frames were missed (${gap.reason}), kept as a dead letter: ${hint}`)
  const seq = gap.to ?? gap.from ?? 0
  const event = JSON.stringify(gap)
  await keep(production, {
    uri: service,
    rev: `gap after ${gap.from ?? 'nothing'}`,
    seq,
    event,
    code: GAP,
    error: gap.reason,
  })
}

async function keepUnreadable(
  { production }: CliContext,
  service: string,
  unreadable: Unreadable,
): Promise<void> {
  const { uri = service, seq, bytes, reason } = unreadable
  const event = JSON.stringify({ base64: Buffer.from(bytes).toString('base64') })
  await keep(production, {
    uri,
    rev: unreadable.rev || `after ${seq}`,
    seq,
    event,
    code: UNREADABLE,
    error: reason,
  })
}

async function keep(
  database: CliContext['production'],
  letter: { uri: string; rev: string; seq: number; event: string; code: string; error: string },
): Promise<void> {
  // Postgres cannot store U+0000, and the reason may quote what the relay sent.
  const error = letter.error.replaceAll('\u0000', '\\u0000').toWellFormed()
  await retrying(() => insertDeadLetters(database, [{ ...letter, error, source: 'firehose' }]))
}

/** Rows that wait and dead letters, counted at most every fifteen seconds: a scraper may be an eager one. */
export function waitingCounts({
  production,
  logger,
}: CliContext): () => Promise<{ parked: number; deadLetters: number }> {
  let counted = { parked: 0, deadLetters: 0 }
  let nextMs = 0
  return async () => {
    if (Date.now() < nextMs) return counted
    nextMs = Date.now() + COUNT_EVERY_MS
    try {
      const answer = await production.client
        .from('parked_events')
        .select('uri', { count: 'exact', head: true })
      production.check(answer, { table: 'parked_events' })
      counted = { parked: answer.count ?? 0, deadLetters: await countDeadLetters(production) }
    } catch (error) {
      // The other metrics are wanted most when the database is away.
      logger.warn({ error: messageOf(error) }, 'waiting rows not counted')
    }
    return counted
  }
}

const COUNT_EVERY_MS = 15_000
