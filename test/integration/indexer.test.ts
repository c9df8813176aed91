import { TID } from '@atproto/common-web'
import { AtUri } from '@atproto/syntax'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { leaflet } from '../../src/appview/leaflet/index.ts'
import { type Database, openDatabase } from '../../src/database/client.ts'
import type { AppliedRecord, JsonObject, RecordEvent } from '../../src/events.ts'
import { Indexer } from '../../src/indexer/indexer.ts'
import { encodeRecord } from '../../src/repo/record.ts'
import { type Stack, startStack } from '../../src/stack/index.ts'

const AUTHOR = 'did:plc:author'
const READER = 'did:plc:reader'
const PUBLICATION = `at://${AUTHOR}/site.standard.publication/3aaaaaaaaaaa2`
const DOCUMENT = `at://${AUTHOR}/site.standard.document/3bbbbbbbbbbb2`

let stack: Stack
let database: Database

beforeAll(async () => {
  stack = await startStack()
  database = openDatabase({
    url: stack.production.url,
    serviceKey: stack.production.serviceKey,
    label: 'production',
  })
})
afterAll(() => stack[Symbol.asyncDispose]())
beforeEach(async () => {
  await stack.production.query(
    'truncate identities, publications, documents, record_state, parked_events, dead_letters, restore_marks cascade',
  )
})

let clock = 0
/** An event at a revision: by default each is newer than the one before. */
function put(uri: string, record: JsonObject, rev = nextRev()): RecordEvent {
  const { cid, record: lex } = encodeRecord(record)
  return { ...base(uri, rev), event: 'create', cid, record: lex }
}
function remove(uri: string, rev = nextRev()): RecordEvent {
  return { ...base(uri, rev), event: 'delete' }
}
function base(uri: string, rev: string) {
  const { host: did, collection, rkey } = new AtUri(uri)
  const commit = encodeRecord({ rev }).cid
  return {
    source: 'firehose' as const,
    seq: ++clock,
    time: '',
    commit,
    rev,
    uri: new AtUri(uri),
    did,
    collection,
    rkey,
  }
}
function nextRev(): string {
  return TID.fromTime(1_700_000_000_000_000 + ++clock, 0).toString()
}

const publication = (name = 'Notes'): RecordEvent =>
  put(PUBLICATION, { $type: 'site.standard.publication', name, url: 'https://notes.example' })
const document = (title = 'One'): RecordEvent =>
  put(DOCUMENT, {
    $type: 'site.standard.document',
    site: PUBLICATION,
    title,
    publishedAt: '2026-01-01T00:00:00.000Z',
  })
const subscription = (rkey: string, collection = 'site.standard.graph.subscription'): RecordEvent =>
  put(`at://${READER}/${collection}/${rkey}`, { $type: collection, publication: PUBLICATION })
const recommend = (rkey: string): RecordEvent =>
  put(`at://${READER}/pub.leaflet.interactions.recommend/${rkey}`, {
    $type: 'pub.leaflet.interactions.recommend',
    subject: DOCUMENT,
    createdAt: '2026-01-02T00:00:00.000Z',
  })

async function index(...events: RecordEvent[]): Promise<Indexer> {
  const indexer = new Indexer({ appview: leaflet, database })
  for (const event of events) await indexer.handle(event)
  await indexer.flush()
  return indexer
}
/** Each event in a transaction of its own. */
async function indexOneByOne(...events: RecordEvent[]): Promise<void> {
  for (const event of events) await index(event)
}
const rows = (sql: string) => stack.production.query(sql)

describe('rows', () => {
  test('are written parents first, whatever the order of the events', async () => {
    const indexer = await index(
      recommend('3ccccccccccc2'),
      subscription('3ccccccccccc2'),
      document(),
      publication(),
    )
    expect(indexer.counts).toMatchObject({ applied: 4, parked: 0 })
    expect(await rows('select name, identity_did from publications')).toEqual([
      { name: 'Notes', identity_did: AUTHOR },
    ])
    expect(await rows('select publication, document from documents_in_publications')).toEqual([
      { publication: PUBLICATION, document: DOCUMENT },
    ])
    expect(await rows('select recommend_count from documents')).toEqual([{ recommend_count: 1 }])
    expect(await rows('select atp_did from identities order by 1')).toEqual([
      { atp_did: AUTHOR },
      { atp_did: READER },
    ])
  })

  test('that say the same are not written again', async () => {
    const events = [publication(), document(), subscription('3ccccccccccc2')]
    await index(...events)
    const versions = () =>
      rows(`select 'p' t, xmin::text, ctid::text, xmax::text from publications
      union all select 'd', xmin::text, ctid::text, xmax::text from documents
      union all select 's', xmin::text, ctid::text, xmax::text from publication_subscriptions
      union all select 'l', xmin::text, ctid::text, xmax::text from documents_in_publications
      union all select 'i', xmin::text, ctid::text, xmax::text from identities
      union all select 't', xmin::text, ctid::text, xmax::text from permission_tokens`)
    const before = await versions()
    const again = await index(...events)
    expect(again.counts).toMatchObject({ unchanged: 3, applied: 0 })
    expect(await versions()).toEqual(before)
  })

  test('are left alone by a record that breaks its lexicon', async () => {
    await rows(`insert into documents (uri, data) values ('${DOCUMENT}', '{"kept": true}')`)
    const indexer = await index(put(DOCUMENT, { $type: 'site.standard.document', title: 'no site' }))
    expect(indexer.counts).toMatchObject({ invalid: 1 })
    expect(await rows('select data from documents')).toEqual([{ data: { kept: true } }])
  })

  test('of what Postgres cannot store go to the dead letters; the rest of the commit goes on', async () => {
    const indexer = await index(publication(), document('a\u0000b'))
    expect(indexer.counts).toMatchObject({ applied: 1, 'dead-lettered': 1 })
    expect(await rows('select uri, code from dead_letters')).toEqual([{ uri: DOCUMENT, code: 'UNSTORABLE' }])
  })

  test('that the database refuses are found among the others', async () => {
    const bad = put(DOCUMENT, {
      $type: 'site.standard.document',
      site: PUBLICATION,
      title: 'month 13',
      publishedAt: '2026-01-01T00:00:00.000Z',
    })
    await rows(`alter table documents add constraint no_13 check (data->>'title' <> 'month 13')`)
    try {
      const others = [1, 2, 3, 4, 5].map((n) =>
        put(`at://${AUTHOR}/site.standard.document/3eeeeeeeeeee${n + 1}`, {
          $type: 'site.standard.document',
          site: PUBLICATION,
          title: `${n}`,
          publishedAt: '2026-01-01T00:00:00.000Z',
        }),
      )
      const indexer = await index(publication(), ...others.slice(0, 3), bad, ...others.slice(3))
      expect(indexer.counts).toMatchObject({ applied: 6, 'dead-lettered': 1 })
      expect(await rows(`select uri, error like '%no_13%' as why from dead_letters`)).toEqual([
        { uri: DOCUMENT, why: true },
      ])
    } finally {
      await rows('alter table documents drop constraint no_13')
    }
  })
})

describe('revisions', () => {
  test('an older event never wins, nor an older delete', async () => {
    const older = document('old')
    const olderDelete = remove(DOCUMENT)
    await indexOneByOne(publication(), document('new'))
    const late = await index(older)
    expect(late.counts).toMatchObject({ stale: 1 })
    expect((await index(olderDelete)).counts).toMatchObject({ stale: 1 })
    expect(await rows(`select data->>'title' as title from documents`)).toEqual([{ title: 'new' }])
  })

  test('a tombstone keeps the CID that was deleted and beats what is older', async () => {
    const created = document()
    if (created.event === 'delete') throw new Error('not a create')
    await index(publication(), created)
    await index({ ...remove(DOCUMENT), prev: created.cid })
    expect(await rows(`select cid, deleted from record_state where uri = '${DOCUMENT}'`)).toEqual([
      { cid: created.cid.toString(), deleted: true },
    ])
    expect((await index(created)).counts).toMatchObject({ stale: 1 })
    expect(await rows('select * from documents')).toEqual([])
  })
})

describe('what waits', () => {
  test('a child waits for its parent and comes with it', async () => {
    const early = await index(subscription('3ccccccccccc2'), recommend('3ccccccccccc2'))
    expect(early.counts).toMatchObject({ parked: 2 })
    await indexOneByOne(publication(), document())
    expect(await rows('select identity from publication_subscriptions')).toEqual([{ identity: READER }])
    expect(await rows('select recommend_count from documents')).toEqual([{ recommend_count: 1 }])
    expect(await rows('select * from parked_events')).toEqual([])
  })

  test('a document is there before its publication, its link comes with it', async () => {
    await index(document())
    expect(await rows('select uri from documents')).toEqual([{ uri: DOCUMENT }])
    await index(publication())
    expect(await rows('select publication from documents_in_publications')).toEqual([
      { publication: PUBLICATION },
    ])
  })

  test('a child that was withdrawn meanwhile does not come', async () => {
    const waiting = subscription('3ccccccccccc2')
    await indexOneByOne(waiting, remove(waiting.uri.toString()), publication())
    expect(await rows('select * from publication_subscriptions')).toEqual([])
    expect(await rows('select * from parked_events')).toEqual([])
  })

  test('what a cascade takes comes back with its parent', async () => {
    await index(publication(), document(), subscription('3ccccccccccc2'), recommend('3ccccccccccc2'))
    await index(remove(DOCUMENT), remove(PUBLICATION))
    expect(await rows('select * from publication_subscriptions')).toEqual([])
    expect(await rows('select * from recommends_on_documents')).toEqual([])
    await indexOneByOne(document(), publication())
    expect(await rows('select identity from publication_subscriptions')).toEqual([{ identity: READER }])
    expect(await rows('select recommend_count from documents')).toEqual([{ recommend_count: 1 }])
    expect(await rows('select publication from documents_in_publications')).toEqual([
      { publication: PUBLICATION },
    ])
    expect(await rows('select * from parked_events')).toEqual([])
  })

  test('a comment goes in without its profile where that is missing and has a foreign key', async () => {
    await rows(
      'alter table comments_on_documents add constraint f foreign key (profile) references bsky_profiles (did) on delete set null',
    )
    try {
      await index(
        publication(),
        document(),
        put(`at://${READER}/pub.leaflet.comment/3ccccccccccc2`, {
          $type: 'pub.leaflet.comment',
          subject: DOCUMENT,
          plaintext: 'hm',
          createdAt: '2026-01-02T00:00:00.000Z',
        }),
      )
      expect(await rows('select profile, document from comments_on_documents')).toEqual([
        { profile: null, document: DOCUMENT },
      ])
    } finally {
      await rows('alter table comments_on_documents drop constraint f')
    }
  })
})

describe('a contested key', () => {
  const first = () => subscription('3ccccccccccc2')
  const second = () => subscription('3ddddddddddd2', 'pub.leaflet.graph.subscription')
  const holder = async () =>
    (await rows('select uri from publication_subscriptions')).map((row) => new AtUri(String(row.uri)).rkey)

  test.each([
    ['in order', [first, second]],
    ['in reverse', [second, first]],
  ])('belongs to the same record, whatever the order: %s', async (_, order) => {
    await index(publication())
    await indexOneByOne(...order.map((make) => make()))
    expect(await holder()).toEqual(['3ddddddddddd2'])
  })

  test('within one batch too', async () => {
    await index(publication(), second(), first())
    expect(await holder()).toEqual(['3ddddddddddd2'])
  })

  test('falls to the next when its holder goes', async () => {
    const winner = second()
    await indexOneByOne(publication(), first(), winner, remove(winner.uri.toString()))
    expect(await holder()).toEqual(['3ccccccccccc2'])
    expect(await rows('select * from parked_events')).toEqual([])
  })

  test('the first recommend wins, and both waiting for the document settle the same', async () => {
    await index(recommend('3ddddddddddd2'), recommend('3ccccccccccc2'))
    await indexOneByOne(publication(), document())
    expect(await rows('select uri from recommends_on_documents')).toEqual([
      { uri: `at://${READER}/pub.leaflet.interactions.recommend/3ccccccccccc2` },
    ])
    expect(await rows('select recommend_count from documents')).toEqual([{ recommend_count: 1 }])
  })
})

test('the hook is told once, and not of what a restore wrote back', async () => {
  const told: AppliedRecord[] = []
  const indexer = new Indexer({
    appview: leaflet,
    database,
    afterApplied: (record) => void told.push(record),
  })
  const marked = document()
  if (marked.event === 'delete') throw new Error('not a create')
  await rows(
    `insert into restore_marks (uri, cid, did, run) values ('${DOCUMENT}', '${marked.cid}', '${AUTHOR}', 'r')`,
  )
  const mailed = publication()
  for (const event of [mailed, marked, mailed]) await indexer.handle(event)
  await indexer.flush()
  await indexer.handle(mailed)
  await indexer.flush()
  expect(told.map(({ uri }) => uri)).toEqual([PUBLICATION])
})

test('the cursor is the last event that is durable', async () => {
  const indexer = new Indexer({ appview: leaflet, database, maxBatchEvents: 2 })
  const events = [publication(), document(), subscription('3ccccccccccc2')]
  for (const event of events) await indexer.handle(event)
  expect(await indexer.flush()).toEqual({ cursor: events.at(-1)?.seq })
})
