import { rmdir } from 'node:fs/promises'
import type { Command } from 'commander'
import type { Snapshot } from '../../backup/snapshot.ts'
import { ConfigError, EXIT } from '../../errors.ts'
import type { ConflictPolicy, WritePlan } from '../../pds/plan.ts'
import { exitCodeOf } from '../../report/report.ts'
import { type RestoreResult, restoreAccount } from '../../restore/restore.ts'
import { createRunFolder, type RunFolder } from '../../restore/run-folder.ts'
import type { DefineCommand } from '../command.ts'
import { type CliContext, openBackup, openCatalog, openContext } from '../context.ts'
import { assertEngineReady, writerOf } from '../engine.ts'
import { interruptible } from '../interrupt.ts'
import {
  conflictOption,
  didOption,
  dryRunOption,
  engineOption,
  examples,
  jsonOption,
  passwordFileOption,
} from '../options.ts'
import { confirmByTyping, type Progress, printJson, printReport, say, startProgress } from '../output.ts'
import { sessionsOf } from '../sessions.ts'
import { sayWritePlan } from './write.ts'

interface RestoreCommandOptions {
  did: string
  engine: 'inngest' | 'local'
  onConflict: ConflictPolicy
  appPasswordFile?: string
  yes?: string
  dryRun?: true
  json?: true
}

export const restoreCommand: DefineCommand = (program: Command, done) => {
  program
    .command('restore')
    .description('Bring an account back: extract, write, replay, reconcile, compare.')
    .addOption(didOption())
    .addOption(engineOption())
    .addOption(conflictOption())
    .addOption(passwordFileOption())
    .option('--yes <production>', 'confirm without asking: the name of production, as the plan prints it')
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
      printReport(result.report, options.json === true)
      if (result.nothingToDo) say('There was nothing to do: everything was there already.')
      done(exitCodeOf(result.report.verdict))
    })
}

async function restore(
  context: CliContext,
  options: RestoreCommandOptions,
  signal: AbortSignal,
): Promise<RestoreResult | undefined> {
  const { did, engine, onConflict } = options
  const sessionProvider = sessionsOf(context, options.appPasswordFile)
  const backup = await openBackup(context, await openCatalog(context))
  if (!options.dryRun) await assertEngineReady(context, did, { engine, sessionProvider, signal })
  const folder = await createRunFolder(context.config.required('runs'), did, new Date())
  const progress = new PhaseProgress(options.json === true)
  try {
    return await restoreAccount(context, {
      did,
      backup,
      folder,
      onConflict,
      // Inngest's functions have sessions of their own; a dry run needs none.
      ...(engine === 'local' && !options.dryRun ? { sessionProvider } : {}),
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
  sayWritePlan(plan)
  say(`Backup: ${snapshot.meta.from}. Production, which will be written to: ${production.name}.`)
  if (options.dryRun) return false
  if (options.yes !== undefined) {
    if (options.yes === production.name) return true
    throw new ConfigError(`--yes names ${options.yes}, but production is ${production.name}.`, {
      hint: 'Check which database is configured as production, then confirm its name.',
    })
  }
  if (!process.stdin.isTTY) {
    throw new ConfigError('There is no terminal to confirm in.', {
      hint: `If the plan above is right, add --yes ${production.name}`,
    })
  }
  return confirmByTyping(`Type ${production.name} to go on:`, production.name, options)
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
