import { Argument, type Command, InvalidArgumentError, Option } from 'commander'
import {
  countDeadLetters,
  type DeadLetter,
  deleteDeadLetters,
  HANDLER,
  type LetterSelection,
  readDeadLetters,
} from '../../database/dead-letters.ts'
import { ConfigError, EXIT, type ExitCode } from '../../errors.ts'
import { type RetriedLetter, retryDeadLetters, retryInSink } from '../../indexer/retry-letters.ts'
import type { DefineCommand } from '../command.ts'
import { type CliContext, openCatalog, openContext } from '../context.ts'
import { interruptible } from '../interrupt.ts'
import { didOption, examples, jsonOption } from '../options.ts'
import { confirmByTyping, printJson, say, startProgress } from '../output.ts'
import { accountOf, adviceFor, answerLetters, needsReplay } from '../replay-letters.ts'

interface DeadLetterOptions {
  did?: string
  id?: number[]
  yes?: number
  json?: true
}

type Act = (
  context: CliContext,
  options: DeadLetterOptions,
  selection: LetterSelection,
  signal: AbortSignal,
) => Promise<ExitCode>

export const deadLettersCommand: DefineCommand = (program: Command, done) => {
  const actions: Readonly<Record<string, Act>> = { list, retry, drop }
  program
    .command('dead-letters')
    .description('What could not be indexed: list it, index it again, or drop it.')
    .addArgument(new Argument('<action>', 'what to do with them').choices(Object.keys(actions)))
    .addOption(didOption().makeOptionMandatory(false))
    .addOption(new Option('--id <id>', 'only this one (again for each)').argParser(parseId))
    .addOption(new Option('--yes <count>', 'drop that many without asking').argParser(parseCount))
    .addOption(jsonOption())
    .addHelpText(
      'after',
      examples(
        'dead-letters list',
        'dead-letters retry --did did:plc:...',
        'dead-letters drop --id 12 --id 14 --yes 2',
      ),
    )
    .action(async (action: string, options: DeadLetterOptions) => {
      const { did, id: ids } = options
      const selection = { ...(did !== undefined && { did }), ...(ids !== undefined && { ids }) }
      const act = actions[action] ?? list
      const context = await openContext(options)
      await openCatalog(context) // says early, and clearly, when our migration is missing
      done(await interruptible((signal) => act(context, options, selection, signal)))
    })
}

async function list(
  { production }: CliContext,
  { json }: DeadLetterOptions,
  selection: LetterSelection,
): Promise<ExitCode> {
  const all: object[] = []
  let count = 0
  for await (const page of readDeadLetters(production, selection)) {
    count += page.length
    for (const letter of page) {
      if (json) all.push({ ...letter, event: parsedEvent(letter) })
      else process.stdout.write(`${lineOf(letter)}\n`)
    }
  }
  if (json) printJson({ deadLetters: all })
  else say(countOf(count))
  return EXIT.complete
}

/** One that somebody has edited need be no JSON any more: it is shown as the text that it is. */
function parsedEvent({ event }: DeadLetter): unknown {
  try {
    return JSON.parse(event)
  } catch (error) {
    if (error instanceof SyntaxError) return event
    throw error
  }
}

/** What is left out is in --json: the event itself may be long. */
function lineOf({ id, failedAt, code, uri, rev, error }: DeadLetter): string {
  return [id, failedAt, code, uri, rev || '-', error].join('  ')
}

async function retry(
  context: CliContext,
  { json }: DeadLetterOptions,
  selection: LetterSelection,
  signal: AbortSignal,
): Promise<ExitCode> {
  const { production } = context
  const retried: RetriedLetter[] = []
  const ofRepos: DeadLetter[] = []
  const total = await countDeadLetters(production, selection)
  const progress = startProgress('dead letters', json === true)
  try {
    for await (const page of readDeadLetters(production, selection)) {
      signal.throwIfAborted()
      const { toReplay, done } = await retryPage(context, page)
      ofRepos.push(...toReplay)
      retried.push(...done)
      progress.update(retried.length, total)
    }
    for (const [did, letters] of Map.groupBy(ofRepos, (letter) => accountOf(letter) ?? '')) {
      signal.throwIfAborted()
      retried.push(...(await answerLetters(context, did, letters, signal)))
      progress.update(retried.length, total)
    }
  } finally {
    progress.stop()
  }
  // A record's own letter may have been tried before its account's replay met the record again: the replay knows last.
  const last = [...new Map(retried.map((one) => [one.id, one])).values()]
  const left = last.filter(({ outcome }) => outcome === 'dead-lettered')
  const outcomes: Record<string, number> = {}
  for (const { outcome } of last) outcomes[outcome] = (outcomes[outcome] ?? 0) + 1
  if (json) printJson({ tried: last.length, outcomes, left })
  else {
    for (const { id, uri, reason } of left) say(`still: ${id}  ${uri}  ${reason ?? ''}`)
    const words = Object.entries(outcomes).map(([outcome, number]) => `${number} ${outcome}`)
    say(`Tried again: ${words.join(', ') || 'there was none'}.`)
  }
  return left.length === 0 ? EXIT.complete : EXIT.incomplete
}

/** Tries the letters that hold an event; those whose account must be replayed are handed back. */
async function retryPage(
  { production, appview, openSink }: CliContext,
  page: readonly DeadLetter[],
): Promise<{ toReplay: DeadLetter[]; done: RetriedLetter[] }> {
  const toReplay: DeadLetter[] = []
  const ofHandler: DeadLetter[] = []
  const ofIndexer: DeadLetter[] = []
  const done: RetriedLetter[] = []
  for (const letter of page) {
    const { id, uri, code } = letter
    const reason = adviceFor(letter, openSink !== undefined)
    if (reason !== undefined) done.push({ id, uri, outcome: 'dead-lettered', reason })
    else if (needsReplay(letter)) toReplay.push(letter)
    else (code === HANDLER ? ofHandler : ofIndexer).push(letter)
  }
  done.push(...(await retryDeadLetters(production, appview, ofIndexer)))
  if (openSink !== undefined) done.push(...(await retryInSink(production, openSink(), ofHandler)))
  return { toReplay, done }
}

async function drop(
  { production }: CliContext,
  { json, yes }: DeadLetterOptions,
  selection: LetterSelection,
  signal: AbortSignal,
): Promise<ExitCode> {
  // By id: what comes while the question stands was not counted, and stays.
  const ids: number[] = []
  for await (const page of readDeadLetters(production, selection)) ids.push(...page.map(({ id }) => id))
  if (ids.length > 0 && !(await isConfirmed(ids.length, production.name, yes, signal))) {
    say('Nothing was dropped.')
    return EXIT.usage
  }
  const dropped = await deleteDeadLetters(production, ids)
  if (json) printJson({ dropped })
  else say(`Dropped: ${countOf(dropped)}`)
  return EXIT.complete
}

async function isConfirmed(
  count: number,
  database: string,
  yes: number | undefined,
  signal: AbortSignal,
): Promise<boolean> {
  if (yes !== undefined) {
    if (yes === count) return true
    throw new ConfigError(`--yes says ${yes}, but there are ${count}.`, {
      hint: 'Look at them with "firehose-replay dead-letters list", then confirm their number.',
    })
  }
  say(`${countOf(count)} Of ${database}. Dropped, they can only be had back by replaying their accounts.`)
  if (!process.stdin.isTTY) {
    throw new ConfigError('There is no terminal to confirm in.', {
      hint: `If they are to be dropped, add --yes ${count}`,
    })
  }
  return confirmByTyping(`Type ${count} to drop them:`, String(count), { signal })
}

function countOf(count: number): string {
  return count === 1 ? '1 dead letter.' : `${count || 'no'} dead letters.`
}

function parseId(value: string, before: number[] | undefined): number[] {
  return [...(before ?? []), parseCount(value)]
}

function parseCount(value: string): number {
  const count = Number(value)
  if (/^\d+$/.test(value) && Number.isSafeInteger(count)) return count
  throw new InvalidArgumentError('It is not a whole number.')
}
