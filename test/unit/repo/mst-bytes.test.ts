import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { cidOfBlock, encodeBlock } from '../../../src/repo/dag-cbor.ts'
import { readRawNode } from '../../../src/repo/mst-bytes.ts'
import { decodeRawNode } from '../../../src/repo/mst-node.ts'

const cid = fc.uint8Array({ minLength: 1, maxLength: 4 }).map(cidOfBlock)
const cidOrNull = fc.option(cid)
const node = fc.record({
  l: cidOrNull,
  e: fc.array(
    fc.record({
      k: fc.uint8Array({ maxLength: 300 }),
      p: fc.oneof(fc.nat(30), fc.nat(70_000)),
      t: cidOrNull,
      v: cid,
    }),
    { maxLength: 30 },
  ),
})

function byDecoder(bytes: Uint8Array): unknown {
  try {
    return decodeRawNode(bytes)
  } catch (error) {
    if (error instanceof Error && error.name === 'VerificationError') return undefined
    throw error
  }
}

const said = (found: unknown) => JSON.stringify(found, (_, value: unknown) => value)

describe('readRawNode', () => {
  test('reads what the decoder reads', () => {
    fc.assert(
      fc.property(node, (value) => {
        const bytes = encodeBlock(value)
        // Numbers of more than two bytes are left to the decoder.
        const isLong = value.e.some(({ p }) => p > 0xffff)
        expect(said(readRawNode(bytes))).toEqual(isLong ? undefined : said(byDecoder(bytes)))
      }),
    )
  })

  test('accepts nothing that the decoder refuses, however the bytes are changed', () => {
    fc.assert(
      fc.property(
        node,
        fc.array(fc.tuple(fc.nat(), fc.nat(255)), { minLength: 1, maxLength: 3 }),
        fc.integer({ min: -3, max: 3 }),
        (value, changes, cut) => {
          let bytes = Buffer.from(encodeBlock(value))
          for (const [at, byte] of changes) bytes[at % bytes.length] = byte
          if (cut < 0) bytes = bytes.subarray(0, bytes.length + cut)
          if (cut > 0) bytes = Buffer.concat([bytes, Buffer.alloc(cut)])
          const raw = readRawNode(bytes)
          if (raw !== undefined) expect(said(raw)).toEqual(said(byDecoder(bytes)))
        },
      ),
      { numRuns: 3000 },
    )
  })

  test.each([
    '',
    'a0',
    'a2616580616cf600',
    'a2616580616c',
    'a261659800616cf6',
    'bf616580616cf6ff',
    'a2616cf6616580',
    'a26165816161616cf6',
  ])('leaves %s to the decoder', (hex) => {
    expect(readRawNode(Buffer.from(hex, 'hex'))).toBeUndefined()
  })
})
