import { readdir, readFile } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { ConfigError, DatabaseError, messageOf } from '../errors.ts'
import type { PostgresCluster } from './postgres.ts'

/** The appview's tables at the time of the incident, or as they are half a year later. */
export type AppViewSchema = 'february' | 'august'

export interface SchemaOptions {
  /** @defaultValue 'august' */
  schema?: AppViewSchema
  /** Absolute paths of SQL files that take the place of the appview's migrations; ours is still applied last. */
  migrations?: readonly string[]
}

/** Template databases: the appview's tables alone, and with what our own migration adds. */
export const TEMPLATES = { appview: 'template_appview', complete: 'template_complete' } as const

const MIGRATIONS_FOLDER = fileURLToPath(new URL('../../supabase/migrations/', import.meta.url))
/** Part of the file name of our own migration; all others in the folder are the appview's. */
const OWN = 'firehose_replay'
/** Part of the file name of what the appview gained after the incident. */
const AFTER_INCIDENT = 'appview_august'

/** Which migrations make which template, in the order they are applied. */
export function planMigrations(
  folder: string,
  fileNames: readonly string[],
  options: SchemaOptions,
): { appview: string[]; own: string[] } {
  const files = fileNames.filter((name) => name.endsWith('.sql')).toSorted()
  const own = files.filter((name) => name.includes(OWN)).map((name) => join(folder, name))
  if (options.migrations !== undefined) return { appview: [...options.migrations], own }
  const appview = files
    .filter((name) => !name.includes(OWN))
    .filter((name) => options.schema !== 'february' || !name.includes(AFTER_INCIDENT))
    .map((name) => join(folder, name))
  return { appview, own }
}

/**
 * Makes the two template databases.
 *
 * @throws DatabaseError when a migration fails; its message names the file
 */
export async function createTemplates(cluster: PostgresCluster, options: SchemaOptions): Promise<void> {
  const { appview, own } = planMigrations(MIGRATIONS_FOLDER, await readdir(MIGRATIONS_FOLDER), options)
  await cluster.createDatabase(TEMPLATES.appview)
  await applyFiles(cluster, TEMPLATES.appview, appview, PLATFORM)
  await cluster.createDatabase(TEMPLATES.complete, TEMPLATES.appview)
  await applyFiles(cluster, TEMPLATES.complete, own)
}

async function applyFiles(
  cluster: PostgresCluster,
  database: string,
  files: readonly string[],
  before = '',
): Promise<void> {
  const connection = await cluster.connect(database)
  try {
    if (before !== '') await connection.query(before)
    for (const file of files) {
      const sql = await readMigration(file)
      await connection.query(sql).catch((cause) => {
        throw new DatabaseError(`Migration ${basename(file)} failed: ${messageOf(cause)}`, {
          code: String(cause?.code ?? 'unknown'),
          cause,
        })
      })
    }
  } finally {
    await connection[Symbol.asyncDispose]()
  }
}

async function readMigration(file: string): Promise<string> {
  try {
    return await readFile(file, 'utf8')
  } catch (cause) {
    throw new ConfigError(`Migration ${file} cannot be read: ${messageOf(cause)}`, {
      cause,
      hint: 'Give absolute paths of existing SQL files.',
    })
  }
}

/** What a Supabase project has before its first migration, as far as migrations rely on it. */
const PLATFORM = `
  create schema extensions;
  create extension if not exists pgcrypto schema extensions;
  create extension if not exists "uuid-ossp" schema extensions;
  create schema auth;
  grant usage on schema public, extensions, auth to anon, authenticated, service_role;
  alter default privileges in schema public grant all on tables to anon, authenticated, service_role;
  alter default privileges in schema public grant all on sequences to anon, authenticated, service_role;
  alter default privileges in schema public grant all on functions to anon, authenticated, service_role;
`
