import { chmod } from 'node:fs/promises'
import { join } from 'node:path'
import { assemble, type Cleanup, startTogether } from './cleanup.ts'
import { type EmbeddedInngest, type InngestOptions, startInngest } from './inngest/index.ts'
import { type Account, type EmbeddedPds, type NetworkOptions, startNetwork } from './network.ts'
import { type DatabaseConnection, type PostgresCluster, type SqlRow, startPostgres } from './postgres.ts'
import { createTemplates, type SchemaOptions, TEMPLATES } from './schema.ts'
import { type SupabaseApi, startSupabase } from './supabase.ts'
import { takeBackup } from './take-backup.ts'
import { makeTempFolder } from './temp-folder.ts'

export type { Account } from './network.ts'
export type { DatabaseConnection, SqlRow } from './postgres.ts'

export interface StackOptions extends SchemaOptions, NetworkOptions {
  /** Whether the backup was taken of a database with our migration applied. @defaultValue false */
  backupHasOwnTables?: boolean
  inngest?: InngestOptions
}

/** A database with a Supabase in front of it. */
export interface StackDatabase extends SupabaseApi {
  /** Connection string of the superuser, for tools that speak PostgreSQL themselves. */
  databaseUrl: string
  /** One statement as superuser, past row-level security; returns its rows. */
  query(sql: string, parameters?: readonly unknown[]): Promise<SqlRow[]>
  /** A further superuser connection, for what needs a transaction or a lock of its own. */
  connect(): Promise<DatabaseConnection>
}

export interface Stack extends AsyncDisposable {
  plcUrl: string
  pds: EmbeddedPds
  production: StackDatabase
  backup: StackDatabase
  /** The server under both databases, to be taken away for a while. */
  postgres: Pick<PostgresCluster, 'stop' | 'start'>
  /** Drives the functions of the apps registered with it. */
  inngest: EmbeddedInngest
  /** Makes `backup` hold exactly the rows that `production` holds now. */
  takeBackup(): Promise<void>
  /** @param handle ends in `.test` @param password made up when not given */
  createAccount(handle: string, password?: string): Promise<Account>
}

/**
 * Everything a restore meets, on this machine and with no network: PLC directory, PDS, production and backup
 * database with a Supabase each, Inngest executor. Up in about three seconds.
 *
 * Disposal leaves no process, port, timer or file behind; neither does a start that fails half way.
 */
export function startStack(options: StackOptions = {}): Promise<Stack> {
  return assemble(async (cleanup) => {
    const folder = cleanup.use(await makeTempFolder())
    // PostgreSQL runs as a user of its own when we are root, and must be able to pass through.
    await chmod(folder.path, 0o711)
    const [network, databases, inngest] = await startTogether(cleanup, [
      startNetwork(join(folder.path, 'pds'), options),
      startDatabases(folder.path, options),
      startInngest(options.inngest),
    ])
    return {
      plcUrl: network.plcUrl,
      pds: network.pds,
      createAccount: network.createAccount,
      production: databases.production,
      backup: databases.backup,
      postgres: databases.postgres,
      takeBackup: databases.takeBackup,
      inngest,
    }
  })
}

interface Databases extends AsyncDisposable {
  production: StackDatabase
  backup: StackDatabase
  postgres: PostgresCluster
  takeBackup(): Promise<void>
}

function startDatabases(folder: string, options: StackOptions): Promise<Databases> {
  return assemble(async (cleanup) => {
    const cluster = cleanup.use(await startPostgres(join(folder, 'postgres')))
    await createTemplates(cluster, options)
    const backupTemplate = options.backupHasOwnTables ? TEMPLATES.complete : TEMPLATES.appview
    const production = await startDatabase(cluster, 'production', TEMPLATES.complete, cleanup)
    const backup = await startDatabase(cluster, 'backup', backupTemplate, cleanup)
    return {
      production,
      backup,
      postgres: cluster,
      async takeBackup() {
        const connections = [await production.connect(), await backup.connect()] as const
        try {
          await takeBackup(...connections, folder)
        } finally {
          for (const connection of connections) await connection[Symbol.asyncDispose]()
        }
      },
    }
  })
}

async function startDatabase(
  cluster: PostgresCluster,
  name: string,
  template: string,
  cleanup: Cleanup,
): Promise<StackDatabase> {
  await cluster.createDatabase(name, template)
  const { query } = await cluster.connect(name)
  const { url, serviceKey, anonKey } = cleanup.use(
    await startSupabase(cluster.databaseUrl(name, 'authenticator')),
  )
  return {
    url,
    serviceKey,
    anonKey,
    databaseUrl: cluster.databaseUrl(name),
    query,
    connect: () => cluster.connect(name),
  }
}
