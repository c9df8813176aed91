/** A relay that keeps to no rule of WebSocket, or floods: what it costs. */

import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { type AddressInfo, createServer, type Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { asCid } from '@atproto/lex'
import { afterEach, expect, test } from 'vitest'
import { followFirehose } from '../../src/firehose/live/connection.ts'
import { consumeFirehose, type LiveOptions, newLiveStatus } from '../../src/firehose/live.ts'
import { newestSeq } from '../../src/firehose/newest-seq.ts'
import { silentLogger } from '../../src/logger.ts'
import { encodeRecord } from '../../src/repo/record.ts'
import { messageOf, until } from './fake-relay.ts'

const cleanups: (() => unknown)[] = []
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup()
})

/** Agrees to be a WebSocket, and sends bytes. */
async function rawRelay(onOpen: (socket: Socket) => void) {
  const sockets: Socket[] = []
  const server = createServer((socket) => {
    sockets.push(socket)
    socket.on('error', () => undefined)
    socket.once('data', (head) => {
      const key = /^Sec-WebSocket-Key: (\S+)/im.exec(head.toString('latin1'))?.[1] ?? ''
      const accept = createHash('sha1').update(`${key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest('base64')
      socket.write(`HTTP/1.1 101 Yes\r\nSec-WebSocket-Accept: ${accept}\r\n\r\n`)
      onOpen(socket)
    })
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  cleanups.push(() => {
    for (const socket of sockets) socket.destroy()
    server.close()
  })
  return { url: `ws://127.0.0.1:${(server.address() as AddressInfo).port}`, sockets }
}

function wire(payload: Uint8Array, opcode = 2): Buffer {
  const header = Buffer.alloc(10)
  header[0] = 0x80 | opcode
  header[1] = 127
  header.writeBigUInt64BE(BigInt(payload.length), 2)
  const short = Buffer.from([0x80 | opcode, payload.length])
  return Buffer.concat([payload.length < 126 ? short : header, payload])
}

/** Sends as much as is taken, up to a limit. @returns what was handed to the other side's machine, so far */
function flood(chunk: Buffer, limitBytes: number) {
  const sent = { bytes: 0 }
  const send = async (socket: Socket) => {
    while (sent.bytes < limitBytes) {
      if (!socket.write(chunk)) await once(socket, 'drain')
      sent.bytes += chunk.length
    }
  }
  return { sent, onOpen: (socket: Socket) => void send(socket).catch(() => undefined) }
}

function following(service: string, options: Partial<Parameters<typeof followFirehose>[0]> = {}) {
  const stop = new AbortController()
  const ended: unknown[] = []
  const done = followFirehose({
    service,
    cursor: () => undefined,
    readAheadBytes: 1024 ** 2,
    maxMessageBytes: 1024 ** 2,
    onConnect: () => undefined,
    onDisconnect: ({ error }) => void ended.push(error),
    onMessage: async () => 'go on',
    signal: stop.signal,
    ...options,
  })
  cleanups.push(async () => {
    stop.abort()
    await done
  })
  return { ended }
}

setFlagsFromString('--expose_gc')
const collect: () => void = runInNewContext('gc')

/** What is held, and not what could be given back. */
function usedBytes(): number {
  collect()
  const { heapUsed, arrayBuffers } = process.memoryUsage()
  return heapUsed + arrayBuffers
}

/** What the kernels of both sides may hold, with room. */
const IN_KERNELS_BYTES = 24 * 1024 ** 2
const FLOOD_BYTES = 64 * 1024 ** 2

test('pings without end, of a relay that reads no pongs, are not all answered', async () => {
  const pings = Buffer.concat(Array.from({ length: 500 }, () => wire(Buffer.alloc(125), 9)))
  const { sent, onOpen } = flood(pings, FLOOD_BYTES)
  const relay = await rawRelay((socket) => {
    socket.pause()
    onOpen(socket)
  })
  following(relay.url)
  await until(() => sent.bytes >= FLOOD_BYTES, 'all pings')
  let received = 0
  const [socket] = relay.sockets
  socket?.on('data', (bytes) => {
    received += bytes.length
  })
  socket?.resume()
  for (let before = -1; before !== received; await sleep(100)) before = received
  expect(received).toBeGreaterThan(0)
  expect(received).toBeLessThan(IN_KERNELS_BYTES)
})

test('messages without bytes fill the room for what has not been read, too', async () => {
  const chunk = Buffer.alloc(64 * 1024)
  for (let at = 0; at < chunk.length; at += 2) chunk[at] = 0x82
  const { sent, onOpen } = flood(chunk, FLOOD_BYTES)
  const before = usedBytes()
  const relay = await rawRelay(onOpen)
  const held = Promise.withResolvers<'reconnect'>()
  cleanups.push(() => held.resolve('reconnect'))
  following(relay.url, { onMessage: () => held.promise })
  await until(() => sent.bytes > 0, 'the first')
  await sleep(1000)
  // Else it has taken 100 MB by now.
  expect(usedBytes() - before).toBeLessThan(40_000_000)
  held.resolve('reconnect')
})

test('a relay that agrees and then says nothing, not even a pong, is left', async () => {
  const relay = await rawRelay(() => undefined)
  const { ended } = following(relay.url, { heartbeatMs: 50 })
  await until(() => ended.length > 0, 'the end')
  expect(ended[0]).toMatchObject({ name: 'UnavailableError', message: expect.stringContaining('no longer') })
  const asked = newestSeq(relay.url, {
    everyMs: 1,
    heartbeatMs: 20,
    signal: AbortSignal.timeout(10_000),
    logger: silentLogger,
  })
  await expect(asked).rejects.toMatchObject({ name: 'UnavailableError' })
})

test.each<[string, Buffer]>([
  ['masked', Buffer.from([0x82, 0x81, 0, 0, 0, 0, 1])],
  ['with a reserved bit', Buffer.from([0xa2, 1, 0])],
  ['of more bytes than there are', Buffer.from([0x82, 127, 255, 255, 255, 255, 255, 255, 255, 255])],
])('a frame %s ends the connection; what came before it is read', async (_, bytes) => {
  const relay = await rawRelay((socket) => socket.write(Buffer.concat([wire(Buffer.from('a')), bytes])))
  const read: string[] = []
  const { ended } = following(relay.url, {
    onMessage: async (message) => {
      read.push(Buffer.from(message).toString())
      return 'go on'
    },
  })
  await until(() => ended.length > 0, 'the end')
  expect(read).toEqual(['a'])
  expect(ended[0]).toMatchObject({ name: expect.stringMatching(/VerificationError|MessageTooLong/) })
})

function consuming(service: string, options: Partial<LiveOptions>) {
  const stop = new AbortController()
  const saved: number[] = []
  const status = newLiveStatus()
  const done = consumeFirehose({
    service,
    sink: { handle: async () => undefined, flush: async () => ({ cursor: undefined }) },
    identity: { resolve: never, refresh: never, clear: async () => undefined },
    isWanted: () => true,
    cursor: undefined,
    saveCursor: async (seq) => void saved.push(seq),
    saveEveryMs: 20,
    onBrokenRepo: async () => undefined,
    signal: stop.signal,
    status,
    drainMs: 200,
    ...options,
  })
  const end = async () => {
    stop.abort()
    await done.catch(() => undefined)
  }
  cleanups.push(end)
  return { saved, status, end }
}
const never = () => Promise.reject(new Error('nobody asks'))

test('a first message that cannot be read is no position: the cursor is not set to the beginning', async () => {
  const relay = await rawRelay((socket) => socket.write(wire(Buffer.from([0xff, 1, 2]))))
  const kept: number[] = []
  const live = consuming(relay.url, { onUnreadable: async ({ seq }) => void kept.push(seq) })
  await until(() => live.status.frames.unreadable === 1, 'the message')
  await live.end()
  expect([kept, live.saved]).toEqual([[0], []])
})

test('frames that are done with are not kept while one before them is under way', async () => {
  const commit = asCid(encodeRecord({}).cid)
  const frame = (seq: number, changed: object) =>
    wire(
      messageOf('#commit', {
        seq,
        time: '2026-01-01T00:00:00.000Z',
        repo: `did:plc:${'a'.repeat(20)}${seq
          .toString(5)
          .padStart(4, '0')
          .replace(/\d/g, (digit) => 'abcde'[Number(digit)] ?? '')}`,
        rev: '3l3qo2vutsw2b',
        since: null,
        commit,
        blocks: new Uint8Array(200_000),
        ops: [],
        ...changed,
      }),
    )
  const relay = await rawRelay(async (socket) => {
    socket.write(frame(1, { tooBig: true, blocks: new Uint8Array() }))
    for (let seq = 2; seq <= 300; seq++) if (!socket.write(frame(seq, {}))) await once(socket, 'drain')
  })
  await sleep(100)
  const before = usedBytes()
  const { status } = consuming(relay.url, { cursor: 0, onBrokenRepo: () => new Promise(() => undefined) })
  await until(() => status.frames.unwanted === 299, 'the other frames')
  expect(status).toMatchObject({ queuedFrames: 1, handledSeq: 0 })
  expect(usedBytes() - before).toBeLessThan(20_000_000)
})
