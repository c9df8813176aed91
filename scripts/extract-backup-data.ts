/**
 * The restoration plan's first step: what the backup knows of the account, into a file.
 *
 *   node scripts/extract-backup-data.ts --did did:plc:...
 */

import { main } from '../src/cli/program.ts'

await main(['extract', ...process.argv.slice(2)])
