/** An appview that this project has never seen comes back whole: what must hold whatever its tables are. */

import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type LiveConsumer, startConsumer } from '../../scripts/demo/consumer.ts'
import { openDatabase } from '../../src/database/client.ts'
import type { AppView } from '../../src/events.ts'
import { writeLocally } from '../../src/inngest/index.ts'
import { silentLogger } from '../../src/logger.ts'
import { createFetch } from '../../src/network/fetch.ts'
import { createIdentity } from '../../src/network/identity.ts'
import { createXrpc } from '../../src/network/xrpc.ts'
import { appPasswordSessions } from '../../src/pds/sessions/app-password.ts'
import type { RestoreContext } from '../../src/restore/context.ts'
import { type RestoreResult, restoreAccount } from '../../src/restore/restore.ts'
import { createRunFolder } from '../../src/restore/run-folder.ts'
import { type Account, type Stack, startStack } from '../../src/stack/index.ts'
import type { WrittenRecord } from '../../src/stack/scenario/record.ts'
import { deleteStored, listStored, type StoredRecord } from '../../src/stack/scenario/repo.ts'
import { dumpTables, OWN_TABLES, rowVersions, type TableDump } from './dump.ts'

/** What a restore is to bring back. */
export interface RestoreWorld {
  author: Account & { appPassword: string }
  /** Records that the incident takes, children first. */
  lost: readonly WrittenRecord[]
  /** Collections of the author. */
  collections: readonly string[]
}

export interface RestoreCase<World extends RestoreWorld> {
  appview: AppView
  migration: string
  /** Makes accounts and writes their records through the PDS. */
  publish: (stack: Stack) => Promise<World>
  /** Writes what the app itself knows; the rows that records stand for are there. */
  writeAppRows: (stack: Stack, world: World) => Promise<void>
  /** As a consumer without any of our functions does. */
  deleteLostRows: (stack: Stack, world: World) => Promise<void>
  /** Tables that the incident leaves alone. */
  unharmed: readonly string[]
  /** What else the incident must have done, for the case to be the one it means to be. */
  afterIncident?: (before: TableDump, after: TableDump, world: World) => void
}

/**
 * Who indexes the appview:
 * - ours: our consumer, which has seen the deletes;
 * - theirs since: another one has deleted the rows, after ours was turned off;
 * - theirs ever: ours has never run, so it knows of no record.
 */
export type Consumer = 'ours' | 'theirs since' | 'theirs ever'

export function describeRestore<World extends RestoreWorld>(
  given: RestoreCase<World>,
  consumers: readonly Consumer[],
): void {
  const { appview } = given
  describe.each(consumers)(
    `the invented appview ${appview.name} comes back; its consumer: %s`,
    (consumerIs) => {
      let stack: Stack
      let context: RestoreContext
      let consumer: LiveConsumer | undefined
      let world: World
      let runs: string
      let recordsBefore: StoredRecord[]
      let before: TableDump
      let afterIncident: TableDump
      let after: TableDump
      let result: RestoreResult

      beforeAll(async () => {
        runs = await mkdtemp(join(tmpdir(), 'firehose-replay-invented-'))
        stack = await startStack({ migrations: [given.migration] })
        context = contextOf(stack, appview)
        consumer = startConsumer(stack, context)
        world = await given.publish(stack)
        await consumer.caughtUp()
        await given.writeAppRows(stack, world)
        await stack.takeBackup()
        recordsBefore = await ownRecords()
        before = await dumpTables(stack.production, OWN_TABLES)

        if (consumerIs === 'ours') {
          await deleteLost()
          await consumer.caughtUp()
        } else {
          await consumer.stop()
          consumer = undefined
          if (consumerIs === 'theirs ever') await stack.production.query(`truncate ${OWN_TABLES.join(', ')}`)
          await deleteLost()
          await given.deleteLostRows(stack, world)
        }
        afterIncident = await dumpTables(stack.production, OWN_TABLES)
        result = await restore()
        await consumer?.caughtUp()
        after = await dumpTables(stack.production, OWN_TABLES)
      }, 120_000)
      afterAll(async () => {
        await consumer?.stop()
        await stack[Symbol.asyncDispose]()
        await rm(runs, { recursive: true, force: true })
      })

      /** Through the PDS, as an external system would: the lost records, and no others. */
      async function deleteLost(): Promise<void> {
        const lost = new Set(world.lost.map(({ uri }) => uri))
        await deleteStored(
          stack,
          world.author,
          recordsBefore.filter(({ uri }) => lost.has(uri)),
        )
      }

      async function ownRecords(): Promise<StoredRecord[]> {
        const lists = world.collections.map((collection) => listStored(stack, world.author, collection))
        return (await Promise.all(lists)).flat()
      }

      async function restore(): Promise<RestoreResult> {
        const { did, appPassword } = world.author
        const { url, serviceKey } = stack.backup
        const sessionProvider = appPasswordSessions(() => appPassword, {
          identity: context.network.identity,
          fetch: createFetch({ allowLocalhost: true }),
        })
        const restored = await restoreAccount(context, {
          did,
          backup: openDatabase({ url, serviceKey, label: 'backup' }),
          sessionProvider,
          async writer({ run, records, onConflict }) {
            const { success, recordsWritten, batchCount } = await writeLocally({
              did,
              run,
              records,
              onConflict,
              sessionProvider,
              network: context.network,
            })
            return { success, recordsWritten, batchCount, notWritten: [] }
          },
          folder: await createRunFolder(runs, did, new Date()),
          onConflict: 'overwrite',
          confirm: async () => true,
        })
        if (restored === undefined) throw new Error('the restore was declined')
        return restored
      }

      test('loses rows of every table that hangs on the account', () => {
        const still = [...before].filter(([table, rows]) => afterIncident.get(table)?.length === rows.length)
        expect(still.map(([table]) => table)).toEqual(given.unharmed)
        given.afterIncident?.(before, afterIncident, world)
      })

      test('ends complete, with the records that were lost, CID by CID', async () => {
        expect(result.report.verdict).toBe('complete')
        expect(result.write).toMatchObject({ success: true, recordsWritten: world.lost.length })
        expect(await ownRecords()).toEqual(recordsBefore)
        const { expected, proven } = result.report.records
        // Only a tombstone proves the CID of what was lost, and only ours keeps tombstones.
        expect(proven).toBe(consumerIs === 'ours' ? expected : expected - world.lost.length)
      })

      test('every row of every table is as it was, column by column', () => {
        expect([...after.keys()]).toEqual([...before.keys()])
        expect(differences(before, after)).toEqual([])
      })

      test('a second restore has nothing to do: no row version changes, no commit is made', async () => {
        const then = { versions: await rowVersions(stack.production, OWN_TABLES), head: await headOf() }
        const again = await restore()
        await consumer?.caughtUp()
        expect(again).toMatchObject({
          nothingToDo: true,
          report: { verdict: 'complete' },
          write: { recordsWritten: 0, batchCount: 0 },
        })
        expect(await rowVersions(stack.production, OWN_TABLES)).toEqual(then.versions)
        expect(await headOf()).toEqual(then.head)
      })

      async function headOf(): Promise<unknown> {
        const url = `${stack.pds.url}/xrpc/com.atproto.sync.getLatestCommit?did=${world.author.did}`
        return (await fetch(url)).json()
      }
    },
  )
}

function contextOf(stack: Stack, appview: AppView): RestoreContext {
  const { url, serviceKey } = stack.production
  return {
    appview,
    production: openDatabase({ url, serviceKey, label: 'production' }),
    network: {
      identity: createIdentity({ plcUrl: stack.plcUrl, allowLocalhost: true }),
      xrpc: createXrpc({ fetch: createFetch({ allowLocalhost: true }) }),
    },
    logger: silentLogger,
  }
}

/** As `table.column` how many rows differ there, and how many are missing or were added. */
function differences(before: TableDump, after: TableDump): string[] {
  const counts = new Map<string, number>()
  const count = (name: string): void => void counts.set(name, (counts.get(name) ?? 0) + 1)
  for (const [table, rows] of before) {
    const then = new Map(rows.map(({ key, columns }) => [key, columns]))
    const now = new Map(after.get(table)?.map(({ key, columns }) => [key, columns]))
    for (const [key, columns] of then) {
      const present = now.get(key)
      if (present === undefined) count(`${table}: rows missing`)
      else
        for (const column of Object.keys(columns))
          if (present[column] !== columns[column]) count(`${table}.${column}`)
    }
    for (const key of now.keys()) if (!then.has(key)) count(`${table}: rows added`)
  }
  return [...counts].map(([name, rows]) => `${name} ${rows}`)
}
