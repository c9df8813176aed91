import type { Command } from 'commander'
import { EXIT, type ExitCode } from '../../errors.ts'
import type { OutcomeCounts } from '../../events.ts'
import { createFetch } from '../../network/fetch.ts'
import { createXrpc } from '../../network/xrpc.ts'
import type { AbsentRecord } from '../../restore/prune.ts'
import { type Replayed, replayAccount } from '../../restore/replay.ts'
import { planReplay, planReplayFromRelay, type ReplayPlan } from '../../restore/replay-plan.ts'
import {
  type ReplayedFromRelay,
  type ReplayFromRelayOptions,
  replayAccountFromRelay,
} from '../../restore/replay-relay.ts'
import type { DefineCommand } from '../command.ts'
import { confirmProduction } from '../confirm-production.ts'
import { type CliContext, openCatalog, openContext } from '../context.ts'
import { interruptible } from '../interrupt.ts'
import { didOption, dryRunOption, examples, jsonOption } from '../options.ts'
import { printJson, say, startProgress } from '../output.ts'
import { checkReplayOptions, type ReplayCommandOptions, replayOptions } from '../replay-options.ts'

export const replayCommand: DefineCommand = (program: Command, done) => {
  const command = program
    .command('replay')
    .description("Reindex one account's repo, verified, through the indexer; ends with a catch-up receipt.")
    .addOption(didOption())
  for (const option of replayOptions()) command.addOption(option)
  command
    .addOption(dryRunOption())
    .addOption(jsonOption())
    .addHelpText(
      'after',
      examples(
        'replay --did did:plc:...',
        'replay --did did:plc:... --prune --dry-run',
        'replay --did did:plc:... --source relay --cursor 1234567 --relay wss://relay.example',
      ),
    )
    .action(async (options: ReplayCommandOptions) => {
      checkReplayOptions(options)
      const context = withRepoLimit(await openContext(options), options.maxRepoSize)
      await openCatalog(context) // says early, and clearly, when our migration is missing
      done(await interruptible((signal) => replay(context, options, signal)))
    })
}

/** The network's own limit would be met first. */
function withRepoLimit(context: CliContext, maxRepoBytes: number | undefined): CliContext {
  if (maxRepoBytes === undefined) return context
  const fetch = createFetch({ allowLocalhost: context.config.isOn('allowLocalhost') })
  return { ...context, network: { ...context.network, xrpc: createXrpc({ fetch, maxRepoBytes }) } }
}

async function replay(
  context: CliContext,
  options: ReplayCommandOptions,
  signal: AbortSignal,
): Promise<ExitCode> {
  const { source, dryRun, json } = options
  if (dryRun) {
    const plan = await plannedReplay(context, options, signal)
    if (json) printJson(plan)
    else sayPlan(plan)
    return EXIT.complete
  }
  if (source === 'relay') {
    const replayed = await fromRelay(context, options, signal)
    if (json) printJson(replayed)
    else sayReplayedFromRelay(replayed)
    return relayExitCode(replayed)
  }
  const replayed = await fromRepo(context, options, signal)
  if (json) printJson(replayed)
  else sayReplayed(replayed)
  return replayExitCode(replayed)
}

function plannedReplay(
  context: CliContext,
  options: ReplayCommandOptions,
  signal: AbortSignal,
): Promise<ReplayPlan> {
  const { did, source, prune = false } = options
  if (source === 'relay')
    return planReplayFromRelay(context, did, windowOf(context, options, { signal, isQuiet: true }))
  return planReplay(context, did, { ...limitsOf(options), prune, signal })
}

async function fromRepo(
  context: CliContext,
  options: ReplayCommandOptions,
  signal: AbortSignal,
): Promise<Replayed> {
  const progress = startProgress('replay', options.json === true)
  try {
    return await replayAccount(context, options.did, {
      ...limitsOf(options),
      acceptOlderRev: options.acceptOlderRev === true,
      ...(options.prune && {
        prune: async (absent) => {
          progress.stop()
          sayAbsent(absent)
          return confirmProduction(context.production, { yes: options.yes, signal })
        },
      }),
      onProgress: progress.update,
      signal,
    })
  } finally {
    progress.stop()
  }
}

function limitsOf({ collections, maxRepoSize }: ReplayCommandOptions) {
  return {
    ...(collections && { collections }),
    ...(maxRepoSize && { maxRepoBytes: maxRepoSize }),
  }
}

function fromRelay(
  context: CliContext,
  options: ReplayCommandOptions,
  signal: AbortSignal,
): Promise<ReplayedFromRelay> {
  const window = windowOf(context, options, { signal, isQuiet: options.json === true })
  return replayAccountFromRelay(context, options.did, window)
}

/** A window has no length that could be drawn as a bar: seqs have gaps, and its end may not be known yet. */
const POSITION_EVERY_MS = 5000

function windowOf(
  { config }: CliContext,
  { cursor = 0, until, collections }: ReplayCommandOptions,
  { signal, isQuiet }: { signal: AbortSignal; isQuiet: boolean },
): ReplayFromRelayOptions {
  let nextMs = Date.now() + POSITION_EVERY_MS
  return {
    service: config.required('relayUrl'),
    cursor,
    ...(until === undefined ? {} : { until }),
    ...(collections === undefined ? {} : { collections }),
    onPosition: (seq, end) => {
      if (isQuiet || Date.now() < nextMs) return
      nextMs = Date.now() + POSITION_EVERY_MS
      say(`The window has been read to ${seq}${end === undefined ? '' : ` of ${end}`}.`)
    },
    signal,
  }
}

export async function replayWithProgress(
  context: CliContext,
  did: string,
  isQuiet: boolean,
): Promise<Replayed> {
  const progress = startProgress('replay', isQuiet)
  try {
    return await replayAccount(context, did, { onProgress: progress.update })
  } finally {
    progress.stop()
  }
}

export function sayReplayed(replayed: Replayed): void {
  const { records, counts, unreadable, receipt, pruned, isCaughtUp, onBackupAlone } = replayed
  sayCounts(records, counts, unreadable)
  if (pruned.length > 0) say(`${pruned.length} records that the repo no longer has were deleted.`)
  sayOnBackupAlone(onBackupAlone)
  say(
    isCaughtUp
      ? `The index has reached rev ${receipt.rev} of ${receipt.did}.`
      : `These collections have reached rev ${receipt.rev} of ${receipt.did}; the others were left out, so this is no catch-up.`,
  )
}

function sayReplayedFromRelay(replayed: ReplayedFromRelay): void {
  const {
    did,
    window,
    commits,
    records,
    counts,
    unreadable,
    gaps,
    superseded,
    dropped,
    headUnknown,
    receipt,
  } = replayed
  say(`${commits} commits of ${did} among ${window.frameCount} frames, up to ${window.seq}`)
  sayCounts(records, counts, unreadable)
  if (superseded > 0) say(`${superseded} deletes of records that are there again were left out`)
  if (dropped > 0)
    say(`${dropped} records of the window are not in the repo any more, and were deleted again`)
  if (headUnknown !== undefined)
    say(`Whether the records of the window still stand could not be learnt: ${headUnknown}`)
  if (window.outdated !== undefined)
    say(`The relay no longer holds the beginning of the window (${window.outdated}).`)
  for (const { seq, reason } of gaps) say(`not certain at ${seq}: ${reason}`)
  say(
    receipt === undefined
      ? `This window does not prove that the index has caught up: run "firehose-replay replay --did ${did}" for that.`
      : `The index has reached rev ${receipt.rev} of ${did}.`,
  )
}

function sayCounts(records: number, counts: OutcomeCounts, unreadable: Replayed['unreadable']): void {
  const found = Object.entries(counts).filter(([, count]) => count > 0)
  const words = found.map(([outcome, count]) => `${count} ${outcome}`).join(', ')
  say(`${records} records: ${words || 'none of interest'}`)
  for (const { uri, reason } of unreadable) say(`unreadable: ${uri}: ${reason}`)
}

function sayPlan({ did, rev, collections, unreadable, prune, onBackupAlone }: ReplayPlan): void {
  say(`What a replay of ${did} would hand over${rev === undefined ? '' : `, up to rev ${rev}`}:`)
  for (const [collection, counts] of Object.entries(collections)) {
    const words = Object.entries(counts).flatMap(([kind, count]) => (count > 0 ? [`${count} ${kind}`] : []))
    say(`  ${collection}: ${words.join(', ')}`)
  }
  if (Object.keys(collections).length === 0) say('  nothing')
  for (const { uri, reason } of unreadable) say(`unreadable: ${uri}: ${reason}`)
  if (prune.length > 0) sayAbsent(prune)
  sayOnBackupAlone(onBackupAlone)
  say('Nothing was written.')
}

function sayAbsent(absent: readonly AbsentRecord[]): void {
  say(`${absent.length} records are in the tables and no longer in the repo; --prune deletes them:`)
  for (const { uri, table } of absent) say(`  ${uri}${table === undefined ? '' : ` (${table})`}`)
  say(
    'What hangs off their rows by foreign keys goes with them; what other accounts wrote waits and comes back.',
  )
}

function sayOnBackupAlone(uris: readonly string[]): void {
  if (uris.length === 0) return
  say(
    `${uris.length} records are not in the repo, and a reconcile has brought their rows from the backup all the same; --prune leaves them:`,
  )
  for (const uri of uris) say(`  ${uri}`)
}

function replayExitCode({ unreadable, counts }: Pick<Replayed, 'unreadable' | 'counts'>): ExitCode {
  return unreadable.length === 0 && counts['dead-lettered'] === 0 ? EXIT.complete : EXIT.incomplete
}

function relayExitCode(replayed: ReplayedFromRelay): ExitCode {
  const { gaps, window, headUnknown } = replayed
  const isUncertain = gaps.length > 0 || window.outdated !== undefined || headUnknown !== undefined
  return isUncertain ? EXIT.incomplete : replayExitCode(replayed)
}
