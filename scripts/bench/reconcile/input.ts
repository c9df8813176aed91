import { chmod, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { leaflet } from '../../../src/appview/leaflet/index.ts'
import { extract } from '../../../src/backup/extract.ts'
import type { Snapshot } from '../../../src/backup/snapshot.ts'
import { type Catalog, readCatalog } from '../../../src/database/catalog.ts'
import { type Database, openDatabase } from '../../../src/database/client.ts'
import type { RemoteStack } from '../stack-process.ts'

export const TABLE = 'publication_subscriptions'
const AUTHOR = 'did:plc:bench'
const PUBLICATION = `at://${AUTHOR}/site.standard.publication/3bench`

/** A publication that has come back, and who subscribed to it before: other people's rows, which no replay gives. */
export interface ReconcileInput extends AsyncDisposable {
  database: Database
  catalog: Catalog
  snapshot: Snapshot
  /** The rows as COPY wrote them; the server can read it. */
  file: string
  /** Production as it is before the reconcile: the publication is there anew, its subscribers are not. */
  reset(): Promise<void>
}

export async function subscribers(stack: RemoteStack, count: number): Promise<ReconcileInput> {
  const folder = await mkdtemp(join(tmpdir(), 'firehose-replay-bench-'))
  await chmod(folder, 0o777)
  const file = join(folder, 'rows')
  await fill(stack, count)
  const database = openDatabase({ ...stack.production, label: 'production' })
  const catalog = await readCatalog(database)
  const snapshot = await extract({ database, catalog, appview: leaflet, did: AUTHOR })
  await stack.execute(`copy ${TABLE} to '${file}'`)
  await stack.execute(`update publications set indexed_at = now() where uri = '${PUBLICATION}'`)
  return {
    database,
    catalog,
    snapshot,
    file,
    async reset() {
      await stack.execute(`delete from ${TABLE}`)
      await stack.execute(`delete from record_state where uri not like 'at://${AUTHOR}/%'`)
      await stack.execute(`vacuum analyze ${TABLE}`)
      await stack.settle()
    },
    [Symbol.asyncDispose]: () => rm(folder, { recursive: true, force: true }),
  }
}

async function fill(stack: RemoteStack, count: number): Promise<void> {
  const record = { $type: 'site.standard.publication', name: 'Bench', url: 'https://bench.example' }
  const reader = `'did:plc:reader' || lpad(n::text, 18, '0')`
  const statements = [
    `insert into identities (atp_did) values ('${AUTHOR}')`,
    `insert into identities (atp_did) select ${reader} from generate_series(1, ${count}) n`,
    `insert into publications (uri, identity_did, name, record, indexed_at)
       values ('${PUBLICATION}', '${AUTHOR}', 'Bench', '${JSON.stringify(record)}', '2026-01-01')`,
    `insert into ${TABLE} (publication, identity, created_at, record, uri)
       select '${PUBLICATION}', did, '2026-01-02'::timestamptz + n * interval '1 minute',
              jsonb_build_object('$type', 'site.standard.graph.subscription', 'publication', '${PUBLICATION}'),
              'at://' || did || '/site.standard.graph.subscription/3sub'
       from (select n, ${reader} as did from generate_series(1, ${count}) n) readers`,
    // The replay has brought the publication, and the index knows it.
    `insert into record_state (uri, rev, cid, deleted)
       values ('${PUBLICATION}', '3bbbbbbbbbb2b', 'bafyreigh2akiscaildcqabsyg3dfr6chu3fgpregiymsck7e7aqa4s52zy', false)`,
  ]
  for (const statement of statements) await stack.execute(statement)
}
