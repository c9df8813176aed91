import type { Command } from 'commander'
import { readCursor, saveCursor } from '../../database/cursors.ts'
import { EXIT, messageOf } from '../../errors.ts'
import { consumeFirehose } from '../../firehose/live.ts'
import { writeBrokenRepo } from '../../indexer/dead-letters.ts'
import { Indexer } from '../../indexer/indexer.ts'
import { replayAccount } from '../../restore/replay.ts'
import { ranksOf } from '../../restore/write.ts'
import type { DefineCommand } from '../command.ts'
import { openCatalog, openContext } from '../context.ts'
import { examples } from '../options.ts'
import { say } from '../output.ts'

export const consumeCommand: DefineCommand = (program: Command, done) => {
  program
    .command('consume')
    .description('Index the live firehose; the cursor is kept in the database. Ends on SIGINT or SIGTERM.')
    .addHelpText('after', examples('consume', 'consume --relay wss://relay.example'))
    .action(async (options: object) => {
      const context = await openContext(options)
      await openCatalog(context)
      const { production, appview, logger, config, network } = context
      const service = config.required('relayUrl')
      const stop = new AbortController()
      for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => stop.abort())
      const cursor = await readCursor(production, service)
      say(`Following ${service} ${cursor === undefined ? 'from now on' : `from ${cursor}`}.`)
      const rankOf = ranksOf(context)
      await consumeFirehose({
        service,
        sink: context.openSink?.() ?? new Indexer({ appview, database: production, logger }),
        identity: network.identity,
        isWanted: (collection) => rankOf(collection) !== undefined,
        cursor,
        saveCursor: (seq) => saveCursor(production, service, seq),
        onBrokenRepo: async (broken) => {
          try {
            await replayAccount(context, broken.did, { withDeletes: true })
          } catch (error) {
            // Whether its host is away or its repo is broken is in its owner's hands, and must not stop everybody's
            // ingestion: it is kept as a dead letter. A database that is away cannot keep it, and that does stop us.
            logger.error({ ...broken, error: messageOf(error) }, 'repo left out until it is replayed')
            await writeBrokenRepo(production, { ...broken, reason: messageOf(error) })
          }
        },
        signal: stop.signal,
        logger,
      })
      const saved = await readCursor(production, service)
      say(saved === undefined ? 'Stopped before anything came.' : `Stopped; the cursor is saved at ${saved}.`)
      done(EXIT.complete)
    })
}
