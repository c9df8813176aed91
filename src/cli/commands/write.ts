import type { Command } from 'commander'
import { readSnapshot } from '../../backup/snapshot-file.ts'
import { EXIT } from '../../errors.ts'
import type { WriterSummary } from '../../restore/context.ts'
import type { RunFolder } from '../../restore/run-folder.ts'
import { executeWrite, type PreparedWrite, prepareWrite } from '../../restore/write.ts'
import type { DefineCommand } from '../command.ts'
import { confirmProduction } from '../confirm-production.ts'
import { type CliContext, openCatalog, openContext } from '../context.ts'
import { assertEngineReady, writerOf } from '../engine.ts'
import { interruptible } from '../interrupt.ts'
import {
  dryRunOption,
  engineOption,
  examples,
  jsonOption,
  passwordFileOption,
  snapshotOption,
  yesOption,
} from '../options.ts'
import { printJson, say, startProgress } from '../output.ts'
import { sessionsOf } from '../sessions.ts'
import { keepOverwritten, keepWritten, withAttempt, writeFolderOf } from '../write-folder.ts'
import {
  addScopeOptions,
  addWritePlanOptions,
  type ScopeFlags,
  type WritePlanFlags,
  writePlanOptions,
} from '../write-plan.ts'
import { sayWritePlan } from '../write-plan-text.ts'

interface WriteCommandOptions extends WritePlanFlags, ScopeFlags {
  snapshot: string
  engine: 'inngest' | 'local'
  appPasswordFile?: string
  yes?: string
  dryRun?: true
  json?: true
}

export const writeCommand: DefineCommand = (program: Command, done) => {
  const command = program
    .command('write')
    .description("Write the snapshot's records back to the account's PDS.")
    .addOption(snapshotOption())
    .addOption(engineOption())
  addScopeOptions(addWritePlanOptions(command))
    .addOption(passwordFileOption())
    .addOption(yesOption())
    .addOption(dryRunOption())
    .addOption(jsonOption())
    .addHelpText(
      'after',
      examples(
        'write --dry-run',
        'write',
        'write --engine local',
        'write --except at://did:plc:.../NSID/KEY',
      ),
    )
    .action(async (options: WriteCommandOptions) => {
      const snapshot = await readSnapshot(options.snapshot)
      const context = await openContext(options)
      const catalog = await openCatalog(context)
      const planned = await writePlanOptions(context, snapshot.did, options)
      const prepared = await prepareWrite(context, { snapshot, catalog, ...planned })
      sayWritePlan(prepared.plan, options.engine)
      if (options.dryRun) {
        if (options.json) printJson(prepared.plan)
        return done(EXIT.complete)
      }
      const folder = writeFolderOf(context, snapshot)
      const summary = await interruptible((signal) =>
        write(context, prepared, folder, { ...options, signal }),
      )
      if (summary === undefined) {
        say('Nothing was written.')
        return done(EXIT.usage)
      }
      if (options.json) printJson({ plan: prepared.plan, ...summary })
      else saySummary(summary)
      done(summary.success ? EXIT.complete : EXIT.incomplete)
    })
}

/** @returns undefined where the confirmation was declined */
async function write(
  context: CliContext,
  prepared: PreparedWrite,
  folder: RunFolder,
  options: WriteCommandOptions & { signal: AbortSignal },
): Promise<WriterSummary | undefined> {
  const { engine, signal, onConflict } = options
  const sessionProvider = sessionsOf(context, options.appPasswordFile)
  const { did, counts } = prepared.plan
  const kept = await keepOverwritten(folder, prepared, new Date())
  if (kept !== undefined) {
    say(`The ${counts.overwrite} records that will be overwritten are kept in ${kept}`)
    if (!(await confirmProduction(context.production, options))) return undefined
  }
  if (counts.create + counts.overwrite > 0)
    await assertEngineReady(context, did, { engine, sessionProvider, signal })
  signal.throwIfAborted()
  const progress = startProgress('write', options.json)
  try {
    return await withAttempt(folder, async (attempt) => {
      const writer = writerOf(context, { engine, sessionProvider, signal, attempt })
      const settings = { run: folder.run, onConflict, onProgress: progress.update }
      const summary = await executeWrite(context, writer, prepared, settings)
      await keepWritten(folder, { flags: options, notWritten: summary.notWritten })
      return summary
    })
  } finally {
    progress.stop()
  }
}

function saySummary({ recordsWritten, batchCount, notWritten }: WriterSummary): void {
  for (const { uri, reason } of notWritten) say(`not written: ${uri}: ${reason}`)
  say(`${recordsWritten} records written in ${batchCount} batches.`)
}
