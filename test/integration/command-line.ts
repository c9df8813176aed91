/** The command line as a process of its own, and an account that has lost its records for it to work on. */

import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, readdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type LiveConsumer, startConsumer } from '../../scripts/demo/consumer.ts'
import { leaflet } from '../../src/appview/leaflet/index.ts'
import type { CliContext } from '../../src/cli/context.ts'
import { configFrom } from '../../src/config.ts'
import { openDatabase } from '../../src/database/client.ts'
import { silentLogger } from '../../src/logger.ts'
import { createFetch } from '../../src/network/fetch.ts'
import { createIdentity } from '../../src/network/identity.ts'
import { createXrpc } from '../../src/network/xrpc.ts'
import { liveOn, publish, type Scenario, waitUntilGone, waitUntilIndexed } from '../../src/stack/account.ts'
import { assemble } from '../../src/stack/cleanup.ts'
import { deleteRecords } from '../../src/stack/incident.ts'
import { type Stack, type StackOptions, startStack } from '../../src/stack/index.ts'
import { type Ended, runWarm } from './warm-command.ts'

export type { Ended }

const ROOT = join(import.meta.dirname, '../..')
const MAIN = 'src/cli/main.ts'

export type Env = Record<string, string | undefined>

export interface CommandOptions {
  /** All that the process sees, but for PATH and HOME. */
  env: Env
  /** Working folder. */
  cwd: string
  /** In the repository: run as a process of its own. @defaultValue the command line's main module */
  script?: string
}

export interface Command {
  child: ChildProcess
  /** Resolves with what matched when stderr does; rejects when the process ends first. */
  said(pattern: RegExp): Promise<RegExpExecArray>
  ended: Promise<Ended>
}

/** Its stdin is no terminal. */
export function startCommand(args: readonly string[], { env, cwd, script = MAIN }: CommandOptions): Command {
  const { PATH, HOME } = process.env
  const child = spawn(process.execPath, [join(ROOT, script), ...args], {
    cwd,
    env: { PATH, HOME, ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  const output = { stdout: '', stderr: '' }
  for (const name of ['stdout', 'stderr'] as const) {
    child[name].setEncoding('utf8').on('data', (text: string) => {
      output[name] += text
    })
  }
  const ended = once(child, 'close').then(([code]): Ended => ({ code, ...output }))
  return {
    child,
    ended,
    async said(pattern) {
      for (;;) {
        const match = pattern.exec(output.stderr)
        if (match !== null) return match
        if (child.exitCode !== null) throw new Error(`ended without saying ${pattern}: ${output.stderr}`)
        await Promise.race([once(child.stderr, 'data'), ended])
      }
    },
  }
}

/** In a process that others of these have run in, where that makes no difference. */
export function runCommand(args: readonly string[], options: CommandOptions): Promise<Ended> {
  const { env, cwd, script } = options
  if (script !== undefined) return startCommand(args, options).ended
  const { PATH, HOME } = process.env
  return runWarm({ args, env: { PATH, HOME, ...env }, cwd })
}

/** stdout as the one JSON value that it must be. */
export function jsonOf({ stdout, stderr }: Ended): Record<string, unknown> {
  try {
    return JSON.parse(stdout)
  } catch (cause) {
    throw new Error(`stdout is not JSON: ${stdout.slice(0, 200)}; stderr: ${stderr}`, { cause })
  }
}

export interface World extends AsyncDisposable {
  stack: Stack
  scenario: Scenario
  consumer: LiveConsumer
  /** A working folder, removed at the end. */
  folder: string
  /** What the appview has in its cache: files named by their CIDs. */
  blobFolder: string
  /** What the commands need to know. */
  env: Env
  /** What they make of it, for calls of the library in this process. */
  context: CliContext
  /** Deletes the author's records, as the incident does, until the tables have lost them. */
  lose(): Promise<void>
  run(args: readonly string[], options?: { env?: Env; cwd?: string; script?: string }): Promise<Ended>
}

export interface WorldOptions {
  documents: number
  readers: number
  /** @defaultValue as `startStack` */
  schema?: StackOptions['schema']
  /** Adds to the account while it is whole. */
  beforeBackup?: (world: Pick<World, 'stack' | 'scenario' | 'consumer'>) => Promise<void>
}

/** An account with a backup, before the incident; the live consumer is on. */
export function startWorld({ beforeBackup, schema, ...size }: WorldOptions): Promise<World> {
  return assemble(async (cleanup) => {
    const stack = cleanup.use(await startStack(schema && { schema }))
    const folder = await mkdtemp(join(tmpdir(), 'firehose-replay-cli-'))
    cleanup.defer(() => rm(folder, { recursive: true, force: true }))
    const consumer = startConsumer(stack, contextOf(stack, {}))
    cleanup.defer(() => consumer.stop())
    const blobFolder = join(folder, 'appview-blobs')
    const scenario = await publish(stack, { ...size, blobFolder })
    await waitUntilIndexed(stack, scenario.records)
    await liveOn(stack, scenario)
    await beforeBackup?.({ stack, scenario, consumer })
    await stack.takeBackup()
    const env = { ...environmentOf(stack, scenario), FIREHOSE_REPLAY_BLOB_FOLDER: blobFolder }
    return {
      stack,
      scenario,
      consumer,
      folder,
      blobFolder,
      env,
      context: contextOf(stack, env),
      async lose() {
        await deleteRecords(stack, scenario)
        await waitUntilGone(stack, [...scenario.content.publications, ...scenario.content.documents])
        await consumer.caughtUp()
      },
      run: (args: readonly string[], options: Partial<CommandOptions> = {}) =>
        runCommand(args, { cwd: folder, ...options, env: { ...env, ...options.env } }),
    }
  })
}

function contextOf(stack: Stack, env: Env): CliContext {
  const { url, serviceKey } = stack.production
  return {
    config: configFrom({}, env),
    appview: leaflet,
    production: openDatabase({ url, serviceKey, label: 'production' }),
    network: {
      identity: createIdentity({ plcUrl: stack.plcUrl, allowLocalhost: true }),
      xrpc: createXrpc({ fetch: createFetch({ allowLocalhost: true }) }),
    },
    logger: silentLogger,
  }
}

function environmentOf({ production, backup, plcUrl, pds, inngest }: Stack, { author }: Scenario): Env {
  return {
    SUPABASE_URL: production.url,
    SUPABASE_SERVICE_ROLE_KEY: production.serviceKey,
    BACKUP_SUPABASE_URL: backup.url,
    BACKUP_SUPABASE_SERVICE_ROLE_KEY: backup.serviceKey,
    FIREHOSE_REPLAY_PLC_URL: plcUrl,
    FIREHOSE_REPLAY_RELAY_URL: pds.url.replace(/^http/, 'ws'),
    FIREHOSE_REPLAY_APP_PASSWORD: author.appPassword,
    FIREHOSE_REPLAY_ALLOW_LOCALHOST: '1',
    INNGEST_BASE_URL: inngest.baseUrl,
    INNGEST_EVENT_KEY: inngest.eventKey,
    INNGEST_DEV: '1',
  }
}

/** How production is named where it has to be confirmed. */
export function nameOfProduction({ stack }: World): string {
  return new URL(stack.production.url).host
}

/** What a command may have left behind: marks, receipts, the repo's revision, and the files of a folder. */
export async function traces({ stack, scenario }: World, folder: string): Promise<unknown> {
  const { author } = scenario
  const count = async (table: string): Promise<unknown> =>
    (await stack.production.query(`select count(*)::int as count from ${table}`))[0]?.count
  const files = await readdir(folder, { recursive: true, withFileTypes: true })
  const latest = new URL(`/xrpc/com.atproto.sync.getLatestCommit?did=${author.did}`, author.pdsUrl)
  return {
    files: files.filter((entry) => entry.isFile()).map(({ parentPath, name }) => join(parentPath, name)),
    marks: await count('restore_marks'),
    receipts: await count('replay_receipts'),
    documents: await count('documents'),
    subscriptions: await count('publication_subscriptions'),
    commit: await (await fetch(latest)).json(),
  }
}
