/** An account whose pictures are not all to be had: what comes back without them, and what when they turn up. */

import { readFile, rename } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as wait } from 'node:timers/promises'
import { AtUri } from '@atproto/syntax'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { readRecordStates } from '../../src/database/record-state.ts'
import type { JsonObject } from '../../src/events.ts'
import { Indexer } from '../../src/indexer/indexer.ts'
import { blobRefsOf } from '../../src/pds/blobs/refs.ts'
import { fetchRepo } from '../../src/pds/repo.ts'
import { cidOfRecord, encodeRecord, lexToJson, recordFromBytes } from '../../src/repo/record.ts'
import { type Report, reportSchema } from '../../src/report/report.ts'
import type { WrittenRecord } from '../../src/stack/account.ts'
import {
  type Command,
  type Ended,
  jsonOf,
  nameOfProduction,
  startCommand,
  startWorld,
  traces,
  type World,
} from '../integration/command-line.ts'
import { dumpTables, OWN_TABLES, rowVersions, type TableDump } from '../integration/dump.ts'

let world: World
/** Every row of the appview's before the incident. */
let before: TableDump
/** The publication whose icon nobody has, and the document whose cover nobody has: one that readers wrote about. */
let publication: WrittenRecord
let document: WrittenRecord
let serving: Command | undefined

beforeAll(async () => {
  world = await startWorld({ documents: 12, readers: 6 })
  const { content, records } = world.scenario
  publication = content.publications[0]
  const mentionsOf = ({ uri }: WrittenRecord) =>
    records.filter(({ record }) => JSON.stringify(record).includes(uri)).length
  const withCover = content.documents.filter(({ record }) => record.coverImage !== undefined)
  document = withCover.sort((a, b) => mentionsOf(b) - mentionsOf(a))[0] ?? publication
  expect(mentionsOf(document)).toBeGreaterThan(1)
  await world.consumer.caughtUp()
  before = await dumpTables(world.stack.production, OWN_TABLES)
})

afterAll(async () => {
  serving?.child.kill('SIGTERM')
  await serving?.ended
  await world?.[Symbol.asyncDispose]()
})

const did = () => world.scenario.author.did
const icon = () => cidOfBlob(publication.record.icon)
const cover = () => cidOfBlob(document.record.coverImage)
const refused = () => [publication.uri, document.uri].sort()
const lost = () => [...world.scenario.content.publications, ...world.scenario.content.documents]
const afterwards = () => dumpTables(world.stack.production, OWN_TABLES)
const restore = (...args: string[]) =>
  world.run([
    'restore',
    '--did',
    did(),
    '--engine',
    'local',
    '--yes',
    nameOfProduction(world),
    '--json',
    ...args,
  ])
const reportOf = (ended: Ended): Report => reportSchema.parse(jsonOf(ended))

function cidOfBlob(blob: unknown): string {
  return (blob as { ref: { $link: string } }).ref.$link
}

/** In the appview's cache. */
async function take(cids: readonly string[]): Promise<void> {
  for (const cid of cids) await rename(join(world.blobFolder, cid), join(world.folder, cid))
}
async function give(cids: readonly string[]): Promise<void> {
  for (const cid of cids) await rename(join(world.folder, cid), join(world.blobFolder, cid))
}

/** What the repo holds of what was lost, by URI. */
async function cidsInRepo(): Promise<Record<string, string>> {
  const repo = await fetchRepo(did(), world.context.network)
  return Object.fromEntries(
    lost().flatMap(({ uri, collection, rkey }) => {
      const cid = repo.get(collection, rkey)?.cid.toString()
      return cid === undefined ? [] : [[uri, cid]]
    }),
  )
}

function cidsAsTheyWere(without: readonly string[] = []): Record<string, string> {
  const left = lost().filter(({ uri }) => !without.includes(uri))
  return Object.fromEntries(left.map(({ uri, record }) => [uri, cidOfRecord(record)]))
}

/** What live ingestion does with each of its batches, all the time: rows that wait come as soon as they can. */
async function whileLetIn<T>(running: Promise<T>): Promise<T> {
  let isOver = false
  const tables = JSON.stringify({ tables: ['publications', 'documents'] })
  const ended = running.finally(() => {
    isOver = true
  })
  while (!isOver) {
    await world.stack.production.query('select public.firehose_replay_sweep($1)', [tables])
    await wait(2)
  }
  return ended
}

/** By table, the rows that a policy explains. */
function explainedBy(report: Report, policy: string): Record<string, string[]> {
  const tables = report.tables.map(({ table, rows }) => [
    table,
    rows.filter((row) => row.policy === policy).map(({ id }) => id),
  ])
  return Object.fromEntries(tables.filter(([, rows]) => (rows?.length ?? 0) > 0))
}

describe('blobs that nobody has', () => {
  let first: Report

  beforeAll(async () => {
    await world.lose()
    await take([icon(), cover()])
  })

  test('the plan names them, and the records that they cost', async () => {
    const ended = await restore('--dry-run')
    expect(ended.code).toBe(0)
    expect(jsonOf(ended)).toMatchObject({
      counts: { create: lost().length - 2, refuse: 2 },
      blobs: { counts: { missing: 2 } },
    })
    const { blobs } = jsonOf(ended) as { blobs: { missing: { cid: string; uris: string[] }[] } }
    expect(Object.fromEntries(blobs.missing.map(({ cid, uris }) => [cid, uris]))).toEqual({
      [icon()]: [publication.uri],
      [cover()]: [document.uri],
    })
    expect(ended.stderr).toContain(`missing blob: ${icon()} (image/png)`)
    expect(ended.stderr).toContain(`refuse: ${document.uri}: blob ${cover()}`)
  })

  test('--missing-blobs fail writes nothing and says which', async () => {
    const then = await traces(world, world.blobFolder)
    const ended = await restore('--missing-blobs', 'fail')
    expect(ended).toMatchObject({ code: 3, stdout: '' })
    expect(ended.stderr).toMatch(/^error: 2 records refer to blobs that cannot be had/m)
    expect(ended.stderr).toMatch(new RegExp(`blob (${icon()}|${cover()})`))
    expect(ended.stderr).toMatch(/^hint: Nothing was written\./m)
    expect(await traces(world, world.blobFolder)).toEqual(then)
  })

  test('cost their two records and nothing else', async () => {
    const ended = await whileLetIn(restore())
    expect(ended.code).toBe(1)
    first = reportOf(ended)
    expect(first).toMatchObject({
      verdict: 'incomplete',
      records: { missing: 2, different: 0, equal: first.records.expected - 2 },
    })
    const missing = first.records.items.filter((item) => item.class === 'missing')
    expect(missing.map(({ uri }) => uri).sort()).toEqual(refused())
    for (const item of missing) expect(item.refusal).toBe('blob-missing')
    expect(await cidsInRepo()).toEqual(cidsAsTheyWere(refused()))
  })

  test('every row is there, column by column: what they stand for and what hangs there', async () => {
    await world.consumer.caughtUp()
    expect(await afterwards()).toEqual(before)
    for (const { table, different, missing, extra } of first.tables)
      expect({ different, missing, extra }, table).toEqual({ different: 0, missing: 0, extra: 0 })
    const rest = explainedBy(first, 'blob-missing')
    expect(rest).toMatchObject({
      publications: [JSON.stringify([publication.uri])],
      documents: [JSON.stringify([document.uri])],
    })
    const restCount = Object.values(rest).flat().length
    expect(first.notes).toContainEqual(expect.stringContaining(`${restCount} rows rest on the backup alone`))
  })

  test('a second restore writes no row and no record, and says the same', async () => {
    const rows = await rowVersions(world.stack.production, ['firehose_cursors'])
    const head = await traces(world, world.blobFolder)
    const ended = await restore()
    expect(ended.code).toBe(1)
    const second = reportOf(ended)
    expect(second).toMatchObject({ verdict: 'incomplete', tables: first.tables, notes: first.notes })
    expect(second.records).toMatchObject({ missing: 2, different: 0, equal: first.records.equal })
    expect(ended.stderr).toContain('Nothing was written and no row changed')
    await world.consumer.caughtUp()
    expect(await traces(world, world.blobFolder)).toEqual(head)
    expect(await rowVersions(world.stack.production, ['firehose_cursors'])).toEqual(rows)
  })

  test('nor does the replay that an operator runs after it take a row away', async () => {
    const ended = await world.run(['replay', '--did', did(), '--json'])
    expect(ended.code).toBe(0)
    expect(await afterwards()).toEqual(before)
  })

  test('nor do the deletes take one away when the firehose is read again from before them', async () => {
    const { appview, production } = world.context
    const rows = await dumpTables(world.stack.production, OWN_TABLES)
    const sink = new Indexer({ appview, database: production })
    const states = await readRecordStates(production, did())
    for (const uri of refused()) {
      const { rev } = states.get(uri) ?? { rev: '' }
      const at = new AtUri(uri)
      const { collection, rkey } = at
      const commit = encodeRecord({}).cid
      const time = new Date().toISOString()
      await sink.handle({
        event: 'delete',
        source: 'firehose',
        seq: 1,
        time,
        commit,
        rev,
        uri: at,
        did: did(),
        collection,
        rkey,
      })
    }
    await sink.flush()
    expect(sink.counts).toMatchObject({ unchanged: refused().length })
    expect(await dumpTables(world.stack.production, OWN_TABLES)).toEqual(rows)
  })

  test('when they turn up, a restore through Inngest brings the two records back as they were', async () => {
    await give([icon(), cover()])
    serving = startCommand(['serve', '--port', '0'], { env: world.env, cwd: world.folder })
    const [, url = ''] = await serving.said(/Serving (\S+);/)
    await world.stack.inngest.register(url)
    const ended = await restore('--engine', 'inngest')
    expect(ended.code, ended.stderr).toBe(0)
    const report = reportOf(ended)
    expect(report).toMatchObject({ verdict: 'complete', records: { missing: 0, different: 0 } })
    expect(explainedBy(report, 'blob-missing')).toEqual({})
    expect(await cidsInRepo()).toEqual(cidsAsTheyWere())
    await world.consumer.caughtUp()
    expect(await afterwards()).toEqual(before)
    for (const [uri, count] of world.consumer.mails) expect(count, uri).toBe(1)
  })
})

describe('--missing-blobs strip', () => {
  const without = ({ record }: WrittenRecord, field: string): JsonObject =>
    Object.fromEntries(Object.entries(record).filter(([name]) => name !== field))

  beforeAll(async () => {
    await world.lose()
    await take([icon(), cover()])
  })

  test('brings the records back without their pictures, and says that they are not what was lost', async () => {
    const ended = await restore('--missing-blobs', 'strip')
    const first = reportOf(ended)
    expect(await cidsInRepo()).toEqual({
      ...cidsAsTheyWere(),
      [publication.uri]: cidOfRecord(without(publication, 'icon')),
      [document.uri]: cidOfRecord(without(document, 'coverImage')),
    })
    const different = first.records.items.filter(({ proof }) => proof === 'different')
    expect(different.map(({ uri }) => uri).sort()).toEqual(refused())
    for (const { differs } of different) expect(differs).toMatch(/^without what cannot be had: blob /)
    expect(ended.stderr).toContain(`different: ${document.uri}: without what cannot be had: blob ${cover()}`)
    // The rows have what no record gives: a draft's link, dates, counts. Only the picture is not there.
    expect(ended.code, ended.stderr).toBe(1)
    expect(first).toMatchObject({ verdict: 'incomplete', records: { missing: 0 } })
    const differing = first.tables.flatMap(({ table, rows }) =>
      rows.map((row) => [table, row.class, row.columns?.map(({ name }) => name)]),
    )
    expect(differing).toEqual([
      ['publications', 'different', ['record']],
      ['documents', 'different', ['data']],
    ])
  })

  test('a second time writes no row and no record', async () => {
    const rows = await rowVersions(world.stack.production, ['firehose_cursors'])
    const then = await traces(world, world.blobFolder)
    const ended = await restore('--missing-blobs', 'strip')
    expect(ended.code).toBe(1)
    expect(reportOf(ended)).toMatchObject({ verdict: 'incomplete' })
    await world.consumer.caughtUp()
    expect(await traces(world, world.blobFolder)).toEqual(then)
    expect(await rowVersions(world.stack.production, ['firehose_cursors'])).toEqual(rows)
  })

  test('the plan as it was written is in the folder of the run, with no body in it', async () => {
    const ended = await restore('--dry-run', '--missing-blobs', 'strip')
    const [, folder = ''] = /^Snapshot, plans and report of this run: (.+)$/m.exec(ended.stderr) ?? []
    const plan = await readFile(join(world.folder, folder, 'write-plan.json'), 'utf8')
    expect(JSON.parse(plan)).toEqual(jsonOf(ended))
    expect(plan).not.toContain(String(document.record.title))
  })

  test('when the pictures turn up, the records come back with them', async () => {
    await give([icon(), cover()])
    const ended = await restore()
    expect(ended.code, ended.stderr).toBe(0)
    // What was lost is no longer known: the tombstones went when the stripped records came.
    const report = reportOf(ended)
    const unproven = report.records.items.filter(({ proof }) => proof === 'self-consistent')
    expect(unproven.map(({ uri }) => uri).sort()).toEqual(refused())
    const repo = await fetchRepo(did(), world.context.network)
    const blobsOf = ({ collection, rkey }: WrittenRecord) => {
      const live = repo.get(collection, rkey)
      return live && blobRefsOf(lexToJson(recordFromBytes(live.bytes)) as JsonObject).map(({ cid }) => cid)
    }
    expect(blobsOf(publication)).toContain(icon())
    expect(blobsOf(document)).toContain(cover())
    await world.consumer.caughtUp()
    expect(await afterwards()).toEqual(before)
  })
})
