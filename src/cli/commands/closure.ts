import type { Command } from 'commander'
import { type BlastRadius, blastRadiusOf } from '../../backup/closure.ts'
import { type Counted, closureReport } from '../../backup/closure-report.ts'
import { countClosure } from '../../backup/count-closure.ts'
import type { Catalog } from '../../database/catalog.ts'
import { EXIT } from '../../errors.ts'
import { closureText } from '../closure-text.ts'
import type { DefineCommand } from '../command.ts'
import { type CliContext, openBackup, openCatalog, openContext } from '../context.ts'
import { didOption, examples, jsonOption } from '../options.ts'
import { printJson } from '../output.ts'

export const closureCommand: DefineCommand = (program: Command, done) => {
  program
    .command('closure')
    .description("Show what a delete of an account's records takes, by the database's own foreign keys.")
    .addOption(didOption().makeOptionMandatory(false))
    .addOption(jsonOption())
    .addHelpText(
      'after',
      `\nWith --did the account's rows are counted in the backup; without it the schema is shown.\n${examples('closure', 'closure --did did:plc:...', 'closure --did did:plc:... --json')}`,
    )
    .action(async (options: { did?: string; json?: true }) => {
      const context = await openContext(options)
      const { appview } = context
      const catalog = await openCatalog(context)
      const radius = blastRadiusOf(catalog, appview)
      const counted = options.did && (await countedFor(context, { catalog, radius, did: options.did }))
      const report = closureReport(catalog, appview, radius, counted || undefined)
      if (options.json) printJson(report)
      else process.stdout.write(`${closureText(report)}\n`)
      done(EXIT.complete)
    })
}

async function countedFor(
  context: CliContext,
  what: { catalog: Catalog; radius: BlastRadius; did: string },
): Promise<Counted> {
  const database = await openBackup(context, what.catalog)
  const counts = await countClosure({ ...what, database, appview: context.appview })
  return { did: what.did, backup: database.name, counts }
}
