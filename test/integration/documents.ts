/** An account's documents: what a test writes to its PDS, and what the tables then say. */

import type { JsonObject } from '../../src/events.ts'
import type { WriteOp } from '../../src/pds/session.ts'
import type { Stack } from '../../src/stack/index.ts'

export const DOCUMENT = 'site.standard.document'

export const documentOf = (title: string): JsonObject => ({
  $type: DOCUMENT,
  site: 'https://example.com',
  title,
  publishedAt: '2026-01-01T00:00:00.000Z',
})

export const put = (rkey: string, title = rkey, kind: 'create' | 'update' = 'create'): WriteOp => ({
  $type: `com.atproto.repo.applyWrites#${kind}`,
  collection: DOCUMENT,
  rkey,
  value: documentOf(title),
})

export const remove = (rkey: string): WriteOp => ({
  $type: 'com.atproto.repo.applyWrites#delete',
  collection: DOCUMENT,
  rkey,
})

/** Titles of the account's rows, in order. */
export async function titlesOf({ production }: Pick<Stack, 'production'>, did: string): Promise<unknown[]> {
  const rows = await production.query(
    `select data->>'title' as title from documents where uri like 'at://${did}/%' order by 1`,
  )
  return rows.map(({ title }) => title)
}
