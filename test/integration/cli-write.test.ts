/** `write` and the write of `restore`, as an operator restricts, inspects and exempts them. */

import { readFile, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { JsonObject } from '../../src/events.ts'
import type { WritePlan } from '../../src/pds/plan.ts'
import { fetchRepo } from '../../src/pds/repo.ts'
import { cidOfRecord, encodeRecord } from '../../src/repo/record.ts'
import { reportSchema } from '../../src/report/report.ts'
import type { WrittenRecord } from '../../src/stack/account.ts'
import { applyWrites } from './account-writes.ts'
import { type Ended, jsonOf, nameOfProduction, startWorld, traces, type World } from './command-line.ts'

const HOUR_MS = 60 * 60 * 1000

let world: World

beforeAll(async () => {
  world = await startWorld({ documents: 12, readers: 3 })
  await world.lose()
  expect((await world.run(['extract', '--did', did()])).code).toBe(0)
})

afterAll(async () => {
  await world?.[Symbol.asyncDispose]()
})

const did = () => world.scenario.author.did
const lost = () => [...world.scenario.content.publications, ...world.scenario.content.documents]
/** One of the author's documents, by its place in the order of their writing. */
function documentAt(index: number): WrittenRecord {
  const document = world.scenario.content.documents[index]
  if (document === undefined) throw new RangeError(`there is no document ${index}`)
  return document
}
const now = () => traces(world, world.folder)
const write = (...args: string[]) => world.run(['write', '--engine', 'local', '--json', ...args])
const restore = (...args: string[]) =>
  world.run(['restore', '--did', did(), '--engine', 'local', '--json', ...args])
const planOf = (ended: Ended) => jsonOf(ended) as unknown as WritePlan
const urisWith = (plan: WritePlan, action: string) =>
  plan.records.filter((record) => record.action === action).map(({ uri }) => uri)

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
const cidsOf = (records: readonly WrittenRecord[]) =>
  Object.fromEntries(records.map(({ uri, record }) => [uri, cidOfRecord(record)]))

async function marks(): Promise<unknown[]> {
  const rows = await world.stack.production.query('select uri, cid from restore_marks')
  return Object.entries(Object.fromEntries(rows.map(({ uri, cid }) => [uri, cid]))).sort()
}

describe('the plan', () => {
  test('is one JSON object with all that the write will be, and nothing is written', async () => {
    const before = await now()
    const ended = await write('--dry-run')
    expect(ended.code).toBe(0)
    const plan = planOf(ended)
    expect(plan).toMatchObject({
      did: did(),
      counts: { create: lost().length, same: 4 + 1, overwrite: 0, keep: 0, refuse: 0 },
      warnings: 1,
      commits: 1,
      way: 'applyWrites',
      points: 3 * lost().length,
      blobs: {
        counts: { served: 0, upload: world.scenario.content.pictures.length, missing: 0 },
        missing: [],
      },
    })
    expect(plan.scope).toBeUndefined()
    const blocks = lost().map(({ record }) => encodeRecord(record).bytes.length)
    expect(plan.bytes).toBe(blocks.reduce((sum, bytes) => sum + bytes, 0))
    expect(plan.estimateMs).toBeGreaterThan(0)
    expect(plan.estimateMs).toBeLessThan(HOUR_MS)
    const created = plan.records.filter(({ action }) => action === 'create')
    expect(Object.fromEntries(created.map(({ uri, cid }) => [uri, cid]))).toEqual(cidsOf(lost()))
    for (const { proof, provenBy } of created) expect([proof, provenBy]).toEqual(['proven', 'tombstone'])
    const uploads = plan.blobs?.uploadBytes
    expect(uploads).toBe(world.scenario.content.pictures.reduce((sum, { bytes }) => sum + bytes.length, 0))
    // The same for people, beside it.
    expect(ended.stderr).toContain(`${lost().length} to create`)
    expect(ended.stderr).not.toContain('{')
    expect(await now()).toEqual(before)
  })

  test.each<[string, (...args: string[]) => Promise<Ended>]>([
    ['write', write],
    ['restore', restore],
  ])('of %s goes by the point limits of the PDS as they are configured', async (_, command) => {
    const [unlimited, limited, daily] = (
      await Promise.all([
        command('--dry-run'),
        command('--dry-run', '--points-per-hour', '20'),
        command('--dry-run', '--points-per-day', '20'),
      ])
    ).map(planOf) as [WritePlan, WritePlan, WritePlan]
    expect(limited.estimateMs).toBeGreaterThan(HOUR_MS)
    expect(unlimited.estimateMs).toBeLessThan(HOUR_MS)
    // Two points a record and not three: what ends sooner where points are few.
    expect(limited).toMatchObject({ way: 'putRecord', points: 2 * lost().length, commits: lost().length })
    expect(daily.estimateMs).toBeGreaterThan(24 * HOUR_MS)
  })

  test.each([
    [
      '--uri',
      'at://did:plc:nobody/site.standard.document/3kaaaaaaaaaaa',
      /^hint: Copy the URI as the plan prints it/m,
    ],
    [
      '--except',
      'at://did:plc:nobody/site.standard.document/3kaaaaaaaaaaa',
      /^hint: Copy the URI as the plan prints it/m,
    ],
    ['--collection', 'com.example.note', /^hint: It holds records of .*site\.standard\.document/m],
  ])('%s with something that the snapshot does not hold is wrong usage', async (flag, value, hint) => {
    const before = await now()
    const ended = await write(flag, value)
    expect(ended).toMatchObject({ code: 2, stdout: '' })
    expect(ended.stderr).toContain(value)
    expect(ended.stderr).toMatch(hint)
    expect(await now()).toEqual(before)
  })
})

describe('restricted', () => {
  test('to a record, only that one is planned, marked and written', async () => {
    const one = documentAt(0)
    const plan = planOf(await write('--uri', one.uri, '--dry-run'))
    expect(plan).toMatchObject({
      counts: { create: 1, same: 0 },
      scope: { uris: [one.uri], leftOut: lost().length - 1 + 5 },
      commits: 1,
    })
    const ended = await write('--uri', one.uri)
    expect(ended.code).toBe(0)
    expect(jsonOf(ended)).toMatchObject({ success: true, recordsWritten: 1, batchCount: 1, plan })
    expect(await cidsInRepo()).toEqual(cidsOf([one]))
    expect(await marks()).toEqual(Object.entries(cidsOf([one])))
  })

  test('to a collection and a record more, only those', async () => {
    const { publications } = world.scenario.content
    const [first, second] = [documentAt(0), documentAt(1)]
    const ended = await write('--collection', 'site.standard.publication', '--uri', second.uri)
    expect(ended.code).toBe(0)
    expect(jsonOf(ended)).toMatchObject({ success: true, recordsWritten: 3, batchCount: 1 })
    expect(await cidsInRepo()).toEqual(cidsOf([...publications, first, second]))
    expect(await marks()).toEqual(Object.entries(cidsOf([...publications, first, second])).sort())
  })

  test('to what is there already, nothing is written', async () => {
    await world.consumer.caughtUp()
    const before = await traces(world, world.blobFolder)
    const ended = await write('--collection', 'site.standard.publication')
    expect(ended.code).toBe(0)
    expect(jsonOf(ended)).toMatchObject({
      recordsWritten: 0,
      plan: { counts: { create: 0, same: 2 }, points: 0 },
    })
    expect(await traces(world, world.blobFolder)).toEqual(before)
  })
})

describe('keys that their author has used again', () => {
  const [exempt, other] = [4, 5]
  const madeAgain = ({ rkey }: WrittenRecord): JsonObject => ({
    $type: 'site.standard.document',
    site: world.scenario.content.publications[0].uri,
    title: `Written again under ${rkey}`,
    publishedAt: '2026-03-01T00:00:00.000Z',
  })
  const taken = () => [documentAt(exempt), documentAt(other)]
  const old = (written: WrittenRecord) => ({
    uri: written.uri,
    cid: cidOfRecord(madeAgain(written)),
    record: madeAgain(written),
  })

  /** What a run has saved beside its snapshot. */
  async function saved({ stderr }: Ended): Promise<unknown> {
    const [, folder = ''] = /^Snapshot, plans and report of this run: (.+)$/m.exec(stderr) ?? []
    const path = join(world.folder, folder, 'overwritten-records.json')
    expect((await stat(path)).mode & 0o777).toBe(0o600)
    return JSON.parse(await readFile(path, 'utf8'))
  }

  beforeAll(async () => {
    await applyWrites(
      world.scenario.author,
      taken().map((written) => ({
        $type: 'com.atproto.repo.applyWrites#create' as const,
        collection: written.collection,
        rkey: written.rkey,
        value: madeAgain(written),
      })),
    )
    await world.consumer.caughtUp()
  })

  test('are listed as overwrites, with the size of what is there and how to leave it', async () => {
    const ended = await write('--dry-run')
    const plan = planOf(ended)
    expect(urisWith(plan, 'overwrite').sort()).toEqual(
      taken()
        .map(({ uri }) => uri)
        .sort(),
    )
    for (const written of taken()) {
      const { cid, bytes } = encodeRecord(madeAgain(written))
      expect(plan.records.find(({ uri }) => uri === written.uri)).toMatchObject({
        cid: cidOfRecord(written.record),
        currentCid: cid.toString(),
        currentBytes: bytes.length,
      })
      const line = `overwrite: ${written.uri} (${bytes.length} bytes there now; leave it with --except ${written.uri})`
      expect(ended.stderr).toContain(`${line}\n`)
    }
  })

  test('--on-conflict keep leaves them, and fail plans to', async () => {
    const policies = ['keep', 'fail']
    const ended = await Promise.all(policies.map((policy) => write('--dry-run', '--on-conflict', policy)))
    const [keep, fail] = ended.map(planOf) as [WritePlan, WritePlan]
    expect(keep).toMatchObject({ counts: { keep: 2, overwrite: 0, refuse: 0 } })
    expect(fail).toMatchObject({ counts: { keep: 0, overwrite: 0, refuse: 2 } })
    for (const { records } of [keep, fail])
      for (const { uri } of taken())
        expect(records.find((record) => record.uri === uri)?.reason).toBe('another record is there now')
  })

  test('--on-conflict fail ends the write before anything is written, not even the others', async () => {
    const before = await traces(world, world.blobFolder)
    const uris = [...taken(), documentAt(8)].flatMap(({ uri }) => ['--uri', uri])
    const ended = await write('--on-conflict', 'fail', ...uris)
    expect(ended).toMatchObject({ code: 3, stdout: '' })
    expect(ended.stderr).toMatch(/^error: 2 records were made again under lost keys/m)
    for (const { uri } of taken())
      expect(ended.stderr).toContain(`refuse: ${uri}: another record is there now`)
    expect(await traces(world, world.blobFolder)).toEqual(before)
  })

  test('are not overwritten by `write` before somebody has confirmed it', async () => {
    const before = await traces(world, world.blobFolder)
    const [{ uri }] = taken() as [WrittenRecord]
    const ended = await write('--uri', uri)
    expect(ended).toMatchObject({ code: 2, stdout: '' })
    expect(ended.stderr).toContain(`hint: If the plan above is right, add --yes ${nameOfProduction(world)}\n`)
    const [, file = ''] =
      /^The 1 records that will be overwritten are kept in (.+)$/m.exec(ended.stderr) ?? []
    expect(JSON.parse(await readFile(join(world.folder, file), 'utf8'))).toEqual([old(documentAt(exempt))])
    expect(await traces(world, world.blobFolder)).toEqual(before)
  })

  test('their old values are in the folder of the run before anything is confirmed or written', async () => {
    const before = await traces(world, world.blobFolder)
    const ended = await restore()
    expect(ended.code).toBe(2)
    expect(ended.stderr).toContain('There is no terminal to confirm in.')
    expect(await saved(ended)).toEqual(expect.arrayContaining(taken().map(old)))
    expect(await traces(world, world.blobFolder)).toEqual(before)
  })

  test('one by one they can be exempted; the others are overwritten, their old values kept', async () => {
    const [left, over] = [documentAt(exempt), documentAt(other)]
    const ended = await restore('--yes', nameOfProduction(world), '--except', left.uri)
    expect(ended.code, ended.stderr).toBe(0)
    expect(ended.stderr).toContain(`keep: ${left.uri}: exempted by the operator`)
    expect(await saved(ended)).toEqual([old(over)])
    expect(await cidsInRepo()).toEqual({ ...cidsOf(lost()), [left.uri]: old(left).cid })
    const report = reportSchema.parse(jsonOf(ended))
    expect(report).toMatchObject({ verdict: 'complete', records: { explained: 1, different: 0, missing: 0 } })
    expect(report.records.items.find(({ uri }) => uri === left.uri)).toMatchObject({
      class: 'explained',
      policy: 'kept-newer',
      repoCid: old(left).cid,
    })
    const [row] = await world.stack.production.query('select data from documents where uri = $1', [left.uri])
    expect(row?.data).toEqual(madeAgain(left))
  })

  test('what was exempted once is asked for again, and overwritten where nobody exempts it', async () => {
    const left = documentAt(exempt)
    const before = await traces(world, world.blobFolder)
    const again = await restore('--yes', nameOfProduction(world), '--except', left.uri)
    expect(again.code).toBe(0)
    expect(again.stderr).toContain('There was nothing to do')
    expect(await traces(world, world.blobFolder)).toEqual(before)
    expect(urisWith(planOf(await restore('--dry-run')), 'overwrite')).toEqual([left.uri])
  })
})
