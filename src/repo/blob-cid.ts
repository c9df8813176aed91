import { hash } from 'node:crypto'
import { createCid, parseCidSafe } from '@atproto/lex'

const RAW = 0x55
const SHA2_256 = 0x12

/** CID, as text, that a blob of these bytes has: the whole of it hashed, as raw bytes. */
export function cidOfBytes(bytes: Uint8Array): string {
  return createCid(RAW, SHA2_256, hash('sha256', bytes, 'buffer')).toString()
}

/** A CID in its one canonical text form, which is safe as the name of a file; undefined when `text` is no CID. */
export function canonicalCid(text: string): string | undefined {
  return parseCidSafe(text)?.toString()
}
