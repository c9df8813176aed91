/**
 * The restoration plan's step for the PDS: sends the event that has the records written, and waits for it.
 *
 *   node scripts/trigger-pds-restore.ts --dry-run
 *   node scripts/trigger-pds-restore.ts
 */

import { main } from '../src/cli/program.ts'

await main(['write', ...process.argv.slice(2)])
