/** Requests that are too large for an event: stored, referred to, checked, dropped; and sends that are repeated. */
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { openDatabase } from '../../src/database/client.ts'
import { databaseRequests, newAttempt, type RequestStore } from '../../src/inngest/index.ts'
import { type Stack, startStack } from '../../src/stack/index.ts'
import { bodiesOf, documents, startWorld, type World } from './write-world.ts'

let stack: Stack
let requests: RequestStore
const sql = (text: string) => stack.production.query(text)
const rows = () => sql('select id, did, records from write_requests order by id')

beforeAll(async () => {
  stack = await startStack()
  requests = databaseRequests(openDatabase({ ...stack.production, label: 'production' }))
})

afterAll(async () => {
  await stack?.[Symbol.asyncDispose]()
})

beforeEach(async () => {
  await sql('truncate write_requests, write_failures')
})

/** 300 of them come to more than an event holds. */
const large = () => documents(300, { textContent: '\u0000 "quoted" é \ud83d\udc08 '.repeat(40) })

describe('stored requests', () => {
  test('a large request goes by reference: the event is small, no step holds records, the row goes at the end', async () => {
    const seen: number[] = []
    await using world = await startWorld(stack, { functions: { requests: counting(seen) } })
    const records = large()
    const summary = await world.write(records, { requests })
    expect(summary).toMatchObject({ success: true, recordsWritten: 300, batchCount: 2 })
    expect(await world.bodies()).toEqual(bodiesOf(records))
    const [run] = world.inngest.runs()
    expect(world.inngest.runs()).toHaveLength(1)
    expect(JSON.stringify(run?.event).length).toBeLessThan(1000)
    expect(JSON.stringify([...(run?.finished.values() ?? [])])).not.toContain('quoted')
    expect(world.steps()).toEqual(['verify-session', 'plan', 'write-batch-1', 'drop-request'])
    // Once for all steps of the process.
    expect(seen).toEqual([300])
    expect(await rows()).toEqual([])
  })

  test('a small one goes in the event, and so does any without a store', async () => {
    await using world = await startWorld(stack, { functions: { requests } })
    await world.write(documents(100), { requests })
    expect(world.inngest.runs()[0]?.event.data).toHaveProperty('records')
    expect(world.steps()).not.toContain('drop-request')

    await world.write(large(), { maxEventBytes: 300_000 })
    const sizes = world.inngest.runs().map(({ event }) => Buffer.byteLength(JSON.stringify(event)))
    expect(Math.max(...sizes)).toBeLessThan(300_000)
    expect(Math.max(...sizes)).toBeGreaterThan(200_000)
  })

  test('one row holds at most a thousand records; parents stay before their children', async () => {
    await using world = await startWorld(stack, { functions: { requests } })
    const records = documents(1200)
    const progress: number[] = []
    const onProgress = ({ recordsDone }: { recordsDone: number }) => progress.push(recordsDone)
    expect(await world.write(records, { requests, onProgress })).toMatchObject({
      recordsWritten: 1200,
      batchCount: 6,
    })
    expect(progress).toEqual([1000, 1200])
    expect(await world.bodies()).toEqual(bodiesOf(records))
  })

  test.each([
    [
      'records that are others',
      `update write_requests set records = replace(records, 'Document 7"', 'Document x"')`,
    ],
    ['none of the records', `update write_requests set records = '[]'`],
    ['what is no list', `update write_requests set records = '{'`],
    ['nothing', 'delete from write_requests'],
  ])('finding %s ends the run at once, and nothing is written', async (_, change) => {
    await using world = await startWorld(stack, {
      functions: {
        requests: { ...requests, get: (ref, did) => sql(change).then(() => requests.get(ref, did)) },
      },
    })
    const failure = await world.write(large(), { requests }).catch((error: unknown) => error)
    await world.inngest.idle()
    expect(String(failure)).toMatch(/not those that its event was made for|no list|not there any more/)
    expect(world.retries).toEqual([])
    expect(world.pds.commits).toBe(0)
  })

  test('a reference cannot be turned to another account', async () => {
    await using mine = await startWorld(stack, { functions: { requests } })
    await using other = await startWorld(stack, { functions: { requests } })
    const reference = await requests.put({ did: mine.account.did, records: documents(2) }, 'mine')
    await other.send({ did: other.account.did, reference })
    await other.inngest.idle()
    expect(other.inngest.runs()[0]).toMatchObject({ status: 'Failed' })
    expect(other.pds.commits).toBe(0)
    await requests.drop(reference, other.account.did)
    expect(await rows()).toHaveLength(1)
  })

  test('a reference cannot be changed, also where the worker has met the records already', async () => {
    // The rows stay, as they do of a run that failed.
    const kept = { ...requests, drop: async () => undefined }
    await using world = await startWorld(stack, { functions: { requests: kept } })
    const { did } = world.account
    const reference = await requests.put({ did, records: documents(2) }, 'mine')
    await requests.put({ did, records: documents(3) }, 'another')
    for (const change of [{}, { recordCount: 3 }, { bytes: 1 }, { id: 'another' }, { id: 'nobody' }])
      await world.send({ did, reference: { ...reference, ...change } })
    await world.inngest.idle()
    const runs = world.inngest.runs().filter(({ functionId }) => functionId.endsWith('write-records-to-pds'))
    expect(runs.map(({ status }) => status)).toEqual(['Completed', 'Failed', 'Failed', 'Failed', 'Failed'])
    expect(world.pds.commits).toBe(1)
  })

  test('a worker without a store says so', async () => {
    await using world = await startWorld(stack)
    await expect(world.write(large(), { requests })).rejects.toThrow(/this worker has no store/)
    expect(world.pds.commits).toBe(0)
  })

  test('a row that nobody came back for is swept at the next put, after 30 days', async () => {
    await requests.put({ did: 'did:plc:a', records: documents(1) }, 'old')
    await requests.put({ did: 'did:plc:a', records: documents(1) }, 'young')
    await sql(`update write_requests set created_at = now() - interval '31 days' where id = 'old'`)
    await sql(`update write_requests set created_at = now() - interval '29 days' where id = 'young'`)
    await requests.put({ did: 'did:plc:a', records: documents(1) }, 'new')
    expect((await rows()).map(({ id }) => id)).toEqual(['new', 'young'])
  })

  test('of a run that failed the records stay, and a row says why', async () => {
    await using world = await startWorld(stack, { password: 'wrong', functions: { requests } })
    const failure = await world.write(large(), { requests }).catch((error: unknown) => error)
    await world.inngest.idle()
    expect(await rows()).toHaveLength(1)
    const [run] = world.inngest.runs()
    const failures = await sql('select * from write_failures')
    expect(failures).toMatchObject([
      { run_id: run?.id, did: world.account.did, run: 'test', error: 'SessionError' },
    ])
    expect(failures[0]?.message).toBe((failure as Error).message)
    expect(String(failures[0]?.hint)).toContain('--dry-run')
    expect(JSON.stringify(failures)).not.toContain('wrong')
  })
})

describe('a send that is repeated', () => {
  test('under the same attempt follows the run that lives, and starts none', async () => {
    const gate = Promise.withResolvers<void>()
    await using world = await startWorld(stack, { functions: { requests } })
    world.pds.onTaken = () => gate.promise
    const attempt = newAttempt()
    const stop = new AbortController()
    const records = large()
    const crashed = world.write(records, { requests, attempt, signal: stop.signal }).catch(String)
    await expect.poll(() => world.pds.commits, { timeout: 10_000 }).toBe(1)
    stop.abort(new Error('the sender crashed'))
    expect(await crashed).toContain('the sender crashed')
    // What a caller keeps is JSON.
    const again = world.write(records, { requests, attempt: JSON.parse(JSON.stringify(attempt)) })
    gate.resolve()
    expect(await again).toMatchObject({ success: true, recordsWritten: 300, batchCount: 2 })
    expect(world.inngest.runs()).toHaveLength(1)
    expect(world.pds).toMatchObject({ commits: 2, points: 900 })
  })

  test('with other records is another event', async () => {
    await using world = await startWorld(stack)
    const attempt = newAttempt()
    expect(await world.write(documents(2), { attempt })).toMatchObject({ recordsWritten: 2 })
    expect(await world.write(documents(3), { attempt })).toMatchObject({
      recordsWritten: 1,
      outcomes: { same: 2 },
    })
    expect(world.inngest.runs()).toHaveLength(2)
  })

  test('finds a failure that happened meanwhile; a new attempt is a new run', async () => {
    let password = 'wrong'
    await using world = await startWorld(stack, { passwordOf: () => password })
    const attempt = newAttempt()
    await expect(world.write(documents(2), { attempt })).rejects.toMatchObject({ name: 'SessionError' })
    await expect(world.write(documents(2), { attempt })).rejects.toMatchObject({ name: 'SessionError' })
    password = world.account.password
    expect(await world.write(documents(2), { attempt: newAttempt() })).toMatchObject({ recordsWritten: 2 })
    expect(writes(world)).toHaveLength(2)
  })

  test('that Inngest drops, and knows under no name, is sent as a new one', async () => {
    await using world = await startWorld(stack)
    const attempt = newAttempt()
    await world.write(documents(2), { attempt })
    // Another time is another seed: the server has seen the id, and calls the event by another name.
    const later = { ...attempt, startedAtMs: attempt.startedAtMs + 1 }
    expect(await world.write(documents(2), { attempt: later, startTimeoutMs: 200 })).toMatchObject({
      outcomes: { same: 2 },
    })
    expect(writes(world)).toHaveLength(2)
    expect(world.pds.commits).toBe(1)
  })
})

function writes(world: World) {
  return world.inngest.runs().filter(({ functionId }) => functionId.endsWith('write-records-to-pds'))
}

/** Notes how many records each read gave. */
function counting(seen: number[]): RequestStore {
  return {
    ...requests,
    async get(reference, did) {
      const records = await requests.get(reference, did)
      seen.push(records?.length ?? 0)
      return records
    },
  }
}
