/** Calls to the embedded PDS as one of its accounts, with the session that creating the account opened. */

import { z } from 'zod'
import { PdsError } from '../../errors.ts'
import { packBatches } from '../../pds/batches.ts'
import type { Account, Stack } from '../index.ts'
import type { Picture } from './images.ts'
import type { WrittenRecord } from './record.ts'

export interface StoredRecord {
  uri: string
  cid: string
}

const listing = z.object({
  cursor: z.string().optional(),
  records: z.array(z.object({ uri: z.string(), cid: z.string() })),
})

/** @throws PdsError when the PDS takes one of them not; those before it are written */
export async function writeRecords(
  stack: Stack,
  account: Account,
  records: readonly WrittenRecord[],
  onBatch: (written: number) => void = () => undefined,
): Promise<void> {
  const writes = records.map(({ collection, rkey, record: value }) =>
    sized({ $type: 'com.atproto.repo.applyWrites#create', collection, rkey, value }),
  )
  await applyWrites(stack, account, writes, onBatch)
}

/** To be followed by the records that refer to them: until then they are temporary. */
export async function uploadPictures(
  stack: Stack,
  account: Account,
  pictures: readonly Picture[],
): Promise<void> {
  for (const { bytes, mimeType } of pictures) {
    await send(stack, account, 'com.atproto.repo.uploadBlob', { body: bytes, contentType: mimeType })
  }
}

export async function deleteStored(
  stack: Stack,
  account: Account,
  records: readonly StoredRecord[],
): Promise<void> {
  const writes = records.map(({ uri }) => {
    const [collection, rkey] = uri.split('/').slice(3)
    return sized({ $type: 'com.atproto.repo.applyWrites#delete', collection, rkey })
  })
  await applyWrites(stack, account, writes)
}

/** All of the account's records of one collection. */
export async function listStored(
  stack: Stack,
  account: Account,
  collection: string,
): Promise<StoredRecord[]> {
  const found: StoredRecord[] = []
  let cursor: string | undefined
  do {
    const parameters = new URLSearchParams({ repo: account.did, collection, limit: '100' })
    if (cursor !== undefined) parameters.set('cursor', cursor)
    const page = listing.parse(await call(stack, account, `com.atproto.repo.listRecords?${parameters}`))
    found.push(...page.records)
    cursor = page.cursor
  } while (cursor !== undefined)
  return found
}

export async function createAppPassword(stack: Stack, account: Account, name: string): Promise<string> {
  const answer = await call(stack, account, 'com.atproto.server.createAppPassword', { name })
  return z.object({ password: z.string() }).parse(answer).password
}

interface Write {
  json: object
  jsonBytes: number
}

function sized(json: object): Write {
  return { json, jsonBytes: Buffer.byteLength(JSON.stringify(json)) }
}

async function applyWrites(
  stack: Stack,
  account: Account,
  writes: readonly Write[],
  onBatch: (written: number) => void = () => undefined,
): Promise<void> {
  for (const batch of packBatches(writes)) {
    await call(stack, account, 'com.atproto.repo.applyWrites', {
      repo: account.did,
      validate: false,
      writes: batch.map(({ json }) => json),
    })
    onBatch(batch.length)
  }
}

function call(stack: Stack, account: Account, method: string, body?: object): Promise<unknown> {
  return send(stack, account, method, body && { body: JSON.stringify(body), contentType: 'application/json' })
}

/** A query without content, a procedure with it. */
async function send(
  stack: Stack,
  account: Account,
  method: string,
  content?: { body: string | Uint8Array; contentType: string },
): Promise<unknown> {
  const response = await fetch(`${account.pdsUrl}/xrpc/${method}`, {
    headers: {
      authorization: `Bearer ${account.accessJwt}`,
      'x-ratelimit-bypass': stack.pds.rateLimitBypassKey,
      ...(content && { 'content-type': content.contentType }),
    },
    ...(content && { method: 'POST', body: content.body }),
  })
  const text = await response.text()
  if (response.ok) return text === '' ? undefined : JSON.parse(text)
  throw new PdsError(`The embedded PDS answered ${response.status} to ${method}: ${text}`, {
    did: account.did,
    error: `HTTP ${response.status}`,
  })
}
