import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { leaflet } from '../../src/appview/leaflet/index.ts'
import { openDatabase } from '../../src/database/client.ts'
import { replayRepo } from '../../src/firehose/replay.ts'
import { Indexer } from '../../src/indexer/indexer.ts'
import { createFetch } from '../../src/network/fetch.ts'
import { createIdentity } from '../../src/network/identity.ts'
import { createXrpc } from '../../src/network/xrpc.ts'
import { cidOfRecord } from '../../src/repo/record.ts'
import {
  foundRows,
  type LaterLife,
  lifeGoesOn,
  liveOn,
  publish,
  type RowCounts,
  type Scenario,
  tableCounts,
  type WrittenRecord,
  waitUntilIndexed,
} from '../../src/stack/account.ts'
import { authorContent } from '../../src/stack/content.ts'
import { type DeletedRecord, deleteRecords } from '../../src/stack/incident.ts'
import { type Stack, startStack } from '../../src/stack/index.ts'
import { listStored } from '../../src/stack/scenario/repo.ts'
import { tidOf } from '../../src/stack/scenario/tid.ts'

const DOCUMENTS = 12
const READERS = 5
const AUTHOR_OPTIONS = { did: 'did:plc:author', name: 'maren', documents: 150, seed: 'test' }

/** Indexes whole repos, as a replay does, and says what became of their records. */
function replayer(stack: Stack) {
  const { url, serviceKey } = stack.production
  const indexer = new Indexer({
    appview: leaflet,
    database: openDatabase({ url, serviceKey, label: 'production' }),
  })
  const ranks = new Map(leaflet.handlers.map(({ collection, rank }) => [collection, rank]))
  const identity = createIdentity({ plcUrl: stack.plcUrl, allowLocalhost: true })
  const xrpc = createXrpc({ fetch: createFetch({ allowLocalhost: true }) })
  const replay = (did: string) =>
    replayRepo({ did, sink: indexer, identity, xrpc, rankOf: (collection) => ranks.get(collection) })
  return { counts: indexer.counts, replay }
}

async function value(stack: Stack, sql: string, parameters: unknown[] = []): Promise<unknown> {
  const [row] = await stack.production.query(`select (${sql}) as value`, parameters)
  return row?.value
}

function indexable(records: readonly WrittenRecord[]): WrittenRecord[] {
  return records.filter(({ collection, isBroken }) => !isBroken && !collection.startsWith('app.bsky.'))
}

describe('the content', () => {
  test('is the same for the same seed, and another for another', () => {
    expect(authorContent(AUTHOR_OPTIONS)).toEqual(authorContent(AUTHOR_OPTIONS))
    expect(authorContent({ ...AUTHOR_OPTIONS, seed: 'other' })).not.toEqual(authorContent(AUTHOR_OPTIONS))
  })

  test('has documents of realistic size, each under an rkey of its own that grows with time', () => {
    const { documents } = authorContent(AUTHOR_OPTIONS)
    const sizes = documents.map(({ record }) => JSON.stringify(record).length).toSorted((a, b) => a - b)
    expect(sizes[0]).toBeGreaterThan(1_500)
    expect(sizes[75]).toBeGreaterThan(2_000)
    expect(sizes.at(-1)).toBeLessThan(10_000)
    const keys = documents.map(({ rkey }) => rkey)
    expect(new Set(keys).size).toBe(150)
    expect(keys).toEqual(keys.toSorted())
    expect(documents.filter(({ isBroken }) => isBroken)).toHaveLength(1)
    expect(documents.filter(({ record }) => String(record.site).startsWith('https:')).length).toBe(8)
  })

  test('has the TIDs that atproto gives these moments', () => {
    expect(tidOf(0)).toBe('2222222222222')
    // 2024-01-01T00:00:00Z with clock 7, from @atproto/common-web.
    expect(tidOf(Date.UTC(2024, 0, 1), 7)).toBe('3khuwc44c222b')
  })
})

describe.each(['february', 'august'] as const)('a lived-in account on the schema of %s', (schema) => {
  let stack: Stack
  let scenario: Scenario
  let replays: ReturnType<typeof replayer>
  let before: RowCounts
  let later: LaterLife
  let lost: DeletedRecord[]

  beforeAll(async () => {
    stack = await startStack({ schema })
    scenario = await publish(stack, { documents: DOCUMENTS, readers: READERS })
    replays = replayer(stack)
    for (const { did } of [scenario.author, ...scenario.readers]) await replays.replay(did)
  })
  afterAll(() => stack[Symbol.asyncDispose]())

  test('is indexed whole, but for the record that breaks its lexicon', async () => {
    const { applied, invalid, ...others } = replays.counts
    expect(applied).toBe(indexable(scenario.records).length)
    expect(invalid).toBe(1)
    expect(Object.values(others).every((count) => count === 0)).toBe(true)
    await waitUntilIndexed(stack, scenario.records, { timeoutMs: 0 })
    expect(await foundRows(stack, scenario.records)).toEqual(scenario.expectedRows)
    expect(scenario.expectedRows).toMatchObject({ publications: 3, documents: DOCUMENTS - 1 + 4 })
    expect(await value(stack, 'select count(*)::int from documents')).toBe(DOCUMENTS + 4)
    expect(scenario.expectedRows.comments_on_documents).toBeGreaterThan(2 * READERS)
    expect(scenario.expectedRows.recommends_on_documents).toBeGreaterThan(2 * READERS)
  })

  test('keeps who commented, and what was said about the broken document', async () => {
    expect(await value(stack, 'select count(*)::int from comments_on_documents where profile is null')).toBe(
      0,
    )
    const onBroken = 'select count(*)::int from comments_on_documents where document = $1'
    expect(await value(stack, onBroken, [scenario.brokenDocument])).toBeGreaterThan(0)
  })

  test('lives on: what no replay gives back is there', async () => {
    await liveOn(stack, scenario)
    before = await tableCounts(stack, scenario)
    expect(Object.values(before).every((count) => count > 0)).toBe(true)
    expect(before).toMatchObject({
      publications: 3,
      documents: DOCUMENTS + 4,
      documents_in_publications: DOCUMENTS - 1 + 4,
      leaflets_to_documents: 1,
      publication_domains: 4,
    })
    expect('publication_post_sends' in before).toBe(schema === 'august')
    const plain = `select count(*)::int from documents where not indexed or indexed_at > '2026-03-01'
      or sort_date is null or extract(microseconds from indexed_at)::int % 1000 = 0`
    expect(await value(stack, plain)).toBe(0)
    const ahead = `select count(*)::int from documents where (data ->> 'publishedAt')::timestamptz > indexed_at`
    expect(await value(stack, ahead)).toBeGreaterThan(0)
  })

  test('goes on: a subscriber, a comment and an edited draft', async () => {
    later = await lifeGoesOn(stack, scenario)
    for (const did of new Set(later.records.map((record) => record.did))) await replays.replay(did)
    await waitUntilIndexed(stack, later.records, { timeoutMs: 0 })
    const title = 'select title from leaflets_in_publications where leaflet = $1'
    expect(await value(stack, title, [later.draft.leaflet])).toBe(later.draft.title)
    const now = await tableCounts(stack, scenario)
    expect(now).toEqual({
      ...before,
      publication_subscriptions: Number(before.publication_subscriptions) + 2,
      comments_on_documents: Number(before.comments_on_documents) + 1,
    })
  })

  test('loses its site.standard records, and nothing else, to the incident', async () => {
    const older = [
      ...(await listStored(stack, scenario.author, 'pub.leaflet.document')),
      ...(await listStored(stack, scenario.author, 'pub.leaflet.publication')),
    ]
    lost = await deleteRecords(stack, scenario)
    const cids = new Map(scenario.records.map(({ uri, record }) => [uri, cidOfRecord(record)]))
    const gone = scenario.publications.filter(({ survives }) => !survives).map(({ uri }) => uri)
    expect(lost.map(({ uri }) => uri).toSorted()).toEqual([...gone, ...scenario.documents].toSorted())
    for (const { uri, cid } of lost) expect(cid).toBe(cids.get(uri))
    expect(await listStored(stack, scenario.author, 'site.standard.document')).toEqual([])
    expect(await listStored(stack, scenario.author, 'site.standard.publication')).toEqual([])
    expect([
      ...(await listStored(stack, scenario.author, 'pub.leaflet.document')),
      ...(await listStored(stack, scenario.author, 'pub.leaflet.publication')),
    ]).toEqual(older)
    expect(older).toHaveLength(5)
  })

  test('leaves only what survives once the rows are deleted', async () => {
    await stack.production.query('delete from documents where uri = any($1)', [lost.map(({ uri }) => uri)])
    await stack.production.query('delete from publications where uri = any($1)', [lost.map(({ uri }) => uri)])
    const after = await tableCounts(stack, scenario)
    expect(after).toMatchObject({
      publications: 1,
      documents: 4,
      documents_in_publications: 4,
      leaflets_to_documents: 0,
    })
    const unlinked = `select count(*)::int from leaflets_in_publications where publication = $1 and doc is null`
    // The draft that never had a document, and the one whose document went.
    expect(await value(stack, unlinked, [scenario.content.olderPublication.uri])).toBe(2)
    expect(after.publication_subscriptions).toBeGreaterThan(1)
    expect(after.comments_on_documents).toBeGreaterThan(0)
  })
})
