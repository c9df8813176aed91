import type { JsonObject } from '../../../../src/events.ts'
import type { BlobSource } from '../../../../src/pds/blobs/source.ts'
import { cidOfBytes } from '../../../../src/repo/blob-cid.ts'

export const DID = 'did:plc:ewvi7nxzyoun6zhxrhs64oiz'

export interface TestBlob {
  cid: string
  bytes: Uint8Array
  ref: JsonObject
}

export function testBlob(text: string, mimeType = 'image/png'): TestBlob {
  const bytes = Buffer.from(text)
  const cid = cidOfBytes(bytes)
  return { cid, bytes, ref: { $type: 'blob', ref: { $link: cid }, mimeType, size: bytes.length } }
}

/** Holds these blobs, or what is given under a CID in their place; counts what it is asked. */
export function memorySource(
  name: string,
  holds: readonly TestBlob[] | Readonly<Record<string, Uint8Array | Error>>,
): BlobSource & { asked: string[] } {
  const byCid: Readonly<Record<string, Uint8Array | Error>> = Array.isArray(holds)
    ? Object.fromEntries(holds.map(({ cid, bytes }) => [cid, bytes]))
    : { ...(holds as Record<string, Uint8Array | Error>) }
  const asked: string[] = []
  return {
    name,
    asked,
    async fetch(cid) {
      asked.push(cid)
      const held = byCid[cid] ?? byCid['*']
      if (held instanceof Error) throw held
      return held
    },
  }
}

export const servesNothing = async (): Promise<Set<string>> => new Set()
