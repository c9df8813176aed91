import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { appendFile, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Inngest, type InngestFunction, NonRetriableError, RetryAfterError } from 'inngest'
import { serve } from 'inngest/node'
import { afterEach, describe, expect, test } from 'vitest'
import { Cleanup } from '../../src/stack/cleanup.ts'
import { freePort } from '../../src/stack/free-port.ts'
import {
  type DelayReason,
  type EmbeddedInngest,
  type InngestOptions,
  startInngest,
  type TraceEvent,
} from '../../src/stack/inngest/index.ts'
import { listenOnLoopback } from '../../src/stack/listen.ts'

const SIGNING_KEY = 'signkey-test-0123456789abcdef0123456789abcdef'

const silent = () => undefined

let cleanup = new Cleanup()
afterEach(async () => {
  await cleanup[Symbol.asyncDispose]()
  cleanup = new Cleanup()
})

interface Fixture {
  inngest: EmbeddedInngest
  client: Inngest
  serveUrl: string
  /** Waits that the executor was asked for, none of which took time. */
  waits: [number, DelayReason][]
  trace: TraceEvent[]
  send(data?: Record<string, string>, id?: string): Promise<string>
  stopApp(): Promise<void>
}

/** An executor whose waits take no time, and an app with the functions that `define` makes. */
async function fixture(
  define: (client: Inngest) => InngestFunction.Any[],
  options: InngestOptions = {},
): Promise<Fixture> {
  const waits: [number, DelayReason][] = []
  const trace: TraceEvent[] = []
  const inngest = cleanup.use(
    await startInngest({
      delay: async (ms, reason) => {
        waits.push([ms, reason])
      },
      now: () => 1_800_000_000_000,
      trace: (event) => trace.push(event),
      ...options,
    }),
  )
  const client = new Inngest({
    id: 'app',
    baseUrl: inngest.baseUrl,
    eventKey: inngest.eventKey,
    ...(options.signingKey === undefined
      ? { isDev: true }
      : { isDev: false, signingKey: options.signingKey }),
    logger: { info: silent, warn: silent, error: silent, debug: silent },
  })
  const server = createServer(serve({ client, functions: define(client) }))
  const app = cleanup.use(new Cleanup())
  const serveUrl = `http://127.0.0.1:${await listenOnLoopback(server, app)}/api/inngest`
  await inngest.register(serveUrl)
  return {
    inngest,
    stopApp: () => app[Symbol.asyncDispose](),
    client,
    serveUrl,
    waits,
    trace,
    async send(data = {}, id) {
      const { ids } = await client.send({ name: 'test/go', data, ...(id === undefined ? {} : { id }) })
      return ids[0] ?? ''
    },
  }
}

const trigger = { triggers: [{ event: 'test/go' }] }

describe.each([{ checkpointing: false }, { checkpointing: true }])(
  'with checkpointing $checkpointing',
  (mode) => {
    test('runs plain steps, each once, and hands their results on', async () => {
      const calls: string[] = []
      const { inngest, send, trace } = await fixture(
        (client) => [
          client.createFunction({ id: 'plain', ...trigger }, async ({ event, step }) => {
            const one = await step.run('one', () => calls.push('one'))
            const two = await step.run('two', () => calls.push('two'))
            const three = await step.run('three', () => calls.push('three'))
            const four = await step.run('four', () => ({ sum: one + two + three }))
            return { who: event.data.who, ...four }
          }),
        ],
        mode,
      )
      await send({ who: 'alice' })
      await inngest.idle()
      expect(inngest.runs()).toMatchObject([{ status: 'Completed', output: { who: 'alice', sum: 6 } }])
      expect(calls).toEqual(['one', 'two', 'three'])
      expect(inngest.runs()[0]?.callCount).toBe(mode.checkpointing ? 1 : 5)
      const steps = trace.flatMap((event) => (event.kind === 'step-finished' ? [event.step] : []))
      expect(steps).toEqual(['one', 'two', 'three', 'four'])
    })

    test('waits as long as a RetryAfterError says, and counts the attempts', async () => {
      const attempts: number[] = []
      const { inngest, send, waits } = await fixture(
        (client) => [
          client.createFunction({ id: 'later', retries: 3, ...trigger }, async ({ step, attempt }) => {
            await step.run('before', () => null)
            return step.run('limited', () => {
              attempts.push(attempt)
              if (attempts.length === 1) throw new RetryAfterError('slow down', '90s')
              return 'through'
            })
          }),
        ],
        mode,
      )
      await send()
      await inngest.idle()
      expect(inngest.runs()).toMatchObject([{ status: 'Completed', output: 'through' }])
      expect(attempts).toEqual([0, 1])
      expect(waits).toEqual([[90_000, 'retry']])
    })

    test('retries a flaky step with growing pauses', async () => {
      let tries = 0
      const { inngest, send, waits } = await fixture(
        (client) => [
          client.createFunction({ id: 'flaky', retries: 3, ...trigger }, ({ step }) =>
            step.run('flaky', () => {
              if (++tries < 3) throw new Error('not yet')
              return tries
            }),
          ),
        ],
        mode,
      )
      await send()
      await inngest.idle()
      expect(inngest.runs()).toMatchObject([{ status: 'Completed', output: 3 }])
      expect(waits).toEqual([
        [100, 'retry'],
        [200, 'retry'],
      ])
    })

    test('gives a step that keeps failing back to the function, then to onFailure', async () => {
      let tries = 0
      const failures: unknown[] = []
      const { inngest, send } = await fixture(
        (client) => [
          client.createFunction(
            {
              id: 'doomed',
              retries: 2,
              ...trigger,
              onFailure: async ({ error, event, step }) => {
                await step.run('note', () => failures.push([error.message, event.data.event.data]))
              },
            },
            ({ step }) =>
              step.run('doomed', () => {
                tries++
                throw new Error('broken for good')
              }),
          ),
        ],
        mode,
      )
      await send({ who: 'alice' })
      await inngest.idle()
      expect(tries).toBe(3)
      expect(inngest.runs()).toMatchObject([
        { functionId: 'app-doomed', status: 'Failed', output: { message: 'broken for good' } },
        { functionId: 'app-doomed-failure', status: 'Completed' },
      ])
      expect(failures).toEqual([['broken for good', { who: 'alice' }]])
    })

    test('lets the function catch a step that failed for good', async () => {
      const { inngest, send } = await fixture(
        (client) => [
          client.createFunction({ id: 'careful', retries: 0, ...trigger }, async ({ step }) => {
            try {
              await step.run('doomed', () => {
                throw new Error('broken')
              })
            } catch (error) {
              return step.run('recover', () => `caught ${error instanceof Error ? error.message : ''}`)
            }
            return 'not reached'
          }),
        ],
        mode,
      )
      await send()
      await inngest.idle()
      expect(inngest.runs()).toMatchObject([{ status: 'Completed', output: 'caught broken' }])
    })

    test('does not retry a NonRetriableError', async () => {
      let tries = 0
      const { inngest, send, waits } = await fixture(
        (client) => [
          client.createFunction({ id: 'final', retries: 3, ...trigger }, ({ step }) =>
            step.run('final', () => {
              tries++
              throw new NonRetriableError('no use')
            }),
          ),
        ],
        mode,
      )
      await send()
      await inngest.idle()
      expect(inngest.runs()).toMatchObject([{ status: 'Failed', output: { message: 'no use' } }])
      expect([tries, waits]).toEqual([1, []])
    })

    test('retries a throw outside of steps without repeating the steps before it', async () => {
      const calls: string[] = []
      const { inngest, send } = await fixture(
        (client) => [
          client.createFunction({ id: 'between', retries: 3, ...trigger }, async ({ step, attempt }) => {
            await step.run('first', () => calls.push('first'))
            if (attempt === 0) throw new Error('between the steps')
            return step.run('second', () => calls.push('second'))
          }),
        ],
        mode,
      )
      await send()
      await inngest.idle()
      expect(calls[0]).toBe('first')
      expect(calls.filter((call) => call === 'first')).toHaveLength(1)
      expect(inngest.runs()[0]?.status).toBe('Completed')
    })

    test('sleeps between steps, and lets parallel steps and sleeps run side by side', async () => {
      const { inngest, send, waits } = await fixture(
        (client) => [
          client.createFunction({ id: 'parallel', ...trigger }, async ({ step }) => {
            await step.sleep('nap', '2m')
            const [a, b] = await Promise.all([
              step.run('a', () => 'a'),
              step.run('b', () => 'b'),
              step.sleep('both', '1h'),
            ])
            await step.sleepUntil('until', new Date(1_800_000_005_000))
            return a + b
          }),
        ],
        mode,
      )
      await send()
      await inngest.idle()
      expect(inngest.runs()).toMatchObject([{ status: 'Completed', output: 'ab' }])
      expect(waits).toEqual([
        [120_000, 'sleep'],
        [3_600_000, 'sleep'],
        [5_000, 'sleep'],
      ])
    })

    test('signs its calls, and a served app in cloud mode refuses all others', async () => {
      const calls: string[] = []
      const { inngest, send, serveUrl } = await fixture(
        (client) => [
          client.createFunction({ id: 'signed', ...trigger }, ({ step }) =>
            step.run('one', () => calls.push('one')),
          ),
        ],
        { ...mode, signingKey: SIGNING_KEY },
      )
      const eventId = await send({ text: 'ünïcode \u2028 "quoted"' })
      await inngest.idle()
      expect(inngest.runs()).toMatchObject([{ status: 'Completed', output: 1 }])
      const body = JSON.stringify({
        event: { name: 'test/go', data: {} },
        events: [],
        steps: {},
        ctx: { run_id: 'r', attempt: 0 },
      })
      for (const headers of [
        {},
        { 'x-inngest-signature': `t=${Math.floor(Date.now() / 1000)}&s=${'0'.repeat(64)}` },
      ]) {
        const unsigned = await fetch(`${serveUrl}?fnId=app-signed&stepId=step`, {
          method: 'POST',
          headers,
          body,
        })
        expect(unsigned.status).toBe(401)
      }
      expect(calls).toEqual(['one'])
      const runsUrl = `${inngest.baseUrl}/v1/events/${eventId}/runs`
      expect((await fetch(runsUrl)).status).toBe(401)
      expect((await fetch(runsUrl, { headers: { authorization: `Bearer ${SIGNING_KEY}` } })).status).toBe(200)
      expect(
        (await fetch(`${inngest.baseUrl}/e/wrong-key`, { method: 'POST', body: '{"name":"test/go"}' }))
          .status,
      ).toBe(401)
    })

    test('goes on after the served process was killed in mid-run, without repeating finished steps', async () => {
      const folder = await mkdtemp(join(tmpdir(), 'inngest-executor-'))
      cleanup.defer(() => rm(folder, { recursive: true }))
      const [log, gate] = [join(folder, 'log'), join(folder, 'gate')]
      await writeFile(log, '')
      const port = await freePort()
      const { promise: away, resolve: noticed } = Promise.withResolvers<void>()
      const inngest = cleanup.use(
        await startInngest({
          ...mode,
          trace: (event) => {
            if (event.kind === 'unreachable') noticed()
          },
        }),
      )
      const startApp = async () => {
        const app = spawn(process.execPath, ['--input-type=module', '--eval', APP], {
          cwd: new URL('../..', import.meta.url),
          env: {
            PORT: String(port),
            LOG: log,
            GATE: gate,
            INNGEST_BASE_URL: inngest.baseUrl,
            INNGEST_DEV: '1',
          },
          stdio: ['ignore', 'pipe', 'inherit'],
        })
        cleanup.defer(() => app.kill('SIGKILL'))
        await once(app.stdout, 'data')
        return app
      }
      const app = await startApp()
      await inngest.register(`http://127.0.0.1:${port}/api/inngest`)
      await fetch(`${inngest.baseUrl}/e/any`, {
        method: 'POST',
        body: JSON.stringify({ name: 'test/go', data: {} }),
      })
      await expect.poll(() => readFile(log, 'utf8'), { timeout: 10_000 }).toBe('one\ntwo\nthree started\n')
      app.kill('SIGKILL')
      await away
      await appendFile(gate, 'open')
      await startApp()
      await inngest.idle()
      expect(inngest.runs()).toMatchObject([{ status: 'Completed', output: 'done' }])
      expect(await readFile(log, 'utf8')).toBe('one\ntwo\nthree started\nthree started\nthree\n')
    })
  },
)

/** Serves a function whose third step hangs until the file GATE is there. */
const APP = `
  import { appendFileSync, existsSync } from 'node:fs'
  import { createServer } from 'node:http'
  import { setTimeout } from 'node:timers/promises'
  import { Inngest } from 'inngest'
  import { serve } from 'inngest/node'
  const { PORT, LOG, GATE } = process.env
  const note = (line) => appendFileSync(LOG, line + '\\n')
  const client = new Inngest({ id: 'app' })
  const fn = client.createFunction({ id: 'long', triggers: [{ event: 'test/go' }] }, async ({ step }) => {
    await step.run('one', () => note('one'))
    await step.run('two', () => note('two'))
    await step.run('three', async () => {
      note('three started')
      while (!existsSync(GATE)) await setTimeout(20)
      note('three')
    })
    return 'done'
  })
  createServer(serve({ client, functions: [fn] })).listen(Number(PORT), '127.0.0.1', () => console.log('ready'))
`

describe('starting runs', () => {
  test('an event id, an idempotency key and a singleton each admit one run', async () => {
    const { promise: gate, resolve: open } = Promise.withResolvers<void>()
    const { inngest, send } = await fixture((client) => [
      client.createFunction({ id: 'every', ...trigger }, () => 'every'),
      client.createFunction({ id: 'once', idempotency: 'event.data.import', ...trigger }, () => 'once'),
      client.createFunction(
        { id: 'single', singleton: { key: 'event.data.did', mode: 'skip' }, ...trigger },
        () => gate,
      ),
    ])
    await send({ import: '1', did: 'a' }, 'event-1')
    await send({ import: '1', did: 'a' }, 'event-1')
    await send({ import: '1', did: 'b' }, 'event-2')
    await send({ import: '2', did: 'a' }, 'event-3')
    open()
    await inngest.idle()
    const counts = Object.groupBy(inngest.runs(), (run) => run.functionId)
    expect(counts['app-every']).toHaveLength(3)
    expect(counts['app-once']?.map((run) => run.event.data.import)).toEqual(['1', '2'])
    expect(counts['app-single']?.map((run) => run.event.data.did)).toEqual(['a', 'b'])
    expect(inngest.runs().every((run) => run.status === 'Completed')).toBe(true)
  })

  test('a concurrency limit of one per key keeps calls of that key apart, and no others', async () => {
    const active = new Map<string, number>()
    let mostOfOneKey = 0
    let mostOfAll = 0
    const { inngest, client } = await fixture((app) => [
      app.createFunction(
        { id: 'limited', concurrency: [{ key: 'event.data.did', limit: 1 }], ...trigger },
        ({ event, step }) =>
          step.run('work', async () => {
            const did = String(event.data.did)
            active.set(did, (active.get(did) ?? 0) + 1)
            mostOfOneKey = Math.max(mostOfOneKey, ...active.values())
            mostOfAll = Math.max(
              mostOfAll,
              [...active.values()].reduce((sum, count) => sum + count),
            )
            await new Promise((resolve) => setTimeout(resolve, 50))
            active.set(did, (active.get(did) ?? 0) - 1)
          }),
      ),
    ])
    await client.send(['a', 'a', 'a', 'b', 'b'].map((did) => ({ name: 'test/go', data: { did } })))
    await inngest.idle()
    expect(inngest.runs().map((run) => run.status)).toEqual(Array(5).fill('Completed'))
    expect([mostOfOneKey, mostOfAll]).toEqual([1, 2])
  })

  test('a repeated request with the same seed starts nothing and gets the same ids', async () => {
    const { inngest } = await fixture((client) => [
      client.createFunction({ id: 'every', ...trigger }, () => 1),
    ])
    const post = () =>
      fetch(`${inngest.baseUrl}/e/any`, {
        method: 'POST',
        headers: { 'x-inngest-event-id-seed': '1800000000000,c2VlZA==' },
        body: JSON.stringify([{ name: 'test/go' }, { name: 'test/other' }]),
      })
    const [first, second] = [await (await post()).json(), await (await post()).json()]
    expect(second).toEqual(first)
    await inngest.idle()
    expect(inngest.runs()).toHaveLength(1)
  })
})

describe('the API', () => {
  test('lets a client follow the runs of its event', async () => {
    const { promise: gate, resolve: open } = Promise.withResolvers<void>()
    const { inngest, send } = await fixture((client) => [
      client.createFunction({ id: 'slow', ...trigger }, async () => {
        await gate
        return { restored: 3 }
      }),
    ])
    const eventId = await send()
    const runs = async () =>
      (await (await fetch(`${inngest.baseUrl}/v1/events/${eventId}/runs`)).json()) as {
        data: { run_id: string }[]
      }
    expect(await runs()).toMatchObject({ data: [{ status: 'Running', ended_at: null, event_id: eventId }] })
    open()
    await inngest.idle()
    const { data } = await runs()
    expect(data).toMatchObject([{ status: 'Completed', output: { restored: 3 }, function_id: 'app-slow' }])
    const one = await fetch(`${inngest.baseUrl}/v1/runs/${data[0]?.run_id}`)
    expect(await one.json()).toMatchObject({ data: { status: 'Completed' } })
  })

  test('refuses what is no event, and knows no runs of others', async () => {
    const { inngest } = await fixture(() => [])
    for (const body of ['{}', '[{"name":"ok"},null]', 'not json']) {
      expect((await fetch(`${inngest.baseUrl}/e/any`, { method: 'POST', body })).status).toBe(400)
    }
    expect((await fetch(`${inngest.baseUrl}/v1/events/unknown/runs`)).status).toBe(404)
    expect(
      (await fetch(`${inngest.baseUrl}/v1/checkpoint/unknown/async`, { method: 'POST', body: '{}' })).status,
    ).toBe(404)
  })
})

describe('stopping', () => {
  test('cancels runs that sleep or are being called', async () => {
    const inngest = await startInngest()
    const client = new Inngest({ id: 'app', baseUrl: inngest.baseUrl, isDev: true })
    const asleep = client.createFunction({ id: 'asleep', ...trigger }, ({ step }) => step.sleep('long', '1d'))
    const busy = client.createFunction({ id: 'busy', ...trigger }, () => new Promise(() => undefined))
    const server = createServer(serve({ client, functions: [asleep, busy] }))
    await inngest.register(`http://127.0.0.1:${await listenOnLoopback(server, cleanup)}/api/inngest`)
    await client.send({ name: 'test/go', data: {} })
    await expect.poll(() => inngest.runs()[0]?.callCount).toBe(1)
    await inngest[Symbol.asyncDispose]()
    expect(inngest.runs().map((run) => run.status)).toEqual(['Cancelled', 'Cancelled'])
    await expect(fetch(inngest.baseUrl)).rejects.toThrow()
  })

  test('of an app for too long fails its runs', async () => {
    const { inngest, send, stopApp, waits } = await fixture(
      (client) => [client.createFunction({ id: 'gone', ...trigger }, () => 1)],
      { unreachableForMs: 500 },
    )
    await stopApp()
    await send()
    await inngest.idle()
    expect(inngest.runs()).toMatchObject([
      { status: 'Failed', output: { message: expect.stringContaining('could not be reached') } },
    ])
    expect(waits.map(([ms]) => ms)).toEqual([100, 200, 400])
  })
})
