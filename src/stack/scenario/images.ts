/** Small pictures, made of nothing but a name: the same name, the same bytes and so the same CID. */

import { crc32, deflateSync } from 'node:zlib'
import type { JsonObject } from '../../events.ts'
import { cidOfBytes } from '../../repo/blob-cid.ts'
import { type Random, randomOf } from './random.ts'

export interface Picture {
  cid: string
  bytes: Uint8Array
  mimeType: 'image/png'
}

const SIGNATURE = Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a])
const TRUE_COLOUR = 2
const BITS_PER_SAMPLE = 8
const BYTES_PER_PIXEL = 3

/** A PNG of some kilobytes: a gradient between two colours under a grain that compresses badly. */
export function pictureOf(name: string, width = 64, height = 40): Picture {
  const random = randomOf(`picture/${name}`)
  const header = Buffer.alloc(13)
  header.writeUInt32BE(width, 0)
  header.writeUInt32BE(height, 4)
  header.set([BITS_PER_SAMPLE, TRUE_COLOUR], 8)
  const pixels = deflateSync(pixelsOf(random, width, height))
  const bytes = Buffer.concat([SIGNATURE, chunk('IHDR', header), chunk('IDAT', pixels), chunk('IEND')])
  return { cid: cidOfBytes(bytes), bytes, mimeType: 'image/png' }
}

/** Each line begins with the byte that says how it is filtered: 0, not at all. */
function pixelsOf(random: Random, width: number, height: number): Buffer {
  const lineBytes = 1 + width * BYTES_PER_PIXEL
  const pixels = Buffer.alloc(height * lineBytes)
  const from = [random.below(200), random.below(200), random.below(200)]
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width * BYTES_PER_PIXEL; x++) {
      const base = from[x % BYTES_PER_PIXEL] ?? 0
      pixels[y * lineBytes + 1 + x] = base + Math.floor((y * 40) / height) + random.below(8)
    }
  }
  return pixels
}

function chunk(type: string, content: Buffer = Buffer.alloc(0)): Buffer {
  const body = Buffer.concat([Buffer.from(type, 'latin1'), content])
  const frame = Buffer.alloc(8)
  frame.writeUInt32BE(content.length, 0)
  frame.writeUInt32BE(crc32(body), 4)
  return Buffer.concat([frame.subarray(0, 4), body, frame.subarray(4)])
}

/** The picture as a record refers to it. */
export function blobOf({ cid, mimeType, bytes }: Picture): JsonObject {
  return { $type: 'blob', ref: { $link: cid }, mimeType, size: bytes.length }
}
