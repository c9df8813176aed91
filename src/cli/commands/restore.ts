import type { Command } from 'commander'
import type { Snapshot } from '../../backup/snapshot.ts'
import { ConfigError, EXIT } from '../../errors.ts'
import type { ConflictPolicy, WritePlan } from '../../pds/plan.ts'
import { exitCodeOf } from '../../report/report.ts'
import { renderReport } from '../../report/terminal.ts'
import { type RestoreResult, restoreAccount } from '../../restore/restore.ts'
import { createRunFolder } from '../../restore/run-folder.ts'
import type { DefineCommand } from '../command.ts'
import { type CliContext, openBackup, openCatalog, openContext, sessionsOf } from '../context.ts'
import {
  conflictOption,
  didOption,
  dryRunOption,
  engineOption,
  jsonOption,
  passwordFileOption,
} from '../options.ts'
import {
  confirmByTyping,
  type Progress,
  printJson,
  say,
  startProgress,
  terminalWidth,
  wantsColor,
} from '../output.ts'
import { writerOf } from '../writer.ts'
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
    .action(async (options: RestoreCommandOptions) => {
      const context = await openContext({ ...options })
      const backup = await openBackup(context, await openCatalog(context))
      const folder = await createRunFolder(context.config.required('runs'), options.did, new Date())
      const progress = new PhaseProgress(options.json === true)
      try {
        const result = await restoreAccount(context, {
          did: options.did,
          backup,
          folder,
          onConflict: options.onConflict,
          sessionProvider: sessionsOf(context.config, options.appPasswordFile),
          writer: writerOf(context, options),
          confirm: (plan, snapshot) => confirmRestore(plan, snapshot, context, options),
          onPhase: (phase) => progress.start(phase),
          onProgress: (_, done, total) => progress.update(done, total),
        })
        progress.stop()
        if (result === undefined) {
          say('Nothing was written.')
          return done(options.dryRun ? EXIT.complete : EXIT.usage)
        }
        if (options.json) printJson(result.report)
        else sayResult(result, folder.path)
        done(exitCodeOf(result.report.verdict))
      } finally {
        progress.stop()
      }
    })
}

async function confirmRestore(
  plan: WritePlan,
  snapshot: Snapshot,
  { production }: CliContext,
  options: RestoreCommandOptions,
): Promise<boolean> {
  if (options.dryRun && options.json) printJson(plan)
  else sayWritePlan(plan)
  if (options.dryRun) return false
  say(`Backup: ${snapshot.meta.from}. Production, which will be written to: ${production.name}.`)
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
  return confirmByTyping(`Type ${production.name} to go on:`, production.name)
}

function sayResult({ report, nothingToDo }: RestoreResult, folder: string): void {
  process.stdout.write(
    `${renderReport(report, { color: wantsColor(process.stdout), width: terminalWidth() })}\n`,
  )
  if (nothingToDo) say('There was nothing to do: everything was there already.')
  say(`Snapshot, plans and report of this run: ${folder}`)
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
