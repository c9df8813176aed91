/** The properties of test/integration/ingestion, with far more histories, and with processes that are killed. */

import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { saveCursor } from '../../src/database/cursors.ts'
import { type Command, startCommand } from '../integration/command-line.ts'
import { histories } from '../integration/histories.ts'
import { type Ingestion, type IngestionStack, startIngestionStack } from '../integration/ingestion.ts'
import {
  begin,
  describeIngestionProperties,
  everything,
  found,
  replayed,
  writeAll,
  writtenCommits,
} from '../integration/ingestion-properties.ts'
import { type KillGateway, startKillGateway } from '../integration/kill-gateway.ts'
import type { Death } from '../integration/mortal-database.ts'
import { assertFor, timeoutMsOf } from '../integration/timed-property.ts'

const EFFORT = { runs: 200, timeLimitMs: 30_000 }
/** A process takes a second to start, and a run has three of them. */
const KILLS = { runs: 40, timeLimitMs: 60_000 }
const APPVIEWS = ['leaflet', 'gardens'] as const

let ingested: IngestionStack
let gateway: KillGateway
/** With a configuration file for each appview. */
const folders = new Map<string, string>()

beforeAll(async () => {
  ingested = await startIngestionStack()
  gateway = await startKillGateway(ingested.stack.production.url)
  for (const name of APPVIEWS) {
    const folder = await mkdtemp(join(tmpdir(), `firehose-replay-${name}-`))
    folders.set(name, folder)
    const file = new URL(
      name === 'leaflet' ? '../../src/appview/leaflet/index.ts' : '../fixtures/gardens/index.ts',
      import.meta.url,
    )
    const config = `export { ${name} as appview } from ${JSON.stringify(file.href)}\n`
    await writeFile(join(folder, 'firehose-replay.config.ts'), config)
  }
})
afterAll(async () => {
  await gateway?.[Symbol.asyncDispose]()
  await ingested?.[Symbol.asyncDispose]()
  for (const folder of folders.values()) await rm(folder, { recursive: true, force: true })
})

describe.each(APPVIEWS)('%s', (name) => {
  describeIngestionProperties(() => ingested.ingestionOf(name), EFFORT)

  /** The command as an operator runs it, but with so little in a batch and so many cursors that it has many calls. */
  function consume({ repos, stack }: Ingestion, maxBatchEvents: number): Command {
    const args = ['--batch-events', `${maxBatchEvents}`, '--flush-after', '5', '--save-every', '5']
    return startCommand(['consume', ...args], {
      cwd: folders.get(name) ?? '',
      env: {
        SUPABASE_URL: gateway.url,
        SUPABASE_SERVICE_ROLE_KEY: stack.production.serviceKey,
        FIREHOSE_REPLAY_PLC_URL: stack.plcUrl,
        FIREHOSE_REPLAY_RELAY_URL: repos.service,
        FIREHOSE_REPLAY_ALLOW_LOCALHOST: '1',
      },
    })
  }

  /** Until its death, or until there is nothing left for it to do. */
  async function consumeUntil(
    ingestion: Ingestion,
    { death, batch, writing }: { death: Death; batch: number; writing: Promise<number> },
  ): Promise<void> {
    const command = consume(ingestion, batch)
    const died = gateway.arm(death, () => command.child.kill('SIGKILL'))
    const done = writing.then((end) => caughtUp(ingestion, end, command))
    await Promise.race([died, done])
    // Of a dead one nothing more is expected.
    done.catch(() => undefined)
    command.child.kill('SIGKILL')
    await command.ended
    gateway.disarm()
  }

  test(
    'the process that consumes, killed at any of its calls to the database, goes on and ends in the same',
    async () => {
      const ingestion = ingested.ingestionOf(name)
      const deaths = fc.array(fc.record({ call: fc.integer({ min: 1, max: 15 }), isSent: fc.boolean() }), {
        minLength: 1,
        maxLength: 3,
      })
      const plans = fc.record({ batch: fc.integer({ min: 1, max: 6 }), deaths })
      const made = fc.tuple(histories(ingestion.given.samples, ingestion.rankOf), plans)
      await assertFor(KILLS, made, async ([history, plan]) => {
        const commits = writtenCommits(ingestion, history)
        const start = await begin(ingestion)
        await ingestion.stack.production.query('delete from firehose_cursors')
        await saveCursor(ingestion.world.databases[0], new URL(ingestion.repos.service).origin, start)
        const writing = writeAll(ingestion, commits)
        for (const death of plan.deaths) await consumeUntil(ingestion, { death, batch: plan.batch, writing })
        const end = await writing
        const last = consume(ingestion, plan.batch)
        // Where there is nothing left to do it has to be up at least, to hear of its end.
        await last.said(/^Following /m)
        await caughtUp(ingestion, end, last)
        last.child.kill('SIGTERM')
        expect(await last.ended).toMatchObject({ code: 0 })
        // What a dead one had sent may have been under way until now.
        await gateway.settled()
        const rows = await found(ingestion, commits)
        await replayed(ingestion, everything(ingestion))
        expect(rows).toEqual(await ingestion.derived())
      })
    },
    timeoutMsOf(KILLS),
  )
})

/** Resolves when the cursor has reached this seq; rejects when the process ends first. */
async function caughtUp({ stack }: Ingestion, end: number, { child, ended }: Command): Promise<void> {
  for (;;) {
    const [row] = await stack.production.query('select seq from firehose_cursors')
    if (Number(row?.seq) >= end) return
    if (child.exitCode !== null || child.signalCode !== null) {
      throw new Error(`the consumer has ended: ${(await ended).stderr}`)
    }
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
}
