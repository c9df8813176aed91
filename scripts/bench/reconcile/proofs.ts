import { leaflet } from '../../../src/appview/leaflet/index.ts'
import type { Snapshot } from '../../../src/backup/snapshot.ts'
import { createFetch } from '../../../src/network/fetch.ts'
import { createIdentity } from '../../../src/network/identity.ts'
import { createXrpc } from '../../../src/network/xrpc.ts'
import { Consent } from '../../../src/reconcile/consent/consent.ts'
import { collectGarbage } from '../garbage.ts'
import { median, rounded } from '../result.ts'
import { elapsedMs } from '../rounds.ts'
import { type ReadersReady, startReadersProcess } from './readers-process.ts'

const READERS = 2000
const HOSTS = 4
const ROUNDS = 3
const AUTHOR = 'did:plc:authorauthorauthorauthor'
const PUBLICATION = `at://${AUTHOR}/site.standard.publication/3jzfcijpj2z2a`
const COLLECTION = 'site.standard.graph.subscription'
const RECORD = { $type: COLLECTION, publication: PUBLICATION }
const COLUMNS = [
  ['publication', 'text'],
  ['identity', 'text'],
  ['created_at', 'timestamp with time zone'],
  ['record', 'jsonb'],
  ['uri', 'text'],
] as const

/**
 * How many accounts a second are asked whether their record still stands: DID document, getRecord, signature and tree,
 * within the bounds that hold by default. The hosts answer at once, so this is what asking costs us.
 */
export async function proofsPerSecond(): Promise<Record<string, unknown>> {
  const readers = await startReadersProcess({
    count: READERS,
    hosts: HOSTS,
    collection: COLLECTION,
    record: RECORD,
  })
  try {
    const rates: number[] = []
    for (let round = 0; round <= ROUNDS; round++) {
      await collectGarbage()
      const ms = await elapsedMs(() => askAll(readers))
      if (round > 0) rates.push((READERS / ms) * 1000)
    }
    return { proofs: READERS, hosts: HOSTS, proofsPerSecond: rounded(median(rates)) }
  } finally {
    await readers[Symbol.asyncDispose]()
  }
}

async function askAll({ plcUrl, readers }: ReadersReady): Promise<void> {
  const network = {
    identity: createIdentity({ plcUrl, allowLocalhost: true }),
    xrpc: createXrpc({ fetch: createFetch({ allowLocalhost: true }) }),
  }
  const consent = new Consent({ network, appview: leaflet, snapshot: snapshotOf(readers) })
  const decisions = await consent.decide(readers.map(({ uri }) => uri))
  const same = decisions.values().filter((decision) => decision.consent === 'same')
  const count = same.toArray().length
  if (count !== READERS) throw new Error(`${count} records are proven to be there, not ${READERS}.`)
}

function snapshotOf(readers: ReadersReady['readers']): Snapshot {
  return {
    did: AUTHOR,
    tables: [
      {
        table: 'publication_subscriptions',
        section: 'publicationSubscriptions',
        columns: COLUMNS.map(([name, type]) => ({ name, type, generated: false })),
        key: ['publication', 'identity'],
        rows: readers.map(({ did, uri }) => ({
          publication: PUBLICATION,
          identity: did,
          created_at: '2026-01-02 03:04:05.678901+00',
          record: JSON.stringify(RECORD),
          uri,
        })),
      },
    ],
    parents: [],
    meta: { format: 1, extractedAt: '2026-01-03T00:00:00Z', from: 'bench', appview: leaflet.name },
  }
}
