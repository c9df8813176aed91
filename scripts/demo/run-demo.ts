import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { leaflet } from '../../src/appview/leaflet/index.ts'
import { openDatabase } from '../../src/database/client.ts'
import type { Verdict } from '../../src/events.ts'
import {
  createFunctions,
  createInngest,
  databaseRequests,
  serveFunctions,
  writeThroughInngest,
} from '../../src/inngest/index.ts'
import { silentLogger } from '../../src/logger.ts'
import { createFetch } from '../../src/network/fetch.ts'
import { createHostQueues } from '../../src/network/host-queues.ts'
import { createIdentity } from '../../src/network/identity.ts'
import { createXrpc } from '../../src/network/xrpc.ts'
import { folderSource } from '../../src/pds/blobs/folder-source.ts'
import { blobSupplier } from '../../src/pds/blobs/supply.ts'
import { appPasswordSessions } from '../../src/pds/sessions/app-password.ts'
import type { Report } from '../../src/report/report.ts'
import type { RestoreContext, Writer } from '../../src/restore/context.ts'
import { type RestoreResult, restoreAccount } from '../../src/restore/restore.ts'
import { createRunFolder } from '../../src/restore/run-folder.ts'
import {
  lifeGoesOn,
  liveOn,
  publish,
  type RowCounts,
  type Scenario,
  tableCounts,
  waitUntilGone,
  waitUntilIndexed,
} from '../../src/stack/account.ts'
import { deleteRecords } from '../../src/stack/incident.ts'
import { type Stack, type StackOptions, startStack } from '../../src/stack/index.ts'
import { type LiveConsumer, startConsumer } from './consumer.ts'

export interface DemoOptions {
  /** Documents of the author. @defaultValue 150 */
  documents?: number
  /** Accounts that read them. @defaultValue 40 */
  readers?: number
  /** The appview's schema. @defaultValue 'august' */
  schema?: StackOptions['schema']
  /** Told in words what happens. */
  say?: (line: string) => void
  onProgress?: (label: string, done: number, total: number) => void
  /** Called when the account stands as it should be found again, and when it has been brought back. */
  inspect?: (moment: 'before' | 'after-incident' | 'after-restore', demo: Demo) => Promise<void>
}

/** What is on while the demo runs. */
export interface Demo {
  stack: Stack
  context: RestoreContext
  scenario: Scenario
  consumer: LiveConsumer
  /** Restores the author, as the command does. */
  restore(): Promise<RestoreResult>
}

/** What `npm run demo -- --json` prints. */
export interface DemoResult {
  verdict: Verdict
  /** Accounts on the PDS: the author and the readers. */
  accounts: number
  tables: Record<string, { before: number; afterIncident: number; afterRestore: number }>
  records: { expected: number; identicalCid: number }
  /** Rows of readers that came back without a proof of their records. */
  unverified: number
  /** What the readers' repos said of the rows that no replay of the author gives back. */
  consent: RestoreResult['consent']
  /** Documents that subscribers would have been mailed about more than once. */
  mailedTwice: number
  durationMs: Record<string, number>
}

/**
 * The whole of it, on real parts: an account lives, is backed up, lives on, loses its records, and is restored, while
 * the appview's consumer follows the firehose throughout.
 */
export async function runDemo(options: DemoOptions = {}): Promise<{ result: DemoResult; report: Report }> {
  const { say = () => undefined, inspect = async () => undefined } = options
  const clock = new PhaseClock()
  const stack = await clock.time('start', () => startStack({ schema: options.schema ?? 'august' }))
  say('A PDS, a PLC directory, two databases and an Inngest executor are up, on this machine only.')
  try {
    return await live(stack, options, { say, inspect, clock })
  } finally {
    await stack[Symbol.asyncDispose]()
  }
}

interface Telling {
  say: (line: string) => void
  inspect: NonNullable<DemoOptions['inspect']>
  clock: PhaseClock
}

async function live(stack: Stack, options: DemoOptions, { say, inspect, clock }: Telling) {
  const context = contextOf(stack)
  const consumer = startConsumer(stack, context)
  const folder = await mkdtemp(join(tmpdir(), 'firehose-replay-demo-'))
  const [runs, blobFolder] = [join(folder, 'runs'), join(folder, 'blobs')]
  try {
    const { documents = 150, readers = 40, onProgress } = options
    const scenario = await clock.time('publish', () =>
      publish(stack, {
        documents,
        readers,
        blobFolder,
        onProgress: (step, done, total) => onProgress?.(step, done, total),
      }),
    )
    await clock.time('index', () => waitUntilIndexed(stack, scenario.records))
    await liveOn(stack, scenario)
    say(
      `${scenario.author.handle} has ${scenario.publications.length} publications and ${scenario.documents.length + scenario.survivingDocuments.length} documents; ${scenario.readers.length} readers subscribe, recommend and comment.`,
    )

    await clock.time('backup', () => stack.takeBackup())
    const later = await lifeGoesOn(stack, scenario)
    await waitUntilIndexed(stack, later.records)
    await consumer.caughtUp()
    say('A backup is taken. Life goes on: someone subscribes, a draft is edited.')
    const before = await tableCounts(stack, scenario)
    const demo = {
      stack,
      context,
      scenario,
      consumer,
      restore: () => restore(stack, context, { scenario, runs, blobFolder }, onProgress),
    }
    await inspect('before', demo)

    const afterIncident = await clock.time('incident', () => suffer(stack, scenario, consumer))
    say(
      'An external system deletes the records through the PDS. The firehose carries the deletes; foreign keys do the rest:',
    )
    say(countsTable({ before, afterIncident }))
    await inspect('after-incident', demo)

    say('\nfirehose-replay restore:')
    const { report, durationMs, consent } = await demo.restore()
    await consumer.caughtUp()
    const afterRestore = await tableCounts(stack, scenario)
    await inspect('after-restore', demo)
    say(countsTable({ before, afterIncident, afterRestore }))
    say(
      `\n${consent.asked} rows came from records of readers: ${consent.same} of these were proven to be in their repos, ${consent.unreachable} not looked for.`,
    )

    const result: DemoResult = {
      verdict: report.verdict,
      accounts: 1 + scenario.readers.length,
      tables: Object.fromEntries(
        Object.keys(before).map((table) => [
          table,
          {
            before: before[table] ?? 0,
            afterIncident: afterIncident[table] ?? 0,
            afterRestore: afterRestore[table] ?? 0,
          },
        ]),
      ),
      records: { expected: report.records.expected, identicalCid: report.records.identicalCid },
      unverified: report.unverified,
      consent,
      mailedTwice: scenario.documents.filter((uri) => (consumer.mails.get(uri) ?? 0) > 1).length,
      durationMs: { ...clock.durationMs, ...durationMs },
    }
    return { result, report }
  } finally {
    await consumer.stop()
    await rm(folder, { recursive: true, force: true })
  }
}

async function suffer(stack: Stack, scenario: Scenario, consumer: LiveConsumer): Promise<RowCounts> {
  await deleteRecords(stack, scenario)
  const lost = [...scenario.content.publications, ...scenario.content.documents]
  await waitUntilGone(stack, lost)
  await consumer.caughtUp()
  return tableCounts(stack, scenario)
}

function contextOf(stack: Stack): RestoreContext {
  const { url, serviceKey } = stack.production
  return {
    appview: leaflet,
    production: openDatabase({ url, serviceKey, label: 'production' }),
    network: {
      identity: createIdentity({ plcUrl: stack.plcUrl, allowLocalhost: true }),
      xrpc: createXrpc({ fetch: createFetch({ allowLocalhost: true }) }),
    },
    logger: silentLogger,
  }
}

/** What `firehose-replay restore` does, with the functions served here and driven by the stack's executor. */
async function restore(
  stack: Stack,
  context: RestoreContext,
  { scenario: { author }, runs, blobFolder }: { scenario: Scenario; runs: string; blobFolder: string },
  onProgress: DemoOptions['onProgress'],
): Promise<RestoreResult> {
  const { baseUrl, eventKey } = stack.inngest
  const settings = { isDev: true, baseUrl, eventKey }
  const inngest = createInngest(settings)
  const { identity } = context.network
  const fetch = createFetch({ allowLocalhost: true })
  const sessionProvider = appPasswordSessions(() => author.appPassword, { identity, fetch })
  const blobs = blobSupplier({
    identity,
    plcUrl: stack.plcUrl,
    network: { fetch, queues: createHostQueues() },
    // The pictures that the appview has served: the PDS deletes them with the records.
    sources: [await folderSource(blobFolder)],
  })
  const requests = databaseRequests(context.production)
  const functions = createFunctions({ inngest, sessionProvider, network: context.network, blobs, requests })
  const served = await serveFunctions({ inngest, functions })
  try {
    await stack.inngest.register(served.url)
    const writer: Writer = async ({ onProgress: advance, ...job }) => {
      const summary = await writeThroughInngest({
        ...job,
        inngest: settings,
        requests,
        pollMs: 50,
        onProgress: ({ recordsDone, recordCount }) => advance?.(recordsDone, recordCount),
      })
      const notWritten = summary.notWritten.map(({ collection, rkey, outcome, refusal, reason }) => ({
        uri: `at://${author.did}/${collection}/${rkey}`,
        outcome,
        ...(refusal && { refusal }),
        reason,
      }))
      return { ...summary, notWritten }
    }
    const { url, serviceKey } = stack.backup
    const result = await restoreAccount(context, {
      did: author.did,
      backup: openDatabase({ url, serviceKey, label: 'backup' }),
      sessionProvider,
      writer,
      folder: await createRunFolder(runs, author.did, new Date()),
      onConflict: 'overwrite',
      blobs: { supply: await blobs(author.did) },
      confirm: async () => true,
      onProgress: (phase, done, total) => onProgress?.(phase, done, total),
    })
    if (result === undefined) throw new TypeError('a demo confirms')
    return result
  } finally {
    await served[Symbol.asyncDispose]()
  }
}

/** Rows per table at each moment, side by side. */
function countsTable(moments: Record<string, RowCounts>): string {
  const [first = {}] = Object.values(moments)
  const lines = Object.keys(first).map((table) =>
    [
      table.padEnd(30),
      ...Object.values(moments).map((counts) => String(counts[table] ?? 0).padStart(16)),
    ].join(''),
  )
  const head = ['table'.padEnd(30), ...Object.keys(moments).map((moment) => words(moment).padStart(16))].join(
    '',
  )
  return [head, ...lines].join('\n')
}

function words(name: string): string {
  return name.replace(/[A-Z]/g, (letter) => ` ${letter.toLowerCase()}`)
}

class PhaseClock {
  readonly durationMs: Record<string, number> = {}

  async time<T>(phase: string, act: () => Promise<T>): Promise<T> {
    const startedMs = performance.now()
    const result = await act()
    this.durationMs[phase] = Math.round(performance.now() - startedMs)
    return result
  }
}
