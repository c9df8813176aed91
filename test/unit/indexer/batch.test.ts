import { AtUri } from '@atproto/syntax'
import { describe, expect, test } from 'vitest'
import { leaflet } from '../../../src/appview/leaflet/index.ts'
import type { JsonObject, RecordEvent } from '../../../src/events.ts'
import { handlersOf, planBatch } from '../../../src/indexer/batch.ts'
import { encodeRecord } from '../../../src/repo/record.ts'

const DID = 'did:plc:author'
const PUBLICATION = `at://${DID}/site.standard.publication/p`
const DOCUMENT = `at://${DID}/site.standard.document/d`
const handlers = handlersOf(leaflet)

function base(text: string) {
  const uri = new AtUri(text)
  const { host: did, collection, rkey } = uri
  const { cid: commit } = encodeRecord({ commit: 1 })
  return { source: 'firehose' as const, seq: 1, time: '', commit, rev: '3a', uri, did, collection, rkey }
}
function put(uri: string, json: JsonObject): RecordEvent {
  const { cid, record } = encodeRecord({ $type: new AtUri(uri).collection, ...json })
  return { ...base(uri), event: 'create', cid, record }
}
const remove = (uri: string, prev?: JsonObject): RecordEvent => ({
  ...base(uri),
  event: 'delete',
  ...(prev === undefined ? {} : { prev: encodeRecord(prev).cid }),
})
const publication = put(PUBLICATION, { name: 'N', url: 'https://n.example' })
const document = put(DOCUMENT, { site: PUBLICATION, title: 'T', publishedAt: '2026-01-01T00:00:00.000Z' })
const subscription = put(`at://${DID}/site.standard.graph.subscription/s`, { publication: PUBLICATION })
const comment = put(`at://${DID}/pub.leaflet.comment/c`, {
  subject: DOCUMENT,
  plaintext: 'hm',
  createdAt: '2026-01-01T00:00:00.000Z',
})
const stepsOf = (...events: RecordEvent[]) =>
  planBatch(events, handlers).batch.steps.map(({ kind, spec }) => `${kind} ${spec.table}`)

describe('the order of steps', () => {
  const all = [comment, subscription, document, publication]

  test('deletes come first, children before parents; then rows, parents before children', () => {
    const deletes = all.map(({ uri }) => remove(`${uri.toString()}2`))
    const steps = stepsOf(...all, ...deletes.toReversed())
    const at = (step: string) => {
      expect(steps).toContain(step)
      return steps.indexOf(step)
    }
    const order = [
      'delete comments_on_documents',
      'delete documents',
      'delete publications',
      'ensure identities',
      'upsert publications',
      'upsert documents',
      'replace-children documents_in_publications',
      'upsert comments_on_documents',
    ].map(at)
    expect(order).toEqual(order.toSorted((a, b) => a - b))
    expect(at('delete publication_subscriptions')).toBeLessThan(at('delete publications'))
  })

  test('is the same whatever the order of the events', () => {
    expect(stepsOf(...all).sort()).toEqual(stepsOf(...all.toReversed()).sort())
    const ranked = stepsOf(...all.toReversed())
    expect(ranked.indexOf('upsert publications')).toBeLessThan(ranked.indexOf('upsert documents'))
  })

  test('one step for each kind and table, however many records', () => {
    const many = Array.from({ length: 20 }, (_, n) =>
      put(`at://${DID}/site.standard.publication/p${n}`, { name: `${n}`, url: 'https://n.example' }),
    )
    expect(stepsOf(...many)).toEqual(['ensure identities', 'upsert publications'])
  })
})

describe('records and their verdicts', () => {
  test('a tombstone names the CID that was deleted, where that is known', () => {
    const record = { $type: 'x', n: 1 }
    const { records } = planBatch([remove(DOCUMENT, record), remove(PUBLICATION)], handlers).batch
    expect(records.map(({ cid, deleted }) => ({ cid, deleted }))).toEqual([
      { cid: encodeRecord(record).cid.toString(), deleted: true },
      { cid: null, deleted: true },
    ])
  })

  test('an invalid record has its state kept and brings no rows', () => {
    const broken = put(DOCUMENT, { title: 'no site' })
    const { batch, verdicts } = planBatch([broken], handlers)
    expect(batch.steps).toEqual([])
    expect(batch.records).toMatchObject([{ uri: DOCUMENT, deleted: false }])
    expect(verdicts.get(DOCUMENT)).toMatchObject({ outcome: 'invalid', reason: expect.any(String) })
  })

  test('what cannot be stored keeps no state: a retry of it is not stale', () => {
    const odd = put(DOCUMENT, {
      site: PUBLICATION,
      title: 'a\u0000b',
      publishedAt: '2026-01-01T00:00:00.000Z',
    })
    const { batch, verdicts } = planBatch([odd, publication], handlers)
    expect(batch.records.map(({ uri }) => uri)).toEqual([PUBLICATION])
    expect(verdicts.get(DOCUMENT)).toMatchObject({ outcome: 'dead-lettered', code: 'UNSTORABLE' })
  })

  test('of a collection without a handler nothing is sent', () => {
    const { batch } = planBatch(
      [put(`at://${DID}/app.bsky.feed.post/1`, {}), remove(`at://${DID}/app.bsky.feed.post/2`)],
      handlers,
    )
    expect(batch).toMatchObject({ records: [], steps: [] })
  })

  test('every table that rows are derived for is named once, so that a cascade can park its rows', () => {
    const tables = planBatch([publication], handlers).batch.derives.map(({ table }) => table)
    expect(new Set(tables).size).toBe(tables.length)
    expect(tables).toEqual(
      expect.arrayContaining([
        'documents_in_publications',
        'publication_subscriptions',
        'comments_on_documents',
      ]),
    )
  })
})
