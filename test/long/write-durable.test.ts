/** The write function driven over HTTP through whatever ends a step or a run, with and without checkpoints. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { setTimeout as wait } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { EXIT, ReplayError, UnavailableError } from '../../src/errors.ts'
import { createFetch } from '../../src/network/fetch.ts'
import { createHostQueues } from '../../src/network/host-queues.ts'
import { createIdentity } from '../../src/network/identity.ts'
import { createXrpc, type Xrpc } from '../../src/network/xrpc.ts'
import { BlobFinder } from '../../src/pds/blobs/finder.ts'
import { servedBlobs } from '../../src/pds/blobs/served.ts'
import type { BlobSupplier } from '../../src/pds/blobs/supply.ts'
import type { SessionProvider } from '../../src/pds/session.ts'
import type { RecordToWrite } from '../../src/pds/write.ts'
import { freePort } from '../../src/stack/free-port.ts'
import { type Stack, startStack } from '../../src/stack/index.ts'
import { blobOf, pictureOf } from '../../src/stack/scenario/images.ts'
import { bodiesOf, COLLECTION, documents, startWorld, type World } from '../integration/write-world.ts'

let stack: Stack

beforeAll(async () => {
  stack = await startStack()
})

afterAll(async () => {
  await stack?.[Symbol.asyncDispose]()
})

describe.each([{ checkpointing: false }, { checkpointing: true }])(
  'with checkpointing $checkpointing',
  ({ checkpointing }) => {
    test('a step takes as many batches as its time holds', async () => {
      const records = documents(800)
      await using long = await startWorld(stack, { checkpointing })
      expect(await long.write(records)).toMatchObject({ success: true, recordsWritten: 800, batchCount: 4 })
      expect(long.steps()).toEqual(['verify-session', 'plan', 'write-batch-1'])
      expect(long.pds).toMatchObject({ commits: 4, points: 2400 })
      expect(long.inngest.runs()[0]?.callCount).toBe(checkpointing ? 1 : 4)

      await using short = await startWorld(stack, { checkpointing, functions: { stepBudgetMs: 0 } })
      expect(await short.write(records)).toMatchObject({ success: true, recordsWritten: 800, batchCount: 4 })
      expect(short.steps().slice(2)).toEqual([1, 2, 3, 4].map((step) => `write-batch-${step}`))
      expect(short.pds).toMatchObject({ commits: 4, points: 2400 })
      expect(await short.bodies()).toEqual(bodiesOf(records))
    })

    test('a step that dies after some of its commits makes none of them again, and tries to make none', async () => {
      await using world = await startWorld(stack, { checkpointing, wrap: dyingAfter(3) })
      const records = documents(800)
      const summary = await world.write(records)
      expect(world.retries).toHaveLength(1)
      expect(summary).toMatchObject({ success: true, recordsWritten: 800, batchCount: 4, notWritten: [] })
      expect(summary.outcomes).toMatchObject({ created: 800, same: 0 })
      expect(world.pds).toMatchObject({ commits: 4, points: 2400 })
      expect(await world.bodies()).toEqual(bodiesOf(records))
    })

    test('a host that goes down in the middle of a step costs none of the tries that are for a host that stays down', async () => {
      const down = { after: 2, isOver: () => false }
      await using world = await startWorld(stack, {
        checkpointing,
        wrap: (provider) => downAfter(provider, down),
      })
      down.isOver = () => world.steps().includes('write-batch-1')
      const records = documents(800)
      expect(await world.write(records)).toMatchObject({ success: true, recordsWritten: 800, batchCount: 4 })
      expect(world.retries).toEqual([])
      expect(world.steps().slice(2)).toEqual(['write-batch-1', 'write-batch-2'])
      expect(world.pds).toMatchObject({ commits: 4, points: 2400 })
      expect(await world.bodies()).toEqual(bodiesOf(records))
    })

    test('blobs that take longer than a step are uploaded over several, each within its time', async () => {
      const { records, blobs } = withPictures(40)
      const uploads = countedUploads({ delayMs: UPLOAD_MS })
      const spans = timedSteps()
      await using world = await startWorld(stack, {
        checkpointing,
        wrap: uploads.wrap,
        functions: { blobs, stepBudgetMs: STEP_MS },
        executor: spans.executor,
      })
      expect(await world.write(records)).toMatchObject({ success: true, recordsWritten: 40, notWritten: [] })
      // All of them in one step would take ten times as long as an upload, four at a time.
      const written = spans.of('write-batch-')
      expect(written.length).toBeGreaterThan(2)
      expect(Math.max(...written)).toBeLessThan(STEP_MS + UPLOAD_MS + SLACK_MS)
      expect(uploads.count()).toBe(40)
      expect(await world.bodies()).toEqual(bodiesOf(records))
    })

    test('of a step that is killed, what it had written stays, and is not uploaded again', async () => {
      const { records, blobs } = withPictures(40)
      const uploads = countedUploads({ delayMs: UPLOAD_MS, dieAtCommit: 2 })
      await using world = await startWorld(stack, {
        checkpointing,
        wrap: uploads.wrap,
        functions: { blobs, stepBudgetMs: STEP_MS },
      })
      const summary = await world.write(records)
      expect(world.retries).toHaveLength(1)
      expect(summary).toMatchObject({ success: true, recordsWritten: 40, outcomes: { created: 40, same: 0 } })
      expect(summary.batchCount).toBe(world.pds.commits)
      expect(uploads.count()).toBe(40)
      expect(world.pds.points).toBe(120)
      expect(await world.bodies()).toEqual(bodiesOf(records))
    })

    test('uploads of a step that throws are counted, and so are those of the run before', async () => {
      const { records, blobs } = withPictures(5)
      const uploads = countedUploads({ dieAtCommit: 1 })
      await using world = await startWorld(stack, {
        checkpointing,
        wrap: uploads.wrap,
        functions: { blobs },
      })
      await world.write(records.slice(0, 3))
      expect(world.retries).toHaveLength(1)
      await world.write(records.slice(3))
      const [, run] = world.inngest.runs()
      const state = { uploads: { windows: [{ spent: 5 }] }, budget: { windows: [{ spent: 15 }, {}] } }
      expect([...(run?.finished.values() ?? [])].at(-1)).toMatchObject({ data: { state } })
    })

    test('a process that is killed after the host took a commit is started again and goes on', async () => {
      await using world = await startWorld(stack, { isRegistered: false })
      const port = await freePort()
      const startWorker = () => spawnWorker(world, { port, checkpointing })
      let worker = await startWorker()
      try {
        await world.inngest.register(`http://127.0.0.1:${port}/api/inngest`)
        world.pds.onTaken = async () => {
          if (world.pds.commits !== 2) return
          const ended = once(worker, 'exit')
          worker.kill('SIGKILL')
          await ended
          worker = await startWorker()
        }
        const records = documents(800)
        const summary = await world.write(records)
        expect(summary).toMatchObject({ success: true, recordsWritten: 800, batchCount: 4, notWritten: [] })
        expect(world.pds).toMatchObject({ commits: 4, points: 2400 })
        expect(await world.bodies()).toEqual(bodiesOf(records))
        expect(world.steps()).toEqual(['verify-session', 'plan', 'write-batch-1'])
      } finally {
        worker.kill('SIGKILL')
      }
    })

    test('what says when is tried again then', async () => {
      let asked = 0
      const network = networkWith((xrpc) => ({
        async getLatestCommit(pdsUrl, did) {
          if (asked++ === 0)
            throw new UnavailableError('The host limits requests.', { retryAtMs: Date.now() + 90_000 })
          return xrpc.getLatestCommit(pdsUrl, did)
        },
      }))
      const waits: number[] = []
      const delay = async (ms: number) => {
        waits.push(ms)
      }
      await using world = await startWorld(stack, {
        checkpointing,
        functions: { network },
        executor: { delay },
      })
      expect(await world.write(documents(2))).toMatchObject({ success: true, recordsWritten: 2 })
      expect(waits).toHaveLength(1)
      expect(waits[0]).toBeGreaterThan(80_000)
      expect(waits[0]).toBeLessThanOrEqual(91_000)
    })

    test('what stays broken ends the run after five tries, and whoever asked is told what the log says', async () => {
      const lines: string[] = []
      const network = networkWith(() => ({
        getLatestCommit: () => Promise.reject(new UnavailableError('The host is on fire.')),
      }))
      await using world = await startWorld(stack, {
        checkpointing,
        functions: { network },
        onLog: (line) => lines.push(line),
      })
      const failure = await world.write(documents(2)).catch((error: unknown) => error)
      await world.inngest.idle()
      expect(world.retries).toHaveLength(4)
      expect(failure).toMatchObject({ name: 'RestoreError', exitCode: EXIT.failed })
      expect(String(failure)).toContain('The host is on fire.')
      expect(world.inngest.runs().map(({ status }) => status)).toEqual(['Failed', 'Completed'])
      expect(lines).toHaveLength(1)
      expect(lines[0]).toContain((failure as ReplayError).message)
      expect(lines[0]).toContain((failure as ReplayError).hint)
      expect(world.pds.commits).toBe(0)
    })

    test('two runs of one account interleave without harm', async () => {
      await using world = await startWorld(stack, { checkpointing, functions: { stepBudgetMs: 0 } })
      const records = documents(800)
      const [first, second] = await Promise.all([world.write(records), world.write(records)])
      expect(world.inngest.runs()).toHaveLength(2)
      for (const summary of [first, second]) expect(summary).toMatchObject({ success: true, notWritten: [] })
      // Each commit was made once, and no call was refused: the one that comes second sees it.
      expect(world.pds).toMatchObject({ commits: 4, points: 2400 })
      expect(await world.bodies()).toEqual(bodiesOf(records))
    })

    test('a collection that the worker may not write ends the run before a session is opened', async () => {
      let sessions = 0
      const wrap = (provider: SessionProvider): SessionProvider => {
        return (did) => {
          sessions++
          return provider(did)
        }
      }
      const writableCollections = [COLLECTION]
      await using world = await startWorld(stack, { checkpointing, wrap, functions: { writableCollections } })
      const [document] = documents(1)
      if (document === undefined) throw new Error('no document')
      const profile = {
        collection: 'app.bsky.actor.profile',
        rkey: 'self',
        record: { displayName: 'Mallory' },
      }
      const failure = await world.write([document, profile]).catch((error: unknown) => error)
      expect(String(failure)).toMatch(/app\.bsky\.actor\.profile, which this worker does not write/)
      expect(world.retries).toEqual([])
      expect([sessions, world.pds.commits]).toEqual([0, 0])
      expect(await world.write([document])).toMatchObject({ success: true, recordsWritten: 1 })
    })
  },
)

class WorkerDied extends ReplayError {
  override readonly exitCode = EXIT.tryLater
}

/** The worker dies when the host has made so many commits: what it did in that step is lost to it. */
function dyingAfter(commits: number): (provider: SessionProvider) => SessionProvider {
  let count = 0
  return (provider) => async (did) => {
    const fetch = await provider(did)
    return async (path, init) => {
      const answer = await fetch(path, init)
      if (path.includes('applyWrites') && ++count === commits) throw new WorkerDied('the worker died')
      return answer
    }
  }
}

/** Connections break from some commit on, until it is over. */
function downAfter(
  provider: SessionProvider,
  down: { after: number; isOver: () => boolean },
): SessionProvider {
  let count = 0
  return async (did) => {
    const fetch = await provider(did)
    return async (path, init) => {
      if (path.includes('applyWrites') && ++count > down.after && !down.isOver())
        throw new TypeError('fetch failed')
      return fetch(path, init)
    }
  }
}

const UPLOAD_MS = 300
const STEP_MS = 600
/** Of reading the repo, the commit and what Inngest does. */
const SLACK_MS = 900

/** Records with a picture each, and where these are found. */
function withPictures(count: number): { records: RecordToWrite[]; blobs: BlobSupplier } {
  const pictures = Array.from({ length: count }, (_, index) => pictureOf(`durable-${index}`))
  const bytes = new Map(pictures.map((picture) => [picture.cid, picture.bytes]))
  const records = documents(count).map((one, index) => {
    const picture = pictures[index]
    return picture === undefined ? one : { ...one, record: { ...one.record, coverImage: blobOf(picture) } }
  })
  const source = { name: 'a folder', fetch: async (cid: string) => bytes.get(cid) }
  const network = { fetch: createFetch({ allowLocalhost: true }), queues: createHostQueues() }
  const blobs = async (did: string) => {
    const { pdsUrl } = await createIdentity({ plcUrl: stack.plcUrl, allowLocalhost: true }).resolve(did)
    return { isServed: servedBlobs(pdsUrl, did, network), finder: new BlobFinder(did, [source]) }
  }
  return { records, blobs }
}

/** Each upload takes so long. The worker dies when the host has made so many commits. */
function countedUploads({ delayMs = 0, dieAtCommit = 0 }: { delayMs?: number; dieAtCommit?: number }) {
  let count = 0
  const dying = dyingAfter(dieAtCommit)
  const wrap = (provider: SessionProvider): SessionProvider =>
    dying(async (did) => {
      const fetch = await provider(did)
      return async (path, init) => {
        if (path.includes('uploadBlob')) {
          count++
          await wait(delayMs)
        }
        return fetch(path, init)
      }
    })
  return { wrap, count: () => count }
}

/** How long each step took, from the end of the one before. */
function timedSteps() {
  const ends: { step: string; atMs: number }[] = []
  const trace = (event: { kind: string; step?: string | undefined }) => {
    if (event.kind === 'step-finished') ends.push({ step: event.step ?? '', atMs: performance.now() })
  }
  const of = (prefix: string): number[] =>
    ends.flatMap(({ step, atMs }, index) =>
      step.startsWith(prefix) ? [atMs - (ends[index - 1]?.atMs ?? atMs)] : [],
    )
  return { executor: { trace }, of }
}

function networkWith(change: (xrpc: Xrpc) => Partial<Xrpc>): World['network'] {
  const xrpc = createXrpc({ fetch: createFetch({ allowLocalhost: true }) })
  return {
    identity: createIdentity({ plcUrl: stack.plcUrl, allowLocalhost: true }),
    xrpc: { ...xrpc, ...change(xrpc) },
  }
}

async function spawnWorker(
  { account, pds, inngest }: World,
  { port, checkpointing }: { port: number; checkpointing: boolean },
): Promise<ChildProcess> {
  const worker = spawn(
    process.execPath,
    [fileURLToPath(new URL('../integration/write-worker.ts', import.meta.url))],
    {
      env: {
        PORT: String(port),
        PLC_URL: stack.plcUrl,
        PDS_URL: pds.url,
        PASSWORD: account.password,
        INNGEST_URL: inngest.baseUrl,
        ...(checkpointing ? { CHECKPOINTING: '1' } : {}),
      },
      stdio: ['ignore', 'pipe', 'inherit'],
    },
  )
  await once(worker.stdout, 'data')
  return worker
}
