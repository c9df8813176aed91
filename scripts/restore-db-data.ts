/**
 * The restoration plan's step for the database: replay, reconcile and compare. It comes after the step for the PDS,
 * and refuses to start before it.
 *
 *   node scripts/restore-db-data.ts
 */

import { restoreTablesCommand } from '../src/cli/commands/restore-tables.ts'
import { main } from '../src/cli/program.ts'

await main(['restore-tables', ...process.argv.slice(2)], [restoreTablesCommand])
