import type { Command } from 'commander'
import { readSnapshot } from '../../backup/snapshot-file.ts'
import { EXIT } from '../../errors.ts'
import type { ConflictPolicy, WritePlan } from '../../pds/plan.ts'
import { executeWrite, prepareWrite } from '../../restore/write.ts'
import type { DefineCommand } from '../command.ts'
import { openCatalog, openContext } from '../context.ts'
import {
  conflictOption,
  dryRunOption,
  engineOption,
  jsonOption,
  passwordFileOption,
  snapshotOption,
} from '../options.ts'
import { printJson, say, startProgress } from '../output.ts'
import { writerOf } from '../writer.ts'

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
    .action(async (options: WriteCommandOptions) => {
      const snapshot = await readSnapshot(options.snapshot)
      const context = await openContext({ ...options })
      const catalog = await openCatalog(context)
      const { onConflict } = options
      const prepared = await prepareWrite(context, { snapshot, catalog, onConflict })
      if (!options.json) sayWritePlan(prepared.plan)
      if (options.dryRun) {
        if (options.json) printJson(prepared.plan)
        return done(EXIT.complete)
      }
      const progress = startProgress('write', options.json)
      try {
        const summary = await executeWrite(context, writerOf(context, options), prepared, {
          run: `write_${snapshot.did}_${snapshot.meta.extractedAt}`,
          onConflict,
          onProgress: progress.update,
        })
        progress.stop()
        if (options.json) printJson({ plan: prepared.plan, ...summary })
        else {
          for (const { uri, reason } of summary.notWritten) say(`not written: ${uri}: ${reason}`)
          say(`${summary.recordsWritten} records written in ${summary.batchCount} batches.`)
        }
        done(summary.success ? EXIT.complete : EXIT.incomplete)
      } finally {
        progress.stop()
      }
    })
}

/** The plan in a few lines, what needs attention by name. */
export function sayWritePlan({ did, counts, bytes, records }: WritePlan): void {
  say(
    `To the repo of ${did}: ${counts.create} to create, ${counts.overwrite} to overwrite (${Math.ceil(bytes / 1024)} KiB), ${counts.same} there already, ${counts.keep} kept, ${counts.refuse} refused.`,
  )
  const proven = records.filter((record) => record.proof === 'proven').length
  say(`CIDs: ${proven} of ${records.length} records are proven to be byte for byte what was deleted.`)
  for (const { uri, action, reason, proof } of records) {
    if (action === 'overwrite') say(`overwrite: ${uri}`)
    if (action === 'keep' || action === 'refuse') say(`${action}: ${uri}: ${reason}`)
    if (action === 'create' && proof === 'different')
      say(`different: ${uri}: its CID will not be the one that was deleted`)
  }
}
