import { isValidRecordKey } from '@atproto/syntax'
import { z } from 'zod'
import {
  ACCOUNT,
  BROKEN_REPO,
  type DeadLetter,
  deleteLettersAsRead,
  GAP,
  HANDLER,
  PARKED,
  readDeadLetters,
  setLetterAside,
  UNREADABLE,
} from '../database/dead-letters.ts'
import { ReplayError } from '../errors.ts'
import { writeUnreadableRecords } from '../indexer/dead-letters.ts'
import { type RetriedLetter, reasonOf } from '../indexer/retry-letters.ts'
import { answerAccount } from '../restore/account-status.ts'
import { type ReplayAccountOptions, type Replayed, replayAccount } from '../restore/replay.ts'
import { believableRev } from './believable-rev.ts'
import type { CliContext } from './context.ts'

/** The account whose record or repo a letter is about; undefined: it is about a relay. */
export function accountOf({ uri }: Pick<DeadLetter, 'uri'>): string | undefined {
  return /^at:\/\/(did:[^/]+)/.exec(uri)?.[1]
}

/** Letters that hold no event: only the account's repo or host can say what is to be done. */
export function needsReplay({ code, source }: DeadLetter): boolean {
  return code === ACCOUNT || code === BROKEN_REPO || code === UNREADABLE || source === PARKED
}

/** Why trying again can do nothing about a letter, and what can; undefined: it can be tried. */
export function adviceFor(letter: DeadLetter, hasOwnHandler: boolean): string | undefined {
  const { id, code, source } = letter
  const thenDrop = `then "firehose-replay dead-letters drop --id ${id}".`
  if (code === GAP) {
    const whose = hasOwnHandler ? 'that your own consumer knows' : 'that were new then, as you learn of them'
    return `Frames were missed: run "firehose-replay replay --did ..." for the accounts ${whose}, ${thenDrop}`
  }
  if (code === UNREADABLE && accountOf(letter) === undefined) {
    return `No account can be told from it: run "firehose-replay replay --did ..." for those you miss something of, ${thenDrop}`
  }
  if (code === HANDLER && !hasOwnHandler) {
    return 'It was refused by handleEvent, which this configuration has not: try again with the one that has it.'
  }
  if (code === ACCOUNT && hasOwnHandler) {
    return `What becomes of the account is for your own consumer to say, ${thenDrop}`
  }
  if (source === PARKED && hasOwnHandler) {
    return 'It is about a row of the tables: try again with a configuration that has no handleEvent.'
  }
  return undefined
}

/**
 * Does what the letters of one account ask for: first what its host says of it, then its replay.
 *
 * @param letters that need a replay, all of this account
 */
export async function answerLetters(
  context: CliContext,
  did: string,
  letters: readonly DeadLetter[],
  signal: AbortSignal,
): Promise<RetriedLetter[]> {
  const claims = letters.filter(({ code }) => code === ACCOUNT)
  const others = letters.filter(({ code }) => code !== ACCOUNT)
  const answered = await answerClaims(context, did, claims, signal)
  return others.length === 0
    ? answered
    : [...answered, ...(await replayForLetters(context, did, others, signal))]
}

const claimShape = z.object({ active: z.boolean(), status: z.string().optional() })

/** The last that was said of the account decides, once it is confirmed; the letters before it go with it. */
async function answerClaims(
  context: CliContext,
  did: string,
  letters: readonly DeadLetter[],
  signal: AbortSignal,
): Promise<RetriedLetter[]> {
  const last = letters.toSorted((a, b) => a.seq - b.seq).at(-1)
  if (last === undefined) return []
  const claim = readAs(claimShape, last)
  if (claim === undefined) return letters.map(({ id, uri }) => stillDead(id, uri, 'It cannot be read.'))
  const { active, status } = claim
  const answer = await answerAccount(context, { did, active, status }, { signal, attempts: 1 })
  if (answer.outcome === 'unconfirmed') {
    return letters.map(({ id, uri }) => stillDead(id, uri, reasonOf(answer.error)))
  }
  await deleteLettersAsRead(context.production, letters)
  const outcome = answer.outcome === 'deleted' ? 'applied' : 'skipped'
  return letters.map(({ id, uri }) => ({ id, uri, outcome }))
}

/**
 * Replays an account for its letters, and removes those that are mended by it. What the replay cannot apply or read it
 * makes letters of its own of; these are told too.
 *
 * @param letters that need a replay, all of this account
 */
export async function replayForLetters(
  context: CliContext,
  did: string,
  letters: readonly DeadLetter[],
  signal: AbortSignal,
): Promise<RetriedLetter[]> {
  const { production } = context
  const before = new Map((await lettersOf(context, did)).map(({ id, failedAt }) => [id, failedAt]))
  for (const letter of letters) if (letter.source === PARKED) await setLetterAside(production, letter)
  let unreadable: Replayed['unreadable']
  try {
    ;({ unreadable } = await replayAccount(context, did, { ...demandsOf(letters), signal }))
  } catch (error) {
    if (!(error instanceof ReplayError) || signal.aborted) throw error
    const reason = reasonOf(error)
    return letters.map(({ id, uri }) => ({ id, uri, outcome: 'dead-lettered', reason }))
  }
  const reasons = new Map(unreadable.map(({ uri, reason }) => [uri, reason]))
  const isStillUnreadable = ({ code, uri }: DeadLetter) => code === UNREADABLE && reasons.has(uri)
  const kept = letters.filter(isStillUnreadable)
  // A record that has a letter already, with the bytes that came, needs no second one.
  const known = new Set(kept.map(({ uri }) => uri))
  await writeUnreadableRecords(
    production,
    unreadable.filter(({ uri }) => !known.has(uri)),
  )
  const mended = letters.filter((letter) => !isStillUnreadable(letter))
  await deleteLettersAsRead(production, mended)
  const failed = (await lettersOf(context, did)).filter(({ id, failedAt }) => before.get(id) !== failedAt)
  const failedUris = new Set(failed.map(({ uri }) => uri))
  return [
    ...mended
      .filter(({ uri }) => !failedUris.has(uri))
      .map(({ id, uri }) => ({ id, uri, outcome: 'applied' as const })),
    ...kept.map(({ id, uri }) => stillDead(id, uri, reasons.get(uri))),
    ...failed.map(({ id, uri, error }) => stillDead(id, uri, error)),
  ]
}

/** A repo that could not be read may have lost records meanwhile, and must be where its broken frame said it is. */
function demandsOf(
  letters: readonly DeadLetter[],
): Pick<ReplayAccountOptions, 'withDeletes' | 'namedDeletes' | 'atLeastRev'> {
  const broken = letters.filter(({ code }) => code === BROKEN_REPO)
  const revs = broken.flatMap(({ rev }) => believableRev(rev) ?? [])
  const newest = revs.toSorted().at(-1)
  return {
    withDeletes: broken.length > 0,
    namedDeletes: broken.flatMap(deletesIn),
    ...(newest === undefined ? {} : { atLeastRev: newest }),
  }
}

const deletesShape = z.object({
  deletes: z.array(z.object({ collection: z.string(), rkey: z.string().refine(isValidRecordKey) })),
})

/** The records that the letter's frame named as deleted; letters of a frame that could not be read have none. */
function deletesIn(letter: DeadLetter): { collection: string; rkey: string }[] {
  return readAs(deletesShape, letter)?.deletes ?? []
}

/** What a letter holds instead of an event; undefined where it holds something else, as one that somebody has edited. */
function readAs<T>(shape: z.ZodType<T>, { event }: DeadLetter): T | undefined {
  try {
    return shape.safeParse(JSON.parse(event)).data
  } catch (error) {
    if (error instanceof SyntaxError) return undefined
    throw error
  }
}

async function lettersOf({ production }: CliContext, did: string): Promise<DeadLetter[]> {
  const found: DeadLetter[] = []
  for await (const page of readDeadLetters(production, { did })) found.push(...page)
  return found
}

function stillDead(id: number, uri: string, reason = 'It was refused again.'): RetriedLetter {
  return { id, uri, outcome: 'dead-lettered', reason }
}
