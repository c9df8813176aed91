import { AtUri } from '@atproto/syntax'
import { expect, test } from 'vitest'
import type { RecordEvent } from '../../../src/events.ts'
import { handlerSink, toSyncEvent } from '../../../src/firehose/sync-event.ts'
import { encodeRecord } from '../../../src/repo/record.ts'

const { cid, record } = encodeRecord({ $type: 'com.example.note', text: 'hm' })
const base = {
  source: 'relay' as const,
  seq: 7,
  time: '2026-01-01T00:00:00.000Z',
  commit: cid,
  rev: '3aaaaaaaaaaa2',
  uri: new AtUri('at://did:plc:a/com.example.note/n'),
  did: 'did:plc:a',
  collection: 'com.example.note',
  rkey: 'n',
}
const created: RecordEvent = { ...base, event: 'create', cid, record }
const deleted: RecordEvent = { ...base, seq: 8, event: 'delete', prev: cid }

test('is what @atproto/sync would hand over, and nothing of ours', () => {
  const { source: _, ...meta } = base
  expect(toSyncEvent(created)).toEqual({ ...meta, event: 'create', cid, record, blocks: expect.anything() })
  expect(toSyncEvent(created).blocks.size).toBe(0)
  expect(Object.keys(toSyncEvent(deleted)).sort()).toEqual([...Object.keys(meta), 'blocks', 'event'].sort())
})

test('one event after the other, and the cursor is of the last that was stored', async () => {
  const running = { now: 0, most: 0 }
  const sink = handlerSink(async () => {
    running.most = Math.max(running.most, ++running.now)
    await new Promise((resolve) => setTimeout(resolve, 1))
    running.now--
  })
  expect(await sink.flush()).toEqual({ cursor: undefined })
  await sink.handle(created)
  await sink.handle(deleted)
  await sink.handle({ ...created, seq: 0 })
  expect(running.most).toBe(1)
  expect(await sink.flush()).toEqual({ cursor: 8 })
})

test('what the handler could not store is thrown, and the cursor stands before it', async () => {
  const failure = new Error('no')
  const sink = handlerSink((event) => {
    if (event.event === 'delete') throw failure
  })
  await sink.handle(created)
  await expect(sink.handle(deleted)).rejects.toBe(failure)
  expect(await sink.flush()).toEqual({ cursor: 7 })
})
