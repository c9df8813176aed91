/** A reconcile from a snapshot file in a process of its own, which says what memory it took: `URL KEY FILE`. */

import { leaflet } from '../../src/appview/leaflet/index.ts'
import { readSnapshot } from '../../src/backup/snapshot-file.ts'
import { readCatalog } from '../../src/database/catalog.ts'
import { openDatabase } from '../../src/database/client.ts'
import { reconcileRows } from '../../src/restore/reconcile-rows.ts'

const [url = '', serviceKey = '', path = ''] = process.argv.slice(2)
const database = openDatabase({ url, serviceKey, label: 'production' })
const catalog = await readCatalog(database)
const snapshot = await readSnapshot(path)
const startedMs = performance.now()
const { result } = await reconcileRows({ database, catalog, appview: leaflet, snapshot })
const ms = Math.round(performance.now() - startedMs)
const outcomes: Record<string, number> = {}
for (const { table, rows } of result.tables)
  for (const { outcome } of rows) outcomes[`${table} ${outcome}`] = (outcomes[`${table} ${outcome}`] ?? 0) + 1
const peakBytes = process.resourceUsage().maxRSS * 1024
process.stdout.write(JSON.stringify({ ms, outcomes, peakBytes }))
process.exit(0)
