/** What a restore may not take away: what its author writes meanwhile, and text that no repo holds. */

import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { extract } from '../../src/backup/extract.ts'
import { writerOf } from '../../src/cli/engine.ts'
import { type Catalog, readCatalog } from '../../src/database/catalog.ts'
import { openDatabase } from '../../src/database/client.ts'
import type { JsonObject } from '../../src/events.ts'
import { createFetch } from '../../src/network/fetch.ts'
import { fetchRepo } from '../../src/pds/repo.ts'
import { appPasswordSessions } from '../../src/pds/sessions/app-password.ts'
import { cidOfRecord } from '../../src/repo/record.ts'
import { replayAccount } from '../../src/restore/replay.ts'
import { type RestoreResult, restoreAccount } from '../../src/restore/restore.ts'
import { createRunFolder } from '../../src/restore/run-folder.ts'
import { executeWrite, prepareWrite } from '../../src/restore/write.ts'
import type { WrittenRecord } from '../../src/stack/account.ts'
import { tidOf } from '../../src/stack/scenario/tid.ts'
import { applyWrites } from './account-writes.ts'
import { type Command, startCommand, startWorld, type World } from './command-line.ts'
import { rowVersions } from './dump.ts'

const DOCUMENT = 'site.standard.document'
const PAID = 'only for those who paid'
const MEMBERS_KEY = tidOf(Date.UTC(2026, 1, 10))
const LATER = 'another record came there since the plan was made'

let world: World
let catalog: Catalog
let serving: Command

const did = () => world.scenario.author.did
const membersUri = () => `at://${did()}/${DOCUMENT}/${MEMBERS_KEY}`

beforeAll(async () => {
  world = await startWorld({ documents: 12, readers: 3, beforeBackup: addMembersPost })
  catalog = await readCatalog(world.context.production)
  serving = startCommand(['serve', '--port', '0'], { env: world.env, cwd: world.folder })
  const [, url = ''] = await serving.said(/Serving (\S+);/)
  await world.stack.inngest.register(url)
})

afterAll(async () => {
  serving?.child.kill('SIGTERM')
  await serving?.ended
  await world?.[Symbol.asyncDispose]()
})

const block = (plaintext: string): JsonObject => ({
  block: { $type: 'pub.leaflet.blocks.text', plaintext },
})
const FREE = [block('free'), { block: { $type: 'pub.leaflet.blocks.membersOnlyDelimiter' } }]

function post(site: string, title: string, blocks: JsonObject[] = [block('anew')]): JsonObject {
  return {
    $type: DOCUMENT,
    site,
    title,
    publishedAt: '2026-02-10T00:00:00.000Z',
    content: {
      $type: 'pub.leaflet.content',
      pages: [{ $type: 'pub.leaflet.pages.linearDocument', id: 'one', blocks }],
    },
  }
}

/** The repo has it cut at the delimiter, the row whole. */
async function addMembersPost({
  stack,
  scenario,
  consumer,
}: Pick<World, 'stack' | 'scenario' | 'consumer'>): Promise<void> {
  const { uri: site } = scenario.content.publications[0]
  await put(scenario.author, MEMBERS_KEY, post(site, 'For members', FREE), 'create')
  await consumer.caughtUp()
  const uri = `at://${scenario.author.did}/${DOCUMENT}/${MEMBERS_KEY}`
  const whole = post(site, 'For members', [...FREE, block(PAID)])
  await stack.production.query('update documents set data = $1, bsky_like_count = 7 where uri = $2', [
    JSON.stringify(whole),
    uri,
  ])
}

/** As another client of the account. */
async function put(
  account: World['scenario']['author'],
  rkey: string,
  value: JsonObject,
  how: 'create' | 'update',
): Promise<void> {
  await applyWrites(account, [
    { $type: `com.atproto.repo.applyWrites#${how}`, collection: DOCUMENT, rkey, value },
  ])
}

const meanwhile = (title: string) => post(world.scenario.content.publications[0].uri, title)
function documentAt(index: number): WrittenRecord {
  const document = world.scenario.content.documents[index]
  if (document === undefined) throw new RangeError(`there is no document ${index}`)
  return document
}
const lost = () => [...world.scenario.content.publications, ...world.scenario.content.documents]
const backup = () => openDatabase({ ...world.stack.backup, label: 'backup' })

async function cidsInRepo(): Promise<Record<string, string>> {
  const repo = await fetchRepo(did(), world.context.network)
  return Object.fromEntries(
    [...repo.records()]
      .filter(({ collection }) => collection.startsWith('site.standard.'))
      .filter(({ collection }) => !collection.includes('graph'))
      .map(({ collection, rkey, cid }) => [`at://${did()}/${collection}/${rkey}`, cid.toString()]),
  )
}
const cidsAsTheyWere = () => ({
  ...Object.fromEntries(lost().map(({ uri, record }) => [uri, cidOfRecord(record)])),
  [membersUri()]: cidOfRecord(post(world.scenario.content.publications[0].uri, 'For members', FREE)),
})

function writer(engine: 'local' | 'inngest') {
  const { identity } = world.context.network
  const fetch = createFetch({ allowLocalhost: true })
  const sessionProvider = appPasswordSessions(() => world.scenario.author.appPassword, { identity, fetch })
  return writerOf(world.context, { engine, sessionProvider, signal: new AbortController().signal })
}

describe.each(['local', 'inngest'] as const)('a record that comes between plan and write (%s)', (engine) => {
  beforeAll(() => world.lose())

  test('stays, and is said to; so does one that was planned to be overwritten and has changed again', async () => {
    const { author } = world.scenario
    // The last is one that the appview stored as it was: of what was overwritten nobody knows the lost CID any more.
    const [created, changed, overwritten] = [documentAt(0), documentAt(1), documentAt(5)]
    await put(author, changed.rkey, meanwhile('first'), 'create')
    await put(author, overwritten.rkey, meanwhile('to go'), 'create')
    const snapshot = await extract({
      database: backup(),
      catalog,
      appview: world.context.appview,
      did: did(),
    })
    const prepared = await prepareWrite(world.context, { snapshot, catalog, onConflict: 'overwrite' })
    const overwrites = prepared.overwritten.map(({ uri }) => uri)
    expect(overwrites.sort()).toEqual([changed.uri, overwritten.uri].sort())

    await put(author, created.rkey, meanwhile('came'), 'create')
    await put(author, changed.rkey, meanwhile('second'), 'update')
    const summary = await executeWrite(world.context, writer(engine), prepared, {
      run: `kept-${engine}`,
      onConflict: 'overwrite',
    })
    expect(summary.recordsWritten).toBe(lost().length + 1 - 2)
    const notWritten = [...summary.notWritten].sort((a, b) => (a.uri < b.uri ? -1 : 1))
    expect(notWritten).toEqual(
      [created.uri, changed.uri].sort().map((uri) => ({ uri, outcome: 'kept', reason: LATER })),
    )
    expect(await cidsInRepo()).toEqual({
      ...cidsAsTheyWere(),
      [created.uri]: cidOfRecord(meanwhile('came')),
      [changed.uri]: cidOfRecord(meanwhile('second')),
    })
    // What is not there is not waited for, and not kept silent about.
    const marked = await world.stack.production.query('select uri from restore_marks where run = $1', [
      `kept-${engine}`,
    ])
    const uris = marked.map(({ uri }) => uri)
    expect(uris).not.toContain(created.uri)
    expect(uris).not.toContain(changed.uri)
  })
})

describe('a whole restore', () => {
  let result: RestoreResult | undefined
  let path = ''
  let members: Record<string, unknown> | undefined
  const late = () => documentAt(4)

  const membersRow = async () => {
    const [row] = await world.stack.production.query(
      'select data::text as data, indexed_at::text, bsky_like_count from documents where uri = $1',
      [membersUri()],
    )
    return row
  }
  const rowOf = async (uri: string) => {
    const [row] = await world.stack.production.query('select data from documents where uri = $1', [uri])
    return row?.data
  }
  async function restore(confirm: () => Promise<boolean>): Promise<RestoreResult> {
    const folder = await createRunFolder(join(world.folder, 'runs'), did(), new Date())
    path = folder.path
    const restored = await restoreAccount(world.context, {
      did: did(),
      backup: backup(),
      writer: writer('local'),
      folder,
      onConflict: 'overwrite',
      confirm,
    })
    if (restored === undefined) throw new TypeError('it was confirmed')
    return restored
  }

  beforeAll(async () => {
    const [row] = await backup()
      .client.from('documents')
      .select('data')
      .eq('uri', membersUri())
      .then(({ data }) => data ?? [])
    expect(JSON.stringify(row)).toContain(PAID)
    await world.lose()
    expect(await membersRow()).toBeUndefined()
    result = await restore(async () => {
      // The operator reads the plan, and the author has not waited.
      await put(world.scenario.author, late().rkey, meanwhile('while you read'), 'create')
      return true
    })
    members = await membersRow()
    await world.consumer.caughtUp()
  })

  test('keeps what came while it waited to be confirmed, and says so', async () => {
    expect(result).toMatchObject({ report: { verdict: 'complete', records: { explained: 1, missing: 0 } } })
    expect(result?.write.notWritten).toEqual([{ uri: late().uri, outcome: 'kept', reason: LATER }])
    expect(result?.report.records.items.find(({ uri }) => uri === late().uri)).toMatchObject({
      class: 'explained',
      policy: 'kept-newer',
    })
    expect(await cidsInRepo()).toEqual({
      ...cidsAsTheyWere(),
      [late().uri]: cidOfRecord(meanwhile('while you read')),
    })
    expect(await rowOf(late().uri)).toEqual(meanwhile('while you read'))
    // It is written over by nobody, so there was nothing to save of it.
    expect(JSON.parse(await readFile(join(path, 'overwritten-records.json'), 'utf8'))).toEqual([])
  })

  test('brings a members-only post back: the record cut, as it was; the row with all its text', async () => {
    expect(result?.report.records.items.find(({ uri }) => uri === membersUri())).toMatchObject({
      class: 'equal',
      proof: 'proven',
      provenBy: 'tombstone',
      repoCid: cidsAsTheyWere()[membersUri()],
    })
    const [before] = await world.stack.backup.query(
      'select data::text as data, indexed_at::text, bsky_like_count from documents where uri = $1',
      [membersUri()],
    )
    expect(members?.data).toContain(PAID)
    expect(members).toEqual(before)
    for (const file of ['write-plan.json', 'write.json', 'report.json'])
      expect(await readFile(join(path, file), 'utf8'), file).not.toContain(PAID)
  })

  test('does not shorten it when it is replayed', async () => {
    await replayAccount(world.context, did())
    expect(await membersRow()).toEqual(members)
  })

  test('a second time leaves all of it: no row version changes, no commit is made', async () => {
    const versions = await rowVersions(world.stack.production, [
      'firehose_cursors',
      'replay_receipts',
      'record_state',
    ])
    const before = await cidsInRepo()
    const kept = await restoreAccount(world.context, {
      did: did(),
      backup: backup(),
      writer: writer('local'),
      folder: await createRunFolder(join(world.folder, 'runs'), did(), new Date()),
      onConflict: 'overwrite',
      except: [late().uri],
      confirm: async () => true,
    })
    expect(kept).toMatchObject({ nothingToDo: true, report: { verdict: 'complete' } })
    expect(await cidsInRepo()).toEqual(before)
    expect(
      await rowVersions(world.stack.production, ['firehose_cursors', 'replay_receipts', 'record_state']),
    ).toEqual(versions)
  })
})
