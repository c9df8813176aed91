import type { Command } from 'commander'
import { extract } from '../../backup/extract.ts'
import { writeSnapshot } from '../../backup/snapshot-file.ts'
import { EXIT } from '../../errors.ts'
import type { DefineCommand } from '../command.ts'
import { openBackup, openCatalog, openContext } from '../context.ts'
import { DEFAULT_SNAPSHOT, didOption, jsonOption } from '../options.ts'
import { printJson, say } from '../output.ts'

export const extractCommand: DefineCommand = (program: Command, done) => {
  program
    .command('extract')
    .description('Read everything the backup knows of an account into a snapshot file.')
    .addOption(didOption())
    .option('--out <file>', 'where to write the snapshot', DEFAULT_SNAPSHOT)
    .addOption(jsonOption())
    .action(async (options: { did: string; out: string; json?: true }) => {
      const context = await openContext(options)
      const catalog = await openCatalog(context)
      const backup = await openBackup(context, catalog)
      const snapshot = await extract({
        database: backup,
        catalog,
        appview: context.appview,
        did: options.did,
      })
      await writeSnapshot(options.out, snapshot)
      const counts = Object.fromEntries(snapshot.tables.map(({ table, rows }) => [table, rows.length]))
      if (options.json) printJson({ did: options.did, snapshot: options.out, tables: counts })
      else {
        for (const [table, count] of Object.entries(counts)) say(`${table.padEnd(34)} ${count}`)
        say(`Snapshot of ${options.did} from ${backup.name}: ${options.out}`)
        say(
          'It holds editor addresses and personal data: keep it private, delete it when the incident is closed.',
        )
      }
      done(EXIT.complete)
    })
}
