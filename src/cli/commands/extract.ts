import type { Command } from 'commander'
import { extractTo } from '../../backup/extract.ts'
import { EXIT } from '../../errors.ts'
import { collectBlobsOf, sayCollectedBlobs } from '../blobs.ts'
import type { DefineCommand } from '../command.ts'
import { openBackup, openCatalog, openContext } from '../context.ts'
import { DEFAULT_SNAPSHOT, didOption, examples, jsonOption } from '../options.ts'
import { printJson, say } from '../output.ts'
import { saySchemas } from '../schema-text.ts'

export const extractCommand: DefineCommand = (program: Command, done) => {
  program
    .command('extract')
    .description('Read everything the backup knows of an account into a snapshot file.')
    .addOption(didOption())
    .option('--out <file>', 'where to write the snapshot', DEFAULT_SNAPSHOT)
    .option(
      '--blobs <folder>',
      'also keep there what can still be had of the blobs that its records refer to',
    )
    .addOption(jsonOption())
    .addHelpText(
      'after',
      examples(
        'extract --did did:plc:...',
        'extract --did did:plc:... --out FILE',
        'extract --did did:plc:... --blobs FOLDER',
      ),
    )
    .action(async (options: { did: string; out: string; blobs?: string; json?: true }) => {
      const context = await openContext(options)
      const catalog = await openCatalog(context)
      const database = await openBackup(context, catalog)
      const { appview } = context
      const snapshot = await extractTo(options.out, { database, catalog, appview, did: options.did })
      const counts = Object.fromEntries(snapshot.tables.map(({ table, rows }) => [table, rows.length]))
      const { blobs: folder } = options
      const blobs =
        folder && (await collectBlobsOf(context, snapshot, { folder, isQuiet: options.json === true }))
      if (options.json)
        printJson({
          did: options.did,
          snapshot: options.out,
          tables: counts,
          lacking: snapshot.meta.lacking ?? [],
          dropped: snapshot.meta.dropped ?? [],
          ...(blobs && { blobs }),
        })
      else {
        for (const [table, count] of Object.entries(counts)) say(`${table.padEnd(34)} ${count}`)
        saySchemas(snapshot)
        say(`Snapshot of ${options.did} from ${database.name}: ${options.out}`)
        say(
          'It holds editor addresses and personal data: keep it private, delete it when the incident is closed.',
        )
        if (folder && blobs) sayCollectedBlobs(blobs, folder)
      }
      done(blobs && blobs.lacking.length > 0 ? EXIT.incomplete : EXIT.complete)
    })
}
