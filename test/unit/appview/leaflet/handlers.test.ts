import { describe, expect, test } from 'vitest'
import { leaflet } from '../../../../src/appview/leaflet/index.ts'
import { COMMENTS, PUBLICATIONS, RECOMMENDS, SUBSCRIPTIONS } from '../../../../src/appview/leaflet/tables.ts'
import type { JsonObject } from '../../../../src/events.ts'
import { DID, eventOf, handlerFor, mutationsOf, RECORD_CID, resultOf, rowOf, uriOf } from './events.ts'
import * as records from './records.ts'

const ENSURE = { kind: 'ensure', table: 'identities', key: ['atp_did'], row: { atp_did: DID } }

describe.each(records.ALL_RECORDS.map((record) => [String(record.$type), record] as const))(
  '%s',
  (collection, record) => {
    test('makes the same rows each time and leaves the event alone', () => {
      const event = eventOf(record)
      const before = structuredClone(event.record)
      const first = handlerFor(collection).rows(event)
      expect(first.outcome).toBe('rows')
      expect(handlerFor(collection).rows(event)).toEqual(first)
      expect(structuredClone(event.record)).toEqual(before)
    })

    test('takes nothing from the event but the record and where it is', () => {
      const event = eventOf(record)
      const other = {
        ...event,
        event: 'update',
        seq: 0,
        time: '',
        rev: '2222222222222',
        source: 'repo',
      } as const
      expect(handlerFor(collection).rows(other)).toEqual(handlerFor(collection).rows(event))
    })

    test('refuses the record without its $type, with another, and empty', () => {
      const { $type: _, ...untyped } = record
      expect(resultOf(untyped, collection).outcome).toBe('invalid')
      expect(resultOf({ ...record, $type: 'com.example.record' }, collection).outcome).toBe('invalid')
      expect(resultOf({ $type: collection }, collection)).toMatchObject({
        outcome: 'invalid',
        reason: expect.stringContaining('Missing required key'),
      })
    })

    test('gives a value for each column it derives, and no other', () => {
      const { derives } = handlerFor(collection)
      for (const mutation of mutationsOf(record)) {
        if (mutation.kind === 'ensure') continue
        expect(derives).toContain(mutation.into)
        const rows = mutation.kind === 'upsert' ? [mutation.row] : mutation.rows
        for (const row of rows) expect(Object.keys(row).sort()).toEqual([...mutation.into.columns].sort())
      }
    })

    test('keeps parents first', () => {
      const { derives, rank } = handlerFor(collection)
      const { table } = derives[0]
      const ranks: Record<string, number> = { publications: 0, documents: 1, atp_poll_records: 1 }
      expect(rank).toBe(ranks[table] ?? 2)
    })
  },
)

test.each([
  ['site.standard.publication', records.siteStandardPublication],
  ['pub.leaflet.publication', records.pubLeafletPublication],
])('%s: the identity, then the publication', (collection, record) => {
  expect(mutationsOf(record)).toEqual([
    ENSURE,
    {
      kind: 'upsert',
      into: PUBLICATIONS,
      row: { uri: uriOf(collection), identity_did: DID, name: 'Field notes', record },
    },
  ])
})

test('site.standard.publication: a theme without $type is left out, not refused', () => {
  const { theme: _, ...rest } = records.siteStandardPublication
  expect(rowOf({ ...rest, theme: { pageWidth: 1 } }).record).toEqual(rest)
  expect(resultOf({ ...rest, theme: null }).outcome).toBe('invalid')
})

test('the two publication lexicons differ in the default of showPrevNext', () => {
  const site = { $type: 'site.standard.publication', name: 'a', url: 'https://a.b', preferences: {} }
  const leafletOwn = { $type: 'pub.leaflet.publication', name: 'a', preferences: {} }
  expect(rowOf(site).record).toMatchObject({ preferences: { showPrevNext: false } })
  expect(rowOf(leafletOwn).record).toMatchObject({ preferences: { showPrevNext: true } })
})

test.each([
  ['site.standard.graph.subscription', records.siteStandardSubscription],
  ['pub.leaflet.graph.subscription', records.pubLeafletSubscription],
])('%s: the last of several records for one publication wins', (collection, record) => {
  expect(mutationsOf(record)).toEqual([
    ENSURE,
    {
      kind: 'upsert',
      into: SUBSCRIPTIONS,
      row: { uri: uriOf(collection), identity: DID, publication: record.publication, record },
    },
  ])
})

test.each([
  ['site.standard.graph.recommend', records.siteStandardRecommend, 'document'],
  ['pub.leaflet.interactions.recommend', records.pubLeafletRecommend, 'subject'],
])('%s: the first of several records for one document wins', (collection, record: JsonObject, field) => {
  expect(mutationsOf(record)).toEqual([
    ENSURE,
    {
      kind: 'upsert',
      into: RECOMMENDS,
      row: { uri: uriOf(collection), recommender_did: DID, document: record[field], record },
    },
  ])
})

test('pub.leaflet.comment: written without its profile where that is missing', () => {
  expect(mutationsOf(records.comment)).toEqual([
    {
      kind: 'upsert',
      into: COMMENTS,
      row: {
        uri: uriOf('pub.leaflet.comment'),
        profile: DID,
        document: records.comment.subject,
        record: records.comment,
      },
    },
  ])
})

test('polls: a definition keeps its CID, a vote the CID it voted on', () => {
  expect(rowOf(records.pollDefinition)).toEqual({
    uri: uriOf('pub.leaflet.poll.definition'),
    cid: RECORD_CID,
    record: records.pollDefinition,
  })
  const { uri, cid } = records.pollVote.poll as JsonObject
  expect(rowOf(records.pollVote)).toEqual({
    uri: uriOf('pub.leaflet.poll.vote'),
    voter_did: DID,
    poll_uri: uri,
    poll_cid: cid,
    record: records.pollVote,
  })
})

test('the description covers every section and root of the snapshot', () => {
  const sections = [...leaflet.roots.map((root) => root.section), ...Object.values(leaflet.sections)]
  expect(new Set(sections).size).toBe(10)
  expect(leaflet.handlers.map((handler) => handler.collection).sort()).toEqual(
    records.ALL_RECORDS.map((record) => String(record.$type)).sort(),
  )
  expect(leaflet.untouchableTables).toContain('identities')
  expect(leaflet.guardTables).toEqual(['publication_post_sends'])
})
