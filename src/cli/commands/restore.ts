import { rmdir } from 'node:fs/promises'
import type { Command } from 'commander'
import type { Snapshot } from '../../backup/snapshot.ts'
import { EXIT } from '../../errors.ts'
import type { WritePlan } from '../../pds/plan.ts'
import { exitCodeOf } from '../../report/report.ts'
import type { ConsentPolicy } from '../../restore/consent.ts'
import { type RestoreResult, restoreAccount } from '../../restore/restore.ts'
import { createRunFolder, type RunFolder } from '../../restore/run-folder.ts'
import type { DefineCommand } from '../command.ts'
import { confirmProduction } from '../confirm-production.ts'
import { addConsentOptions, type ConsentFlags, consentPolicyOf, sayConsent } from '../consent.ts'
import { type CliContext, openBackup, openCatalog, openContext } from '../context.ts'
import { assertEngineReady, writerOf } from '../engine.ts'
import { interruptible } from '../interrupt.ts'
import {
  didOption,
  dryRunOption,
  engineOption,
  examples,
  jsonOption,
  passwordFileOption,
  reviewOption,
  withParentsOption,
  yesOption,
} from '../options.ts'
import { type Progress, printJson, printReport, say, startProgress } from '../output.ts'
import { saySchemas } from '../schema-text.ts'
import { sessionsOf } from '../sessions.ts'
import { addWritePlanOptions, type WritePlanFlags, writePlanOptions } from '../write-plan.ts'
import { sayWritePlan } from '../write-plan-text.ts'

interface RestoreCommandOptions extends WritePlanFlags, ConsentFlags {
  did: string
  engine: 'inngest' | 'local'
  withParents?: true
  appPasswordFile?: string
  review?: string
  yes?: string
  dryRun?: true
  json?: true
}

export const restoreCommand: DefineCommand = (program: Command, done) => {
  const command = program
    .command('restore')
    .description('Bring an account back: extract, write, replay, reconcile, compare.')
    .addOption(didOption())
    .addOption(engineOption())
  addWritePlanOptions(command)
  addConsentOptions(command)
    .addOption(withParentsOption())
    .addOption(passwordFileOption())
    .addOption(reviewOption())
    .addOption(yesOption())
    .addOption(dryRunOption())
    .addOption(jsonOption())
    .addHelpText(
      'after',
      examples(
        'restore --did did:plc:... --dry-run',
        'restore --did did:plc:...',
        'restore --did did:plc:... --yes REF.supabase.co --json > report.json',
      ),
    )
    .action(async (options: RestoreCommandOptions) => {
      const context = await openContext(options)
      const result = await interruptible((signal) => restore(context, options, signal))
      if (result === undefined) {
        say('Nothing was written to the PDS or to production.')
        return done(options.dryRun ? EXIT.complete : EXIT.usage)
      }
      if (options.review !== undefined) say(`The rows that were planned, for review: ${options.review}`)
      if (!options.json) sayConsent(result.consent)
      printReport(result.report, options.json === true)
      if (result.nothingToDo) say(nothingToDoLine(result))
      done(exitCodeOf(result.report.verdict))
    })
}

function nothingToDoLine({ report }: RestoreResult): string {
  return report.verdict === 'complete'
    ? 'There was nothing to do: everything was there already.'
    : 'Nothing was written and no row changed: what is still missing could not be brought back now either.'
}

async function restore(
  context: CliContext,
  options: RestoreCommandOptions,
  signal: AbortSignal,
): Promise<RestoreResult | undefined> {
  const { did, engine } = options
  const sessionProvider = sessionsOf(context, options.appPasswordFile)
  const backup = await openBackup(context, await openCatalog(context))
  if (!options.dryRun) await assertEngineReady(context, did, { engine, sessionProvider, signal })
  const planned = await writePlanOptions(context, did, options)
  const folder = await createRunFolder(context.config.required('runs'), did, new Date())
  const progress = new PhaseProgress(options.json === true)
  try {
    return await restoreAccount(context, {
      did,
      backup,
      folder,
      ...planned,
      // Inngest's functions have sessions of their own; a dry run needs none.
      ...(engine === 'local' && !options.dryRun ? { sessionProvider } : {}),
      ...(options.withParents && { withParents: true }),
      ...(options.review !== undefined && { review: options.review }),
      consent: restoreConsent(options, signal, progress),
      writer: writerOf(context, { engine, sessionProvider, signal }),
      confirm: (plan, snapshot) => {
        signal.throwIfAborted()
        return confirmRestore(plan, snapshot, context, { ...options, signal })
      },
      onPhase: (phase) => {
        signal.throwIfAborted()
        progress.start(phase)
      },
      onProgress: (_, done, total) => {
        progress.update(done, total)
        signal.throwIfAborted()
      },
    })
  } finally {
    progress.stop()
    await sayFolder(folder)
  }
}

/** A bar that is on must not be written over by the question. */
function restoreConsent(
  options: RestoreCommandOptions,
  signal: AbortSignal,
  progress: PhaseProgress,
): ConsentPolicy {
  const policy = consentPolicyOf(options, signal)
  return {
    ...policy,
    async acceptWithdrawn(share) {
      progress.stop()
      return (await policy.acceptWithdrawn?.(share)) ?? false
    },
  }
}

/** A run that found out at once that it cannot be leaves no folder behind. */
async function sayFolder({ path }: RunFolder): Promise<void> {
  try {
    await rmdir(path)
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && error.code === 'ENOTEMPTY')) throw error
    say(`Snapshot, plans and report of this run: ${path}`)
  }
}

async function confirmRestore(
  plan: WritePlan,
  snapshot: Snapshot,
  { production }: CliContext,
  options: RestoreCommandOptions & { signal: AbortSignal },
): Promise<boolean> {
  if (options.dryRun && options.json) printJson(plan)
  sayWritePlan(plan, options.engine)
  saySchemas(snapshot)
  say(`Backup: ${snapshot.meta.from}. Production, which will be written to: ${production.name}.`)
  if (options.dryRun) return false
  return confirmProduction(production, options)
}

/** One bar at a time, for the phase that is under way. */
class PhaseProgress {
  readonly #isQuiet: boolean
  #bar: Progress | undefined

  constructor(isQuiet: boolean) {
    this.#isQuiet = isQuiet
  }

  start(phase: string): void {
    this.stop()
    this.#bar = startProgress(phase, this.#isQuiet)
  }

  update(done: number, total: number): void {
    this.#bar?.update(done, total)
  }

  stop(): void {
    this.#bar?.stop()
    this.#bar = undefined
  }
}
