/** A window of a relay that gives its frames, and not its end. */

import { once } from 'node:events'
import { type AddressInfo, createServer, type Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, expect, test } from 'vitest'
import { UnavailableError } from '../../src/errors.ts'
import { openRelaySocket } from '../../src/firehose/relay-socket.ts'
import { readWindow, type WindowOptions } from '../../src/firehose/relay-window.ts'
import { type FakeRelay, messageOf, type Script, startFakeRelay } from './fake-relay.ts'

let relay: FakeRelay | undefined
afterEach(() => relay?.[Symbol.asyncDispose]())

const frame = (seq: number) =>
  messageOf('#identity', { seq, did: 'did:plc:bbbbbbbbbbbbbbbbbbbbbbbb', time: '' })

/** Sends without end; connections without a cursor are ended `refusals` times. */
async function busyRelay(refusals: number): Promise<FakeRelay> {
  let newest = 0
  let asked = 0
  const script: Script = async function* (cursor) {
    if (cursor === undefined && ++asked <= refusals) {
      yield 'hang up'
      return
    }
    for (let seq = (cursor ?? newest) + 1; ; seq++) {
      newest = Math.max(newest, seq)
      yield frame(seq)
      if (seq % 20 === 0) await sleep(10)
    }
  }
  relay = await startFakeRelay(script)
  return relay
}

const reading = async ({ url: service }: FakeRelay, options: Partial<WindowOptions> = {}) => {
  const entries = readWindow({
    did: 'did:plc:aaaaaaaaaaaaaaaaaaaaaaaa',
    service,
    cursor: 0,
    quietMs: 100,
    ...options,
  })
  return (await entries.next()).value
}
const endsAsked = ({ cursors }: FakeRelay) => cursors.filter((cursor) => cursor === undefined).length

test('that never lets its end be known, though it is busy, is unavailable after a few tries', async () => {
  const busy = await busyRelay(Number.POSITIVE_INFINITY)
  const failure = await reading(busy).catch((error: unknown) => error)
  expect(failure).toBeInstanceOf(UnavailableError)
  expect(failure).toMatchObject({
    message: expect.stringContaining('How far the relay is'),
    hint: expect.stringContaining('--until'),
  })
  expect(endsAsked(busy)).toBe(5)
})

test('that ends the first connections which ask is asked again', async () => {
  const busy = await busyRelay(3)
  expect(await reading(busy)).toMatchObject({ seq: expect.any(Number) })
  expect(endsAsked(busy)).toBe(4)
})

test('whose end is named is not asked', async () => {
  const busy = await busyRelay(Number.POSITIVE_INFINITY)
  expect(await reading(busy, { until: 50 })).toMatchObject({ seq: 50 })
  expect(endsAsked(busy)).toBe(0)
})

test('a relay that accepts the connection and never answers is unavailable', async () => {
  const sockets: Socket[] = []
  const silent = createServer((socket) => void sockets.push(socket))
  silent.listen(0, '127.0.0.1')
  await once(silent, 'listening')
  try {
    const opening = openRelaySocket({
      service: `ws://127.0.0.1:${(silent.address() as AddressInfo).port}`,
      path: '/',
      onBytes: () => true,
      handshakeTimeoutMs: 50,
    })
    await expect(opening).rejects.toMatchObject({
      name: 'UnavailableError',
      message: expect.stringContaining('no answer within 50 ms'),
    })
  } finally {
    for (const socket of sockets) socket.destroy()
    silent.close()
  }
})
