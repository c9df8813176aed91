import { HANDLER } from '../database/dead-letters.ts'
import { messageOf } from '../errors.ts'
import type { OutcomeCounts, RecordEvent } from '../events.ts'
import type { BrokenRepo, Gap, LiveOptions } from '../firehose/live.ts'
import {
  writeAccountLetter,
  writeBrokenRepo,
  writeDeadLetters,
  writeGap,
  writeUnreadable,
  writeUnreadableRecords,
} from '../indexer/dead-letters.ts'
import { answerAccount } from '../restore/account-status.ts'
import { replayAccount } from '../restore/replay.ts'
import { replayKnownAccounts } from '../restore/replay-known.ts'
import { holdsRecords, isNoneOfOurs } from '../restore/repo-interest.ts'
import { believableRev } from './believable-rev.ts'
import type { CliContext } from './context.ts'
import { say } from './output.ts'

type Answers = Required<Pick<LiveOptions, 'onBrokenRepo' | 'onGap' | 'onUnreadable' | 'onAccount'>> &
  Pick<LiveOptions, 'onFailedEvent' | 'holdsRecords'>

/** How long a host is asked what became of its account: the frames behind wait, and a letter asks again. */
const ACCOUNT_RETRY = { attempts: 3, firstDelayMs: 500, maxWaitMs: 5000 }

export interface LiveAnswerOptions {
  /** The end of the command. @defaultValue none */
  signal?: AbortSignal
  /** Told what became of the events of each replay. */
  onReplayed?: (counts: OutcomeCounts) => void
}

type ReplayOptions = Pick<LiveAnswerOptions, 'onReplayed'> & { signal: AbortSignal }

/**
 * What the command does about what the consumer cannot handle by itself. Everything is either mended from the repos
 * or kept as a dead letter; a database that is away can keep nothing, and that stops the consumer.
 *
 * @param service as its cursor is kept
 */
export function liveAnswers(context: CliContext, service: string, options: LiveAnswerOptions = {}): Answers {
  const { production, logger, openSink } = context
  const { signal: end = new AbortController().signal } = options
  const leaveOut = async (broken: BrokenRepo, error: unknown): Promise<void> => {
    // Whether its host is away or its repo is broken is in its owner's hands, and must not stop everybody's ingestion.
    logger.error({ ...broken, error: messageOf(error) }, 'repo left out until it is replayed')
    await writeBrokenRepo(production, { ...broken, reason: messageOf(error) })
  }
  return {
    async onBrokenRepo(broken, signal) {
      try {
        await replayBroken(context, broken, { ...options, signal })
      } catch (error) {
        await leaveOut(broken, error)
      }
    },
    onGap: (gap, signal) =>
      openSink === undefined
        ? replayAfterGap(context, gap, { ...options, service, signal, leaveOut })
        : keepGap(context, service, gap),
    async onAccount(account) {
      // What an own consumer does about accounts is in its own code.
      if (openSink !== undefined) return
      const answer = await answerAccount(context, account, { ...ACCOUNT_RETRY, signal: end })
      if (answer.outcome !== 'unconfirmed') return
      const reason = `Whether it is gone could not be confirmed: ${messageOf(answer.error)}`
      logger.error({ ...account, reason }, 'account left as it was')
      await writeAccountLetter(production, { ...account, reason })
    },
    onUnreadable: ({ uri = service, ...rest }) => writeUnreadable(production, { uri, ...rest }),
    // Our own indexer knows its records, and writes its dead letters itself.
    ...(openSink === undefined
      ? { holdsRecords: (did: string) => holdsRecords(context, did) }
      : {
          onFailedEvent: (event: RecordEvent, error: unknown) =>
            writeDeadLetters(production, [{ event, code: HANDLER, error: messageOf(error) }]),
        }),
  }
}

/** A host that serves the repo as it was before the broken frame has mended nothing. */
async function replayBroken(
  context: CliContext,
  { did, rev, deletes = [] }: BrokenRepo,
  { signal, onReplayed }: ReplayOptions,
): Promise<void> {
  const atLeastRev = believableRev(rev)
  if (await isNoneOfOurs(context, did, atLeastRev)) return
  const { unreadable, counts } = await replayAccount(context, did, {
    withDeletes: true,
    namedDeletes: deletes,
    signal,
    ...(atLeastRev === undefined ? {} : { atLeastRev }),
  })
  onReplayed?.(counts)
  await writeUnreadableRecords(context.production, unreadable)
}

async function replayAfterGap(
  context: CliContext,
  gap: Gap,
  {
    service,
    signal,
    onReplayed,
    leaveOut,
  }: ReplayOptions & {
    service: string
    leaveOut: (broken: BrokenRepo, error: unknown) => Promise<void>
  },
): Promise<void> {
  const reason = `frames were missed (${gap.reason})`
  say(`Frames were missed (${gap.reason}): the known accounts are replayed from their repos.`)
  let saidMs = Date.now()
  const { replayed, unchanged, failed, listing } = await replayKnownAccounts(context, {
    signal,
    listedBy: service,
    onFailed: (did, error) => leaveOut({ did, seq: gap.to ?? gap.from ?? 0, rev: '', reason }, error),
    onReplayed: (_, { unreadable, counts }) => {
      onReplayed?.(counts)
      return writeUnreadableRecords(context.production, unreadable)
    },
    onProgress: (done) => {
      if (Date.now() - saidMs < PROGRESS_EVERY_MS) return
      saidMs = Date.now()
      say(`${done} accounts are done.`)
    },
  })
  say(`Replayed ${replayed} accounts; ${unchanged} were unchanged, ${failed} are left as dead letters.`)
  if (listing !== undefined && listing.incomplete === undefined) {
    say(`${listing.accounts} of them were new here, and listed by the relay.`)
    return
  }
  // Whose first record was missed is known to nobody here, and only a person can find out.
  await writeGap(context.production, service, gap)
  say(
    `The relay does not list the accounts of our collections (${listing?.incomplete ?? 'not asked'}): those that were new in the missed frames cannot be known. A dead letter reminds of them.`,
  )
}

const PROGRESS_EVERY_MS = 10_000

/** A consumer of the operator's own keeps no record state: whose records it has is known to it alone. */
async function keepGap({ production, logger }: CliContext, service: string, gap: Gap): Promise<void> {
  const hint = 'replay the accounts that your own consumer knows: firehose-replay replay --did ...'
  logger.error({ ...gap, hint }, 'frames were missed')
  say(`Frames were missed (${gap.reason}), kept as a dead letter: ${hint}`)
  await writeGap(production, service, gap)
}
