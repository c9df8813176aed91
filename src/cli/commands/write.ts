import type { Command } from 'commander'
import { readSnapshot } from '../../backup/snapshot-file.ts'
import { EXIT } from '../../errors.ts'
import type { ConflictPolicy, WritePlan } from '../../pds/plan.ts'
import { durationText } from '../../pds/way.ts'
import type { WriteSummary } from '../../restore/context.ts'
import { executeWrite, type PreparedWrite, prepareWrite } from '../../restore/write.ts'
import type { DefineCommand } from '../command.ts'
import { type CliContext, openCatalog, openContext } from '../context.ts'
import { assertEngineReady, type Engine, writerOf } from '../engine.ts'
import { interruptible } from '../interrupt.ts'
import {
  conflictOption,
  dryRunOption,
  engineOption,
  examples,
  jsonOption,
  passwordFileOption,
  snapshotOption,
} from '../options.ts'
import { printJson, say, startProgress } from '../output.ts'
import { sessionsOf } from '../sessions.ts'

interface WriteCommandOptions {
  snapshot: string
  engine: 'inngest' | 'local'
  onConflict: ConflictPolicy
  appPasswordFile?: string
  dryRun?: true
  json?: true
}

export const writeCommand: DefineCommand = (program: Command, done) => {
  program
    .command('write')
    .description("Write the snapshot's records back to the account's PDS.")
    .addOption(snapshotOption())
    .addOption(engineOption())
    .addOption(conflictOption())
    .addOption(passwordFileOption())
    .addOption(dryRunOption())
    .addOption(jsonOption())
    .addHelpText('after', examples('write --dry-run', 'write', 'write --engine local'))
    .action(async (options: WriteCommandOptions) => {
      const snapshot = await readSnapshot(options.snapshot)
      const context = await openContext(options)
      const { onConflict, engine } = options
      const sessionProvider = sessionsOf(context, options.appPasswordFile)
      const catalog = await openCatalog(context)
      const prepared = await prepareWrite(context, { snapshot, catalog, onConflict })
      sayWritePlan(prepared.plan)
      if (options.dryRun) {
        if (options.json) printJson(prepared.plan)
        return done(EXIT.complete)
      }
      const run = `write_${snapshot.did}_${snapshot.meta.extractedAt}`
      const summary = await interruptible((signal) =>
        write(context, prepared, { engine, sessionProvider, signal }, { run, ...options }),
      )
      if (options.json) printJson({ plan: prepared.plan, ...summary })
      else saySummary(summary)
      done(summary.success ? EXIT.complete : EXIT.incomplete)
    })
}

async function write(
  context: CliContext,
  prepared: PreparedWrite,
  engine: Engine,
  { run, onConflict, json }: Pick<WriteCommandOptions, 'onConflict' | 'json'> & { run: string },
): Promise<WriteSummary> {
  const { create, overwrite } = prepared.plan.counts
  if (create + overwrite > 0) await assertEngineReady(context, prepared.plan.did, engine)
  engine.signal.throwIfAborted()
  const progress = startProgress('write', json)
  try {
    const onProgress = progress.update
    return await executeWrite(context, writerOf(context, engine), prepared, { run, onConflict, onProgress })
  } finally {
    progress.stop()
  }
}

function saySummary({ recordsWritten, batchCount, notWritten }: WriteSummary): void {
  for (const { uri, reason } of notWritten) say(`not written: ${uri}: ${reason}`)
  say(`${recordsWritten} records written in ${batchCount} batches.`)
}

/** The plan in a few lines, what needs attention by name. */
export function sayWritePlan(plan: WritePlan): void {
  const { did, counts, bytes, records, commits, points, estimateMs, why } = plan
  say(
    `To the repo of ${did}: ${counts.create} to create, ${counts.overwrite} to overwrite (${Math.ceil(bytes / 1024)} KiB), ${counts.same} there already, ${counts.keep} kept, ${counts.refuse} refused.`,
  )
  if (commits > 0) {
    const many = commits === 1 ? '1 commit' : `${commits} commits`
    say(`In ${many}, for ${points} points of the rate limit, in about ${durationText(estimateMs)}: ${why}.`)
  }
  const proven = records.filter((record) => record.proof === 'proven').length
  say(`CIDs: ${proven} of ${records.length} records are proven to be byte for byte what was deleted.`)
  for (const { uri, action, reason, proof } of records) {
    if (action === 'overwrite') say(`overwrite: ${uri}`)
    if (action === 'keep' || action === 'refuse') say(`${action}: ${uri}: ${reason}`)
    if (action === 'create' && proof === 'different')
      say(`different: ${uri}: its CID will not be the one that was deleted`)
  }
}
