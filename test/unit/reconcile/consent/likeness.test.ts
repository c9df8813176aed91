import { describe, expect, it } from 'vitest'
import { leaflet } from '../../../../src/appview/leaflet/index.ts'
import { LINKS, SUBSCRIPTIONS } from '../../../../src/appview/leaflet/tables.ts'
import type { ExactRow } from '../../../../src/database/exact.ts'
import type { DerivedTable, JsonObject, RecordUpsert } from '../../../../src/events.ts'
import { asEvent } from '../../../../src/pds/as-event.ts'
import type { MadeRow } from '../../../../src/reconcile/consent/foreign-records.ts'
import { likenessOf } from '../../../../src/reconcile/consent/likeness.ts'
import { encodeRecord } from '../../../../src/repo/record.ts'

const READER = 'did:plc:aaaaaaaaaaaaaaaaaaaaaaaa'
const OLD = 'at://did:plc:bbbbbbbbbbbbbbbbbbbbbbbb/pub.leaflet.publication/3aaaaaaaaaaa2'
const NEW = 'at://did:plc:bbbbbbbbbbbbbbbbbbbbbbbb/site.standard.publication/3aaaaaaaaaaa2'
const URI = `at://${READER}/pub.leaflet.graph.subscription/3ccccccccccc2`
const RECORD = { $type: 'pub.leaflet.graph.subscription', publication: OLD }

const eventOf = (json: JsonObject, uri = URI): RecordUpsert => asEvent(uri, encodeRecord(json))
const handlerOf = ({ collection }: RecordUpsert) =>
  leaflet.handlers.find((handler) => handler.collection === collection)
const like = (event: RecordUpsert, ...rows: MadeRow[]) => likenessOf(event, rows, handlerOf(event)).is

function made(derived: DerivedTable, row: ExactRow): MadeRow {
  const types = new Map(Object.keys(row).map((name) => [name, name === 'record' ? 'jsonb' : 'text']))
  return { row, derived, types }
}
const subscription = (publication: string, record: JsonObject | string) =>
  made(SUBSCRIPTIONS, {
    uri: URI,
    identity: READER,
    publication,
    record: typeof record === 'string' ? record : JSON.stringify(record),
    created_at: '2026-01-01 00:00:00+00',
  })

describe('likenessOf', () => {
  it('knows the record that the row holds, however it is written', () => {
    const spaced = `{ "publication": "${OLD}",  "$type":"pub.leaflet.graph.subscription" }`
    expect(like(eventOf(RECORD), subscription(OLD, RECORD))).toBe('same')
    expect(like(eventOf(RECORD), subscription(OLD, spaced))).toBe('same')
  })

  it('leaves a row alone that was pointed elsewhere while its record stayed', () => {
    expect(like(eventOf(RECORD), subscription(NEW, RECORD))).toBe('same')
  })

  it('takes uri and cid in place of a record for no change', () => {
    const { cid } = encodeRecord(RECORD)
    expect(like(eventOf(RECORD), subscription(OLD, { uri: URI, cid: cid.toString() }))).toBe('same')
    expect(like(eventOf(RECORD), subscription(NEW, { uri: URI, cid: cid.toString() }))).toBe('same')
    // Written again since, to the same: the row says all that the record says.
    expect(like(eventOf(RECORD), subscription(OLD, { uri: URI, cid: 'another' }))).toBe('same')
    expect(like(eventOf(RECORD), subscription(NEW, { uri: URI, cid: 'another' }))).toBe('changed')
  })

  it('sees a change of the record', () => {
    const changed = { ...RECORD, publication: NEW }
    expect(like(eventOf(changed), subscription(OLD, RECORD))).toBe('changed')
    expect(like(eventOf({ ...RECORD, note: 'more' }), subscription(OLD, RECORD))).toBe('changed')
  })

  it('says of a record that stands for no row now why', () => {
    const event = eventOf({ $type: 'pub.leaflet.graph.subscription', publication: 'nonsense' })
    expect(likenessOf(event, [subscription(OLD, RECORD)], handlerOf(event))).toMatchObject({
      is: 'rowless',
      reason: expect.stringContaining('publication'),
    })
    expect(likenessOf(eventOf({ ...RECORD, note: 'x' }), [subscription(OLD, RECORD)], undefined).is).toBe(
      'rowless',
    )
  })

  it('judges a link by the handler, and by its document where that is at hand', () => {
    const uri = `at://${READER}/site.standard.document/3ddddddddddd2`
    const own = `at://${READER}/site.standard.publication/3aaaaaaaaaaa2`
    const json = {
      $type: 'site.standard.document',
      site: own,
      title: 'A guest',
      publishedAt: '2026-01-01T00:00:00.000Z',
    }
    const link = (publication: string) => made(LINKS, { publication, document: uri })
    const types = new Map([
      ['uri', 'text'],
      ['data', 'jsonb'],
    ])
    const document = leaflet.handlers
      .flatMap(({ derives }) => derives)
      .find(({ table }) => table === 'documents') as DerivedTable
    const row = { row: { uri, data: JSON.stringify(json) }, derived: document, types }
    expect(like(eventOf(json, uri), link(own))).toBe('same')
    expect(like(eventOf(json, uri), link(OLD))).toBe('changed')
    expect(like(eventOf(json, uri), link(OLD), row)).toBe('same')
  })

  it('takes what the database left empty for its own', () => {
    const comment = leaflet.handlers.find(({ collection }) => collection === 'pub.leaflet.comment')
    const [derived] = comment?.derives ?? []
    if (derived === undefined) throw new TypeError('leaflet has comments')
    const uri = `at://${READER}/pub.leaflet.comment/3ccccccccccc2`
    const json = {
      $type: 'pub.leaflet.comment',
      subject: `${NEW}x`,
      plaintext: 'hm',
      createdAt: '2026-01-01T00:00:00.000Z',
    }
    const row = made(derived, { uri, profile: null, document: `${NEW}x`, record: '{"uri":"x","cid":"y"}' })
    expect(like(eventOf(json, uri), row)).toBe('same')
  })
})
