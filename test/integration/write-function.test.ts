import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { EXIT, ReplayError } from '../../src/errors.ts'
import { WRITE_RECORDS_EVENT as EVENT, writeLocally } from '../../src/inngest/index.ts'
import { BlobFinder } from '../../src/pds/blobs/finder.ts'
import { type Stack, startStack } from '../../src/stack/index.ts'
import { blobOf, pictureOf } from '../../src/stack/scenario/images.ts'
import { bodiesOf, COLLECTION, documents, startWorld } from './write-world.ts'

let stack: Stack

beforeAll(async () => {
  stack = await startStack()
})

afterAll(async () => {
  await stack?.[Symbol.asyncDispose]()
})

describe('records written through Inngest', () => {
  test('450 records make three commits, and a repeated event none', async () => {
    await using world = await startWorld(stack)
    const records = documents(450)
    const progress: number[] = []
    const first = await world.write(records, { onProgress: ({ recordsDone }) => progress.push(recordsDone) })

    expect(first).toMatchObject({ success: true, recordsWritten: 450, batchCount: 3, notWritten: [] })
    expect(progress).toEqual([450])
    expect(world.pds.commits).toBe(3)
    expect(await world.bodies()).toEqual(bodiesOf(records))
    expect(world.steps()).toEqual(['verify-session', 'plan', 'write-batch-1'])

    const stored = JSON.stringify([...(world.inngest.runs()[0]?.finished.values() ?? [])])
    for (const secret of [world.account.password, 'Bearer', 'Jwt', 'Document 7']) {
      expect(stored).not.toContain(secret)
    }

    const before = await world.latestCommit()
    const again = await world.write(records)
    expect(again).toMatchObject({ success: true, recordsWritten: 0, batchCount: 0, outcomes: { same: 450 } })
    expect(await world.latestCommit()).toEqual(before)
  })

  test('what does not fit one event goes out as several, in order', async () => {
    await using world = await startWorld(stack)
    const records = documents(40, { textContent: 'x'.repeat(10_000) })
    const progress: number[] = []
    const summary = await world.write(records, {
      onProgress: ({ recordsDone }) => progress.push(recordsDone),
    })
    expect(summary).toMatchObject({ success: true, recordsWritten: 40, batchCount: 2 })
    expect(progress).toEqual([25, 40])
    const runs = world.inngest.runs()
    expect(runs).toHaveLength(2)
    for (const run of runs) expect(JSON.stringify(run.event).length).toBeLessThan(262_144)
    expect(await world.bodies()).toEqual(bodiesOf(records))
  })

  test('a record that was made again is overwritten, kept or refused, as asked', async () => {
    await using world = await startWorld(stack)
    const [old, lost] = [documents(1, { title: 'made again' }), documents(2)]
    await world.write(old)

    const kept = await world.write(lost, { onConflict: 'keep' })
    expect(kept).toMatchObject({ success: true, recordsWritten: 1, outcomes: { kept: 1, created: 1 } })
    expect(kept.notWritten).toMatchObject([{ rkey: 'doc-0', outcome: 'kept' }])

    const refused = await world.write(lost, { onConflict: 'fail' })
    expect(refused).toMatchObject({ success: false, recordsWritten: 0, outcomes: { refused: 1, same: 1 } })

    const overwritten = await world.write(lost)
    expect(overwritten).toMatchObject({ success: true, recordsWritten: 1, outcomes: { overwritten: 1 } })
    expect(await world.bodies()).toEqual(bodiesOf(lost))
  })

  test('a record that cannot be written is named, and costs only itself', async () => {
    await using world = await startWorld(stack)
    const [good] = documents(1)
    if (good === undefined) throw new Error('no document')
    const bad = { ...good, rkey: 'bad', record: { ...good.record, wordCount: 1.5 } }
    const summary = await world.write([good, bad])
    expect(summary).toMatchObject({ success: false, recordsWritten: 1, outcomes: { refused: 1 } })
    expect(summary.notWritten).toMatchObject([{ rkey: 'bad', outcome: 'refused' }])
    expect(summary.notWritten[0]?.reason).toContain('wordCount')
  })

  test('blobs come before the records that need them, from one supply; without its blob a record is refused', async () => {
    const opened: string[] = []
    const [picture, lost] = [pictureOf('found'), pictureOf('lost')]
    const source = {
      name: 'a folder',
      fetch: async (cid: string) => (cid === picture.cid ? picture.bytes : undefined),
    }
    const blobs = async (did: string) => {
      opened.push(did)
      return { isServed: async () => new Set<string>(), finder: new BlobFinder(did, [source]) }
    }
    await using world = await startWorld(stack, { functions: { blobs, stepBudgetMs: 0 } })
    const records = documents(250, { coverImage: blobOf(picture) })
    const without = documents(1, { coverImage: blobOf(lost) }).map((one) => ({ ...one, rkey: 'without' }))
    const summary = await world.write([...records, ...without])
    expect(summary).toMatchObject({ success: false, recordsWritten: 250, outcomes: { refused: 1 } })
    expect(summary.notWritten).toMatchObject([{ rkey: 'without', refusal: 'blob-missing' }])
    expect(world.steps()).toContain('write-batch-2')
    expect(opened).toEqual([world.account.did])
    expect(await world.bodies()).toEqual(bodiesOf(records))
    const { did, pdsUrl } = world.account
    const served = await fetch(`${pdsUrl}/xrpc/com.atproto.sync.getBlob?did=${did}&cid=${picture.cid}`)
    expect(Buffer.from(await served.arrayBuffer())).toEqual(Buffer.from(picture.bytes))
  })

  test('with a dead session nothing is written, and the client says why', async () => {
    const lines: string[] = []
    await using world = await startWorld(stack, { password: 'wrong', onLog: (line) => lines.push(line) })
    const before = await world.latestCommit()
    const failure = await world.write(documents(3)).catch((error: unknown) => error)
    expect(failure).toMatchObject({ name: 'SessionError', exitCode: 2 })
    expect(String(failure)).toMatch(/no live session.*app password/s)
    expect(String(failure)).not.toContain('wrong')
    expect(await world.latestCommit()).toEqual(before)
    expect(world.steps()).toEqual(['verify-session'])
    await world.inngest.idle()
    expect(lines).toHaveLength(1)
    expect(lines[0]).toContain(`records of ${world.account.did} were not all written`)
  })

  test('event data that does not fit fails at once and names the path', async () => {
    await using world = await startWorld(stack)
    const [document] = documents(1)
    await world.send({ did: world.account.did, records: [document, { collection: COLLECTION, record: {} }] })
    await world.inngest.idle()
    const [run] = world.inngest.runs()
    expect(run).toMatchObject({ status: 'Failed', callCount: 1 })
    expect(run?.output).toMatchObject({ message: expect.stringContaining('data.records[1].rkey') })
    expect(world.pds.commits).toBe(0)
  })
})

describe('faults of the PDS', () => {
  test('an answer that is lost after the batch landed costs no second commit', async () => {
    await using world = await startWorld(stack)
    world.pds.next = ['lose', 'pass']
    const records = documents(250)
    const summary = await world.write(records)
    expect(summary).toMatchObject({ success: true, recordsWritten: 250, batchCount: 2, notWritten: [] })
    expect(world.pds.commits).toBe(2)
    expect(await world.bodies()).toEqual(bodiesOf(records))
  })

  test('a step that dies after its commit is run again and commits nothing', async () => {
    let isDead = false
    await using world = await startWorld(stack, {
      wrap: (provider) => async (did) => {
        const fetch = await provider(did)
        return async (path, init) => {
          const answer = await fetch(path, init)
          if (isDead || !path.includes('applyWrites')) return answer
          isDead = true
          // Not an answer that was lost, which the step would look into by itself.
          throw new WorkerDied('the worker died')
        }
      },
    })
    const records = documents(250)
    const summary = await world.write(records)
    expect(world.retries).toHaveLength(1)
    expect(summary).toMatchObject({ success: true, recordsWritten: 250, batchCount: 2 })
    expect(summary.outcomes).toMatchObject({ created: 250, same: 0 })
    expect(world.pds.commits).toBe(2)
    expect(await world.bodies()).toEqual(bodiesOf(records))
  })

  test('a rate limit is waited out for as long as the PDS says', async () => {
    await using world = await startWorld(stack)
    world.pds.next = ['limit']
    const startMs = Date.now()
    const summary = await world.write(documents(3))
    expect(summary).toMatchObject({ success: true, recordsWritten: 3, batchCount: 1 })
    expect(Date.now() - startMs).toBeGreaterThan(1000)
    // A sleep of the run between two steps, and no retry of one: a worker may be gone meanwhile.
    expect(world.retries).toEqual([])
    expect(world.steps()).toEqual([
      'verify-session',
      'plan',
      'write-batch-1',
      'wait-after-1',
      'write-batch-2',
    ])
    expect(world.pds.commits).toBe(1)
  })
})

describe('the served endpoint', () => {
  test('in cloud mode answers signed requests only', async () => {
    await using world = await startWorld(stack, { signingKey: `signkey-test-${'ab'.repeat(32)}` })
    const body = JSON.stringify({
      event: { name: EVENT, data: {} },
      events: [],
      steps: {},
      ctx: {},
      version: 2,
    })
    const headers = { 'content-type': 'application/json', 'x-inngest-server-kind': 'dev' }
    const url = `${world.url}?fnId=firehose-replay-write-records-to-pds&stepId=step`
    for (const init of [
      { method: 'POST', headers, body },
      { method: 'POST', headers: { ...headers, 'x-inngest-signature': 't=1&s=00' }, body },
      { method: 'PUT', headers, body: '{}' },
      { method: 'PUT', headers: { ...headers, 'x-inngest-sync-kind': 'in_band' }, body: '{}' },
    ]) {
      const response = await fetch(url, init)
      expect(response.status).toBe(401)
    }
    expect(await world.write(documents(2))).toMatchObject({ success: true, recordsWritten: 2 })
  })

  test('has a health check, nothing else, and a limit', async () => {
    await using world = await startWorld(stack)
    const { origin } = new URL(world.url)
    expect((await fetch(`${origin}/healthz`)).status).toBe(200)
    expect((await fetch(`${origin}/elsewhere`)).status).toBe(404)
    const large = await fetch(world.url, { method: 'POST', body: 'x'.repeat(9 * 1024 ** 2) }).catch(
      () => 'cut off',
    )
    expect(large === 'cut off' || (large instanceof Response && large.status === 413)).toBe(true)
  })
})

describe('the client', () => {
  test('says that Inngest cannot be reached, and which setting names it', async () => {
    await using world = await startWorld(stack)
    await world.inngest[Symbol.asyncDispose]()
    const failure = await world.write(documents(1)).catch((error: unknown) => error)
    expect(failure).toMatchObject({
      name: 'UnavailableError',
      exitCode: 75,
      hint: expect.stringContaining('INNGEST_BASE_URL'),
    })
  })

  test('says that no function started', async () => {
    await using world = await startWorld(stack, { isRegistered: false })
    const failure = await world.write(documents(1), { startTimeoutMs: 200 }).catch((error: unknown) => error)
    expect(failure).toMatchObject({
      name: 'UnavailableError',
      message: expect.stringContaining('no function'),
    })
  })

  test('says that a key is wrong', async () => {
    const signingKey = `signkey-test-${'ab'.repeat(32)}`
    await using world = await startWorld(stack, { signingKey })
    await expect(world.write(documents(1), { eventKey: 'wrong' })).rejects.toMatchObject({
      name: 'ConfigError',
      hint: expect.stringContaining('INNGEST_EVENT_KEY'),
    })
    await expect(
      world.write(documents(1), { signingKey: `signkey-test-${'cd'.repeat(32)}` }),
    ).rejects.toMatchObject({ name: 'ConfigError', hint: expect.stringContaining('INNGEST_SIGNING_KEY') })
  })

  test('stops waiting when told to', async () => {
    await using world = await startWorld(stack, { isRegistered: false })
    const signal = AbortSignal.timeout(200)
    await expect(world.write(documents(1), { signal })).rejects.toMatchObject({ name: 'TimeoutError' })
  })
})

describe('the same without Inngest', () => {
  test('450 records make three commits, and a second call none', async () => {
    await using world = await startWorld(stack)
    const records = documents(450)
    const progress: number[] = []
    const job = {
      did: world.account.did,
      records,
      sessionProvider: world.sessionProvider,
      network: world.network,
    }
    const first = await writeLocally({ ...job, onProgress: ({ recordsDone }) => progress.push(recordsDone) })
    expect(first).toMatchObject({ success: true, recordsWritten: 450, batchCount: 3 })
    expect(progress).toEqual([0, 200, 400, 450])
    expect(world.pds.commits).toBe(3)
    expect(await writeLocally(job)).toMatchObject({ success: true, recordsWritten: 0, batchCount: 0 })
    expect(world.pds.commits).toBe(3)
  })

  test('a call that was stopped is taken up by the next', async () => {
    await using world = await startWorld(stack)
    const stop = new AbortController()
    const records = documents(450)
    const job = {
      did: world.account.did,
      records,
      sessionProvider: world.sessionProvider,
      network: world.network,
    }
    const onProgress = ({ recordsDone }: { recordsDone: number }) => {
      if (recordsDone === 200) stop.abort(new Error('enough'))
    }
    await expect(writeLocally({ ...job, onProgress, signal: stop.signal })).rejects.toThrow('enough')
    expect(world.pds.commits).toBe(1)
    expect(await writeLocally(job)).toMatchObject({ recordsWritten: 250, outcomes: { same: 200 } })
    expect(await world.bodies()).toEqual(bodiesOf(records))
  })

  test('a dead session throws before anything is written', async () => {
    await using world = await startWorld(stack, { password: 'wrong' })
    const { sessionProvider, network } = world
    const job = { did: world.account.did, records: documents(1), sessionProvider, network }
    await expect(writeLocally(job)).rejects.toMatchObject({ name: 'SessionError' })
    expect(world.pds.commits).toBe(0)
  })
})

class WorkerDied extends ReplayError {
  override readonly exitCode = EXIT.tryLater
}
