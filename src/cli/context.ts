import { readFileSync } from 'node:fs'
import { assertDifferent } from '../backup/backup-check.ts'
import { type Config, loadConfig } from '../config.ts'
import { type Catalog, readCatalog } from '../database/catalog.ts'
import { type Database, openDatabase } from '../database/client.ts'
import { ConfigError } from '../errors.ts'
import { createLogger, type Logger } from '../logger.ts'
import { createFetch } from '../network/fetch.ts'
import { createIdentity } from '../network/identity.ts'
import { createXrpc } from '../network/xrpc.ts'
import { appPasswordSessions, type SessionProvider } from '../pds/session.ts'
import type { RestoreContext } from '../restore/context.ts'
import { settingsOf } from './settings.ts'

/** What a command works with, made from its options, the environment and the configuration file. */
export interface CliContext extends RestoreContext {
  config: Config
  logger: Logger
}

/** What commands need that touch no database. @param options what commander parsed for the command */
export async function openNetwork(
  options: Record<string, unknown>,
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
export async function openContext(options: Record<string, unknown>): Promise<CliContext> {
  const context = await openNetwork(options)
  const { config } = context
  return {
    ...context,
    appview: config.appview,
    production: openDatabase({
      url: config.required('productionUrl'),
      serviceKey: config.required('productionKey'),
      label: 'production',
    }),
  }
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

/** Sessions from the app password in the environment or in a file that only its owner can read. */
export function sessionsOf(config: Config, passwordFile: string | undefined): SessionProvider {
  const password = passwordFile === undefined ? config.get('appPassword') : readSecret(passwordFile)
  return appPasswordSessions(() => password)
}

function readSecret(path: string): string {
  try {
    return readFileSync(path, 'utf8').trim()
  } catch (error) {
    throw new ConfigError(`The app password file ${path} cannot be read.`, {
      hint: 'Give the path of a file that holds nothing but the app password.',
      cause: error,
    })
  }
}
