/** Records onto a real PDS, with somebody else writing in between and answers that get lost. */
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import type { JsonObject } from '../../src/events.ts'
import { createFetch } from '../../src/network/fetch.ts'
import { createIdentity } from '../../src/network/identity.ts'
import { createXrpc } from '../../src/network/xrpc.ts'
import { fetchRepo } from '../../src/pds/repo.ts'
import { openSession, type WriteOp } from '../../src/pds/session.ts'
import { type RecordToWrite, type WriteOptions, type WriteResult, writeRecords } from '../../src/pds/write.ts'
import { newWriteState } from '../../src/pds/write-state.ts'
import { cidOfRecord } from '../../src/repo/record.ts'
import { type Account, type Stack, startStack } from '../../src/stack/index.ts'
import { applyWrites, fetchAs } from './account-writes.ts'

const NOTE = 'com.example.note'
/** Of no blob that the account has uploaded. */
const MISSING_BLOB = 'bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku'

let stack: Stack
let account: Account
let network: Parameters<typeof fetchRepo>[1]
let accountCount = 0

beforeAll(async () => {
  stack = await startStack()
  network = {
    identity: createIdentity({ plcUrl: stack.plcUrl, allowLocalhost: true }),
    xrpc: createXrpc({ fetch: createFetch({ allowLocalhost: true }) }),
  }
})
afterAll(() => stack?.[Symbol.asyncDispose]())
beforeEach(async () => {
  account = await stack.createAccount(`writer${++accountCount}.test`)
})

const note = (n: number | string, extra: JsonObject = {}): RecordToWrite => ({
  collection: NOTE,
  rkey: `note-${n}`,
  record: { $type: NOTE, text: `note ${n}`, ...extra },
})
const notes = (count: number) => Array.from({ length: count }, (_, n) => note(n))
const create = ({ collection, rkey, record }: RecordToWrite): WriteOp => ({
  $type: 'com.atproto.repo.applyWrites#create',
  collection,
  rkey,
  value: record,
})
const remove = ({ collection, rkey }: RecordToWrite): WriteOp => ({
  $type: 'com.atproto.repo.applyWrites#delete',
  collection,
  rkey,
})

/** What happens to one write on its way: before it is sent, and whether its answer comes back. */
interface Fate {
  before?: () => Promise<void>
  lost?: boolean
}

interface Run extends WriteResult {
  /** Of the commits that the PDS's firehose tells of, those made while this ran. */
  made: number
  reads: number
}

async function run(
  records: readonly RecordToWrite[],
  fates: Fate[] = [],
  options: Partial<WriteOptions> = {},
): Promise<Run> {
  const madeBefore = await commitsOf(account)
  let reads = 0
  const session = await openSession(account.did, async () => async (path, init) => {
    const fate = path.includes('getSession') ? undefined : fates.shift()
    await fate?.before?.()
    const response = await fetchAs(account, path, init)
    if (fate?.lost !== true) return response
    await response.text()
    throw new TypeError('fetch failed')
  })
  const result = await writeRecords(records, {
    session,
    async readRepo() {
      reads++
      return fetchRepo(account.did, network)
    },
    ...options,
  })
  return { ...result, made: (await commitsOf(account)) - madeBefore, reads }
}

/** Commits of the account so far, as its PDS has announced them. */
async function commitsOf({ did, pdsUrl }: Account): Promise<number> {
  const { rev } = await network.xrpc.getLatestCommit(pdsUrl, did)
  const socket = new WebSocket(
    `${pdsUrl.replace('http', 'ws')}/xrpc/com.atproto.sync.subscribeRepos?cursor=0`,
  )
  socket.binaryType = 'arraybuffer'
  try {
    return await new Promise<number>((resolve, reject) => {
      let count = 0
      socket.onerror = () => reject(new Error('the firehose cannot be read'))
      socket.onmessage = ({ data }) => {
        const message = Buffer.from(data as ArrayBuffer)
        if (!message.includes('#commit') || !message.includes(did)) return
        count++
        if (message.includes(rev)) resolve(count)
      }
    })
  } finally {
    socket.close()
  }
}

async function stored(): Promise<Record<string, string>> {
  const repo = await fetchRepo(account.did, network)
  const found = [...repo.records()].filter(({ collection }) => collection === NOTE)
  expect(new Set(found.map(({ rkey }) => rkey)).size).toBe(found.length)
  return Object.fromEntries(found.map(({ rkey, cid }) => [rkey, cid.toString()]))
}
const cidsOf = (records: readonly RecordToWrite[]) =>
  Object.fromEntries(records.map(({ rkey, record }) => [rkey, cidOfRecord(record)]))
/** How many ended how. Every record has exactly one outcome. */
function outcomes({ records }: WriteResult, given: readonly RecordToWrite[]): Record<string, number> {
  expect(records.map(({ rkey }) => rkey).sort()).toEqual(given.map(({ rkey }) => rkey).sort())
  const counts: Record<string, number> = {}
  for (const { outcome } of records) counts[outcome] = (counts[outcome] ?? 0) + 1
  return counts
}

describe('nobody else writes', () => {
  test('450 records are three commits; again is none', async () => {
    const records = notes(450)
    const first = await run(records)
    expect(outcomes(first, records)).toEqual({ created: 450 })
    expect(first).toMatchObject({ made: 3, commits: 3, left: [] })
    expect(await stored()).toEqual(cidsOf(records))
    const again = await run(records)
    expect(outcomes(again, records)).toEqual({ same: 450 })
    expect(again).toMatchObject({ made: 0, commits: 0 })
  })

  test('records too large for one request together go in several', async () => {
    const records = Array.from({ length: 6 }, (_, n) => note(n, { long: 'x'.repeat(400_000) }))
    const result = await run(records)
    expect(outcomes(result, records)).toEqual({ created: 6 })
    expect(await stored()).toEqual(cidsOf(records))
    expect(result.made).toBe(3)
  })

  test.each<['overwrite' | 'keep' | 'fail', string]>([
    ['overwrite', 'overwritten'],
    ['keep', 'kept'],
    ['fail', 'refused'],
  ])('what another record is in the place of: %s', async (onConflict, outcome) => {
    await applyWrites(account, [create(note(1, { edited: true }))])
    const records = notes(3)
    const result = await run(records, [], { onConflict })
    expect(outcomes(result, records)).toEqual({ created: 2, [outcome]: 1 })
    const expected = onConflict === 'overwrite' ? note(1) : note(1, { edited: true })
    expect((await stored())['note-1']).toBe(cidOfRecord(expected.record))
    expect(result.made).toBe(1)
  })

  test('one record that cannot be encoded costs only itself, and nothing is asked for it', async () => {
    const records = [...notes(50), note('odd', { half: 1.5 })]
    const result = await run(records)
    expect(outcomes(result, records)).toEqual({ created: 50, refused: 1 })
    expect(result.records.find(({ outcome }) => outcome === 'refused')?.reason).toContain('$.half')
    expect(result.made).toBe(1)
  })

  test('one that the PDS refuses costs only itself, in a few commits', async () => {
    const blob = { $type: 'blob', ref: { $link: MISSING_BLOB }, mimeType: 'image/png', size: 10 }
    const good = notes(50)
    const records = [...good.slice(0, 23), note('bad', { blob }), ...good.slice(23)]
    const result = await run(records)
    expect(outcomes(result, records)).toEqual({ created: 50, failed: 1 })
    expect(result.records.find(({ outcome }) => outcome === 'failed')).toMatchObject({
      rkey: 'note-bad',
      reason: expect.stringMatching(/blob/i),
    })
    expect(await stored()).toEqual(cidsOf(good))
    expect(result.made).toBe(result.commits)
    expect(result.made).toBeLessThan(12)
  })

  test('the same record given twice is written once, and the second is refused', async () => {
    const records = [note(1), note(2), note(1, { other: true })]
    const result = await run(records)
    expect(outcomes(result, records)).toEqual({ created: 2, refused: 1 })
    expect(await stored()).toEqual(cidsOf([note(1), note(2)]))
    expect(result.made).toBe(1)
  })

  test('nothing to write asks for nothing to be written', async () => {
    expect(await run([])).toMatchObject({ records: [], made: 0, commits: 0 })
  })
})

describe('somebody else writes as well', () => {
  const other = (...writes: WriteOp[]): Fate => ({ before: () => applyWrites(account, writes) })

  test('a commit in between costs a second look, no record', async () => {
    const records = notes(30)
    const result = await run(records, [other(create(note('theirs')))])
    expect(outcomes(result, records)).toEqual({ created: 30 })
    expect(await stored()).toEqual(cidsOf([...records, note('theirs')]))
    expect(result).toMatchObject({ commits: 1, made: 2, reads: 2 })
  })

  test('a commit before every one of ours, too', async () => {
    const records = notes(450)
    const result = await run(
      records,
      [0, 1, 2, 3, 4, 5, 6].map((n) => other(create(note(`theirs-${n}`)))),
    )
    expect(outcomes(result, records)).toEqual({ created: 450 })
    expect(Object.keys(await stored()).length).toBeGreaterThan(450)
    expect(result.commits).toBe(3)
  })

  test('who creates the same record: it is not ours, and not written again', async () => {
    const records = notes(5)
    const result = await run(records, [other(create(note(2)))])
    expect(outcomes(result, records)).toEqual({ created: 4, same: 1 })
    expect(await stored()).toEqual(cidsOf(records))
    expect(result).toMatchObject({ commits: 1, made: 2 })
  })

  test('who creates another record under a key of ours is met by the policy', async () => {
    const theirs = note(2, { theirs: true })
    const records = notes(5)
    const result = await run(records, [other(create(theirs))], { onConflict: 'keep' })
    expect(outcomes(result, records)).toEqual({ created: 4, kept: 1 })
    expect(await stored()).toEqual({ ...cidsOf(records), ...cidsOf([theirs]) })
  })

  test('who deletes the record that was to be overwritten: it is created', async () => {
    await applyWrites(account, [create(note(2, { edited: true }))])
    const records = notes(5)
    const result = await run(records, [other(remove(note(2)))])
    expect(outcomes(result, records)).toEqual({ created: 5 })
    expect(await stored()).toEqual(cidsOf(records))
    expect(result.commits).toBe(1)
  })

  test('who edits the record that was to be overwritten once more: the policy holds for that, too', async () => {
    await applyWrites(account, [create(note(2, { edited: 1 }))])
    const records = notes(5)
    const { collection, rkey, record: value } = note(2, { edited: 2 })
    const edit: WriteOp = { $type: 'com.atproto.repo.applyWrites#update', collection, rkey, value }
    const result = await run(records, [other(edit)])
    expect(outcomes(result, records)).toEqual({ created: 4, overwritten: 1 })
    expect(await stored()).toEqual(cidsOf(records))
  })
})

describe('an answer that is lost', () => {
  test('after its commit costs no second one', async () => {
    const records = notes(250)
    const result = await run(records, [{ lost: true }])
    expect(outcomes(result, records)).toEqual({ created: 250 })
    expect(await stored()).toEqual(cidsOf(records))
    expect(result).toMatchObject({ made: 2, commits: 2 })
  })

  test('of an overwrite, too', async () => {
    await applyWrites(account, [create(note(0, { edited: true }))])
    const result = await run([note(0)], [{ lost: true }])
    expect(outcomes(result, [note(0)])).toEqual({ overwritten: 1 })
    expect(result).toMatchObject({ made: 1, commits: 1 })
  })

  test('of the last call but every call before it lost as well', async () => {
    const records = notes(450)
    const result = await run(records, [{ lost: true }, { lost: true }, { lost: true }])
    expect(outcomes(result, records)).toEqual({ created: 450 })
    expect(result).toMatchObject({ made: 3, commits: 3 })
  })

  test('while somebody deletes what had landed: it is written again', async () => {
    const records = notes(3)
    const result = await run(records, [{ lost: true }, {}, {}], {
      readRepo: deleteBeforeSecondRead(note(1)),
    })
    expect(outcomes(result, records)).toMatchObject({ created: expect.any(Number) })
    expect(await stored()).toEqual(cidsOf(records))
    expect(result.made).toBe(3)
  })

  function deleteBeforeSecondRead(record: RecordToWrite) {
    let reads = 0
    return async () => {
      if (++reads === 2) await applyWrites(account, [remove(record)])
      return fetchRepo(account.did, network)
    }
  }

  test('for good: the PDS is away, nothing is told as written', async () => {
    const away = { before: () => Promise.reject(new TypeError('fetch failed')) }
    await expect(
      run(
        notes(3),
        Array.from({ length: 30 }, () => away),
      ),
    ).rejects.toMatchObject({
      name: 'UnavailableError',
      exitCode: 75,
    })
    expect(await stored()).toEqual({})
  })
})

describe('where the repo stood', () => {
  const headNow = async () => {
    const { cid, rev } = await network.xrpc.getLatestCommit(account.pdsUrl, account.did)
    return { commit: cid, rev }
  }

  test('is believed: the repo is not read again', async () => {
    const records = notes(5)
    const result = await run(records, [], { state: { ...newWriteState(), head: await headNow() } })
    expect(outcomes(result, records)).toEqual({ created: 5 })
    expect(result).toMatchObject({ reads: 0, made: 1, commits: 1 })
  })

  test('and is another by now: the repo is read, nothing is written over', async () => {
    const head = await headNow()
    await applyWrites(account, [create(note(1)), create(note(2, { theirs: true }))])
    const records = notes(5)
    const result = await run(records, [], { state: { ...newWriteState(), head }, onConflict: 'keep' })
    expect(outcomes(result, records)).toEqual({ created: 3, same: 1, kept: 1 })
    expect((await stored())['note-2']).toBe(cidOfRecord(note(2, { theirs: true }).record))
    expect(result).toMatchObject({ made: 1, commits: 1 })
  })

  test('is handed on to the next call', async () => {
    const first = await run(notes(3))
    const more = [note('x'), note('y')]
    const second = await run(more, [], { state: first.state })
    expect(outcomes(second, more)).toEqual({ created: 2 })
    expect(second).toMatchObject({ reads: 0, made: 1 })
  })
})
