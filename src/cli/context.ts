import { assertDifferent } from '../backup/backup-check.ts'
import { type Config, type HandleEvent, loadConfig } from '../config.ts'
import { type Catalog, readCatalog } from '../database/catalog.ts'
import { type Database, openDatabase } from '../database/client.ts'
import { messageOf, ReplayError, RestoreError } from '../errors.ts'
import type { EventSink } from '../events.ts'
import { handlerSink } from '../firehose/sync-event.ts'
import { createLogger, type Logger } from '../logger.ts'
import { createFetch } from '../network/fetch.ts'
import { createIdentity } from '../network/identity.ts'
import { createXrpc } from '../network/xrpc.ts'
import type { RestoreContext } from '../restore/context.ts'
import { settingsOf } from './settings.ts'

/** What a command works with, made from its options, the environment and the configuration file. */
export interface CliContext extends RestoreContext {
  config: Config
  logger: Logger
}

/** What commands need that touch no database. @param options what commander parsed for the command */
export async function openNetwork(
  options: object,
): Promise<Pick<CliContext, 'config' | 'logger' | 'network'>> {
  const config = await loadConfig(settingsOf(options))
  const allowLocalhost = config.isOn('allowLocalhost')
  return {
    config,
    logger: createLogger(config.get('logLevel')),
    network: {
      identity: createIdentity({ plcUrl: config.required('plcUrl'), allowLocalhost }),
      xrpc: createXrpc({ fetch: createFetch({ allowLocalhost }) }),
    },
  }
}

/** @param options what commander parsed for the command */
export async function openContext(options: object): Promise<CliContext> {
  const context = await openNetwork(options)
  const { appview, handleEvent } = context.config
  return {
    ...context,
    appview,
    production: openProduction(context.config),
    ...(handleEvent === undefined ? {} : { openSink: () => ownSink(handleEvent) }),
  }
}

/** The appview's database. @throws ConfigError when it is not configured */
export function openProduction({ required }: Config): Database {
  return openDatabase({
    url: required('productionUrl'),
    serviceKey: required('productionKey'),
    label: 'production',
  })
}

/** The backup, once it is known to be another database than production. */
export async function openBackup(context: CliContext, catalog: Catalog): Promise<Database> {
  const backup = openDatabase({
    url: context.config.required('backupUrl'),
    serviceKey: context.config.required('backupKey'),
    label: 'backup',
  })
  await assertDifferent(context.production, backup, catalog)
  return backup
}

export function openCatalog(context: CliContext): Promise<Catalog> {
  return readCatalog(context.production)
}

/** The operator's consumer code as a sink: what it throws says which record it failed on. */
function ownSink(handleEvent: HandleEvent): EventSink {
  return handlerSink(async (event) => {
    try {
      await handleEvent(event)
    } catch (error) {
      if (error instanceof ReplayError) throw error
      throw new RestoreError(
        `handleEvent of the configuration file failed on ${event.uri}: ${messageOf(error)}`,
        {
          uri: event.uri.toString(),
          hint: 'What came before it was handled. Mend the function, then run the same command again.',
          cause: error,
        },
      )
    }
  })
}
