import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { MessageFilter } from '../../../src/firehose/message-filter.ts'

const NEEDLE = Buffer.from('did:plc:wanted')

function frame(payload: Buffer, { opcode = 2, isFinal = true } = {}): Buffer {
  const { length } = payload
  const first = (isFinal ? 0x80 : 0) | opcode
  if (length < 126) return Buffer.concat([Buffer.from([first, length]), payload])
  const header = Buffer.alloc(length < 65_536 ? 4 : 10)
  header[0] = first
  header[1] = length < 65_536 ? 126 : 127
  if (length < 65_536) header.writeUInt16BE(length, 2)
  else header.writeBigUInt64BE(BigInt(length), 2)
  return Buffer.concat([header, payload])
}

function filtered(chunks: readonly Buffer[], maxMessageBytes?: number) {
  const found = { matches: [] as string[], pings: [] as string[], pongs: 0, closes: 0 }
  const filter = new MessageFilter(
    NEEDLE,
    {
      onMatch: (message) => void found.matches.push(message.toString('latin1')),
      onPing: (payload) => void found.pings.push(payload.toString()),
      onPong: () => void found.pongs++,
      onClose: () => void found.closes++,
    },
    maxMessageBytes,
  )
  for (const chunk of chunks) filter.push(chunk)
  return { ...found, filter }
}

/** Cuts bytes at places; the pieces are all of it. */
function cutAt(bytes: Buffer, cuts: readonly number[]): Buffer[] {
  const places = [0, ...cuts.map((cut) => cut % (bytes.length + 1)).toSorted((a, b) => a - b), bytes.length]
  return places.slice(1).map((end, index) => bytes.subarray(places[index], end))
}

const payload = fc.oneof(
  fc.uint8Array({ maxLength: 300 }).map((bytes) => Buffer.from(bytes)),
  fc
    .tuple(fc.uint8Array({ maxLength: 200 }), fc.uint8Array({ maxLength: 200 }))
    .map(([before, after]) => Buffer.concat([before, NEEDLE, after])),
  fc.integer({ min: 65_500, max: 70_000 }).map((length) => Buffer.alloc(length, 'x')),
)

test('gives the messages that hold the bytes, wherever the stream is cut', () => {
  fc.assert(
    fc.property(
      fc.array(payload, { maxLength: 20 }),
      fc.array(fc.nat(200_000), { maxLength: 40 }),
      (all, cuts) => {
        const { matches, filter } = filtered(cutAt(Buffer.concat(all.map((one) => frame(one))), cuts))
        expect(matches).toEqual(
          all.filter((one) => one.includes(NEEDLE)).map((one) => one.toString('latin1')),
        )
        expect(filter.messageCount).toBe(all.length)
        expect(filter.first?.equals(all[0] ?? Buffer.alloc(0))).toBe(all.length > 0 ? true : undefined)
        expect(filter.last?.equals(all.at(-1) ?? Buffer.alloc(0))).toBe(all.length > 0 ? true : undefined)
      },
    ),
  )
})

test('byte by byte', () => {
  const stream = Buffer.concat([
    frame(Buffer.from('a')),
    frame(NEEDLE),
    frame(Buffer.from('p'), { opcode: 9 }),
  ])
  const { matches, pings } = filtered([...stream].map((byte) => Buffer.from([byte])))
  expect(matches).toEqual([NEEDLE.toString()])
  expect(pings).toEqual(['p'])
})

test('bytes that begin in one message and end in the next are in neither', () => {
  const { matches, filter } = filtered([
    Buffer.concat([frame(NEEDLE.subarray(0, 8)), frame(NEEDLE.subarray(8))]),
  ])
  expect(matches).toEqual([])
  expect(filter.messageCount).toBe(2)
})

test('a message in fragments is one message, with control frames in between', () => {
  const { matches, pongs, closes } = filtered([
    frame(NEEDLE.subarray(0, 8), { isFinal: false }),
    frame(Buffer.alloc(0), { opcode: 10 }),
    frame(NEEDLE.subarray(8), { opcode: 0 }),
    frame(Buffer.alloc(0), { opcode: 8 }),
  ])
  expect(matches).toEqual([NEEDLE.toString()])
  expect({ pongs, closes }).toEqual({ pongs: 1, closes: 1 })
})

test('fragments without bytes and without end cost next to nothing', () => {
  const empty = Buffer.alloc(256 * 1024)
  const { matches, filter } = filtered([
    frame(NEEDLE.subarray(0, 8), { isFinal: false }),
    empty,
    frame(NEEDLE.subarray(8), { opcode: 0 }),
  ])
  expect(matches).toEqual([NEEDLE.toString()])
  expect(filter.messageCount).toBe(1)
})

describe('refuses', () => {
  test.each<[string, Buffer]>([
    ['a masked frame', Buffer.from([0x82, 0x81, 0, 0, 0, 0, 1])],
    ['a compressed frame', Buffer.from([0xc2, 1, 0])],
    ['a frame of an unknown kind', Buffer.from([0x83, 1, 0])],
    ['a ping longer than one may be', frame(Buffer.alloc(126), { opcode: 9 })],
    ['a ping in fragments', frame(Buffer.alloc(1), { opcode: 9, isFinal: false })],
    ['a continuation of nothing', Buffer.from([0x80, 1, 0])],
    ['two messages at once', Buffer.concat([frame(NEEDLE, { isFinal: false }), frame(NEEDLE)])],
  ])('%s', (_, bytes) => {
    expect(() => filtered([bytes])).toThrow(expect.objectContaining({ name: 'VerificationError' }))
  })

  test('a message that is too long, by its header alone', () => {
    expect(() => filtered([frame(Buffer.alloc(1001)).subarray(0, 4)], 1000)).toThrow('more than 1000 bytes')
    const half = frame(Buffer.alloc(600), { isFinal: false })
    expect(() => filtered([half, frame(Buffer.alloc(600), { opcode: 0 })], 1000)).toThrow(
      'more than 1000 bytes',
    )
  })
})
