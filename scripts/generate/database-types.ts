import { readSchema } from './catalog.ts'
import { applyMigrations, migrationNames, startPostgres } from './fresh-database.ts'
import type { Generator } from './generator.ts'
import { printDatabaseTypes } from './print-types.ts'

/**
 * `Database` for `createClient<Database>`, read from a real PostgreSQL after the migrations: parsing SQL would be
 * a second opinion on what they do.
 */
export const databaseTypes: Generator = {
  path: 'supabase/database.types.ts',
  async generate() {
    const postgres = await startPostgres()
    try {
      const client = await postgres.createDatabase('types')
      await applyMigrations(client, await migrationNames())
      return printDatabaseTypes(await readSchema(client))
    } finally {
      await postgres.stop()
    }
  },
}
