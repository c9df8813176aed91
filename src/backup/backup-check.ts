import type { Catalog } from '../database/catalog.ts'
import type { Database } from '../database/client.ts'
import { ConfigError } from '../errors.ts'
import { backupCatalog } from './backup-schema.ts'

/**
 * Refuses to take production for the backup, also where both are named by different URLs. A backup without our
 * functions is another database for certain, since production has them.
 *
 * @param catalog of production
 * @throws ConfigError when both are one database
 * @throws UnavailableError when the backup cannot be reached
 */
export async function assertDifferent(
  production: Database,
  backup: Database,
  catalog: Catalog,
): Promise<void> {
  if (production.url === backup.url || (await backupCatalog(backup))?.instance === catalog.instance) {
    throw new ConfigError(
      `Production (${production.name}) and backup (${backup.name}) are the same database.`,
      { hint: 'Give as backup the URL and key of the project that the backup was restored to.' },
    )
  }
}
