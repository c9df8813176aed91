import { expect, test } from 'vitest'
import type { RecordEvent } from '../../../src/events.ts'
import { foldEvents } from '../../../src/indexer/fold.ts'
import { eventOf } from '../appview/leaflet/events.ts'

const PUBLICATION = { $type: 'site.standard.publication', name: 'N', url: 'https://n.example' }
const make = (rkey: string, rev: string, seq: number, isDelete = false): RecordEvent => {
  const { cid, record, ...base } = eventOf(PUBLICATION)
  const uri = base.uri.constructor as unknown as new (text: string) => typeof base.uri
  const common = { ...base, rkey, rev, seq, uri: new uri(`at://${base.did}/${base.collection}/${rkey}`) }
  return isDelete ? { ...common, event: 'delete' } : { ...common, event: 'create', cid, record }
}
const told = (events: RecordEvent[]) =>
  foldEvents(events).map(({ rkey, rev, seq }) => `${rkey} ${rev} ${seq}`)

test('leaves the last word about each record', () => {
  expect(
    told([make('a', '3a', 1), make('b', '3a', 2), make('a', '3b', 3, true), make('a', '3c', 4)]),
  ).toEqual(['a 3c 4', 'b 3a 2'])
  expect(foldEvents([make('a', '3a', 1), make('a', '3b', 2, true)])[0]?.event).toBe('delete')
})

test('the greater rev, where sources are mixed, and not the later event', () => {
  expect(told([make('a', '3b', 1), make('a', '3a', 2, true)])).toEqual(['a 3b 1'])
})

test('the later of two in one commit', () => {
  expect(told([make('a', '3a', 1), make('a', '3a', 2, true)])).toEqual(['a 3a 2'])
})

test('revs are compared as bytes, not by locale', () => {
  expect(told([make('a', '3zz', 1), make('a', '3Zz', 2)])).toEqual(['a 3zz 1'])
})

test('a delete that does not name what it deleted: it was the event before it', () => {
  const written = make('a', '3a', 1)
  if (written.event === 'delete') throw new Error('not a create')
  const [deleted] = foldEvents([written, make('a', '3b', 2, true), make('a', '3c', 3, true)])
  expect(deleted?.prev).toEqual(written.cid)
  const named = { ...make('a', '3b', 2, true), prev: written.commit }
  expect(foldEvents([written, named])[0]?.prev).toEqual(written.commit)
})

test('a record that is made and changed in one batch is new', () => {
  const update = (rev: string): RecordEvent => {
    const event = make('a', rev, 2)
    return event.event === 'delete' ? event : { ...event, event: 'update' }
  }
  expect(foldEvents([make('a', '3a', 1), update('3b')])[0]?.event).toBe('create')
  expect(foldEvents([update('3a'), update('3b')])[0]?.event).toBe('update')
  expect(foldEvents([update('3a'), make('a', '3b', 2, true), make('a', '3c', 3)])[0]?.event).toBe('create')
})

test('of nothing is nothing', () => {
  expect(foldEvents([])).toEqual([])
})
