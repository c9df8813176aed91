/**
 * 25,000 readers of one publication: all of them are extracted and, when the publication was lost and is back, all of
 * them come back as they were, in the memory that a tenth of them takes.
 */

import { execFile } from 'node:child_process'
import { mkdtemp, readdir, rm, stat } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { openDatabase } from '../../src/database/client.ts'
import { setMarks } from '../../src/database/marks.ts'
import { type Stack, startStack } from '../../src/stack/index.ts'

const MANY = { did: 'did:plc:many', subscriberCount: 25_000 }
const FEW = { did: 'did:plc:few', subscriberCount: 2_500 }
/** Each about 4 KB, so that 100 MB of them could not be held in the heap that the process is given. */
const HEAP_MB = 64
/** A hash for each key, and what answers take until the runtime gets round to collecting them. */
const SLACK_BYTES = 64 * 1024 ** 2

let stack: Stack
let folder: string

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'many-rows-'))
  stack = await startStack()
  await stack.production.query(
    `insert into identities (atp_did) select 'did:plc:reader' || i from generate_series(1, ${MANY.subscriberCount}) i`,
  )
  for (const { did, subscriberCount } of [MANY, FEW]) {
    const publication = `at://${did}/site.standard.publication/blog`
    await stack.production.query('insert into identities (atp_did) values ($1)', [did])
    await stack.production.query(
      `insert into publications (uri, name, identity_did, record) values ($1, 'Blog', $2, '{}')`,
      [publication, did],
    )
    await stack.production.query(
      `insert into publication_subscriptions (publication, identity, uri, record, created_at)
       select $1, 'did:plc:reader' || i, 'at://did:plc:reader' || i || '/site.standard.graph.subscription/' || $2,
         jsonb_build_object('i', i, 'text', (select string_agg(md5(i::text || n), '"') from generate_series(1, 120) n)),
         timestamptz '2026-01-01 00:00:00.000001+00' + i * interval '1 microsecond'
       from generate_series(1, ${subscriberCount}) i`,
      [publication, did.slice(8)],
    )
  }
  await stack.takeBackup()
})
afterAll(async () => {
  await stack?.[Symbol.asyncDispose]()
  await rm(folder, { recursive: true, force: true })
})

interface Extracted {
  ms: number
  chars: number
  counts: Record<string, number>
  peakBytes: number
}

async function extracted(did: string): Promise<Extracted> {
  const { production, backup } = stack
  const { stdout } = await promisify(execFile)(process.execPath, [
    `--max-old-space-size=${HEAP_MB}`,
    join(import.meta.dirname, 'extract-in-process.ts'),
    ...[production.url, production.serviceKey, backup.url, backup.serviceKey, did],
    join(folder, 'snapshot.json'),
  ])
  return JSON.parse(stdout)
}

test('25,000 subscriptions are extracted in the memory of 2,500', async () => {
  const few = await extracted(FEW.did)
  const many = await extracted(MANY.did)
  const { size } = await stat(join(folder, 'snapshot.json'))
  for (const [{ subscriberCount }, { counts, ms, peakBytes }] of [
    [FEW, few],
    [MANY, many],
  ] as const) {
    expect(counts.publicationSubscriptions).toBe(subscriberCount)
    expect(counts['parents.identities']).toBe(subscriberCount + 1)
    expect(counts['parents.entity_sets']).toBe(subscriberCount + 1)
    const rows = Object.values(counts).reduce((sum, count) => sum + count, 0)
    console.info(
      `${rows} rows in ${(ms / 1000).toFixed(1)} s, ${Math.round((rows * 1000) / ms)}/s, ${Math.round(peakBytes / 1024 ** 2)} MB`,
    )
  }
  expect(size).toBeGreaterThan(1.5 * HEAP_MB * 1024 ** 2)
  expect(many.peakBytes - few.peakBytes).toBeLessThan(SLACK_BYTES)
  expect(await readdir(folder)).toEqual(['snapshot.json'])
})

interface Reconciled {
  ms: number
  outcomes: Record<string, number>
  peakBytes: number
}

/** The publication goes, and all that hangs on it; a restore has written it back, and the replay has brought its row. */
async function lost(did: string): Promise<void> {
  const { production } = stack
  const uri = `at://${did}/site.standard.publication/blog`
  await production.query('drop schema if exists earlier cascade')
  await production.query('create schema earlier')
  for (const table of ['publications', 'publication_subscriptions'])
    await production.query(`create table earlier.${table} as table public.${table}`)
  await production.query('delete from publications where uri = $1', [uri])
  await setMarks(openDatabase({ ...production, label: 'production' }), [{ uri, cid: 'c', did, run: 'r' }])
  await production.query(
    `insert into publications (uri, name, identity_did, record) values ($1, 'Blog', $2, '{}')`,
    [uri, did],
  )
}

async function reconciled(): Promise<Reconciled> {
  const { url, serviceKey } = stack.production
  const { stdout } = await promisify(execFile)(process.execPath, [
    `--max-old-space-size=${HEAP_MB}`,
    join(import.meta.dirname, 'reconcile-in-process.ts'),
    ...[url, serviceKey, join(folder, 'snapshot.json')],
  ])
  return JSON.parse(stdout)
}

/** Rows, every column of them, that are only before or only now. */
async function differing(table: string): Promise<number> {
  const [row] = await stack.production.query(
    `select ((select count(*) from (table earlier.${table} except all table public.${table}) gone)
           + (select count(*) from (table public.${table} except all table earlier.${table}) come))::int as count`,
  )
  return Number(row?.count)
}

test('25,000 subscriptions come back as they were, in the memory of 2,500', async () => {
  const peaks: number[] = []
  for (const { did, subscriberCount } of [FEW, MANY]) {
    await extracted(did)
    await lost(did)
    expect(await differing('publication_subscriptions')).toBe(subscriberCount)
    const { ms, outcomes, peakBytes } = await reconciled()
    expect(outcomes).toEqual({
      'publications derived': 1,
      'publication_subscriptions restored': subscriberCount,
    })
    expect(await differing('publication_subscriptions')).toBe(0)
    expect(await differing('publications')).toBe(0)
    console.info(
      `${subscriberCount} rows in ${(ms / 1000).toFixed(1)} s, ${Math.round((subscriberCount * 1000) / ms)}/s, ${Math.round(peakBytes / 1024 ** 2)} MB`,
    )
    peaks.push(peakBytes)
    const again = await reconciled()
    expect(again.outcomes).toEqual({
      'publications derived': 1,
      'publication_subscriptions unchanged': subscriberCount,
    })
  }
  const [few = 0, many = 0] = peaks
  expect(many - few).toBeLessThan(SLACK_BYTES)
})
