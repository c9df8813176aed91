/** An extraction in a process of its own, which says what memory it took: `URL KEY URL KEY DID FILE`. */

import { leaflet } from '../../src/appview/leaflet/index.ts'
import { extractTo } from '../../src/backup/extract.ts'
import { readCatalog } from '../../src/database/catalog.ts'
import { openDatabase } from '../../src/database/client.ts'

const [productionUrl = '', productionKey = '', backupUrl = '', backupKey = '', did = '', path = ''] =
  process.argv.slice(2)
const production = openDatabase({ url: productionUrl, serviceKey: productionKey, label: 'production' })
const backup = openDatabase({ url: backupUrl, serviceKey: backupKey, label: 'backup' })
const catalog = await readCatalog(production)
const startedMs = performance.now()
const snapshot = await extractTo(path, { database: backup, catalog, appview: leaflet, did })
const ms = Math.round(performance.now() - startedMs)
let chars = 0
for (const { rows } of [...snapshot.tables, ...snapshot.parents]) {
  for (const row of rows) for (const value of Object.values(row)) chars += value?.length ?? 0
}
const counts = Object.fromEntries(
  [...snapshot.tables, ...snapshot.parents].map(({ section, rows }) => [section, rows.length]),
)
const peakBytes = process.resourceUsage().maxRSS * 1024
process.stdout.write(JSON.stringify({ ms, chars, counts, peakBytes }))
process.exit(0)
