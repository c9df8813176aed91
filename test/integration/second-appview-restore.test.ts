import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type LiveConsumer, startConsumer } from '../../scripts/demo/consumer.ts'
import { openDatabase } from '../../src/database/client.ts'
import { writeLocally } from '../../src/inngest/index.ts'
import { silentLogger } from '../../src/logger.ts'
import { createFetch } from '../../src/network/fetch.ts'
import { createIdentity } from '../../src/network/identity.ts'
import { createXrpc } from '../../src/network/xrpc.ts'
import { appPasswordSessions } from '../../src/pds/sessions/app-password.ts'
import type { RestoreContext } from '../../src/restore/context.ts'
import { type RestoreResult, restoreAccount } from '../../src/restore/restore.ts'
import { createRunFolder } from '../../src/restore/run-folder.ts'
import { type Stack, startStack } from '../../src/stack/index.ts'
import { deleteStored, listStored, type StoredRecord } from '../../src/stack/scenario/repo.ts'
import { writeAppRows } from '../fixtures/gardens/app-rows.ts'
import { GARDENS_MIGRATION, gardens } from '../fixtures/gardens/index.ts'
import { publishSeason, type Season } from '../fixtures/gardens/season.ts'
import { dumpTables, OWN_TABLES, rowVersions, type TableDump } from './dump.ts'

/**
 * Who indexes the appview:
 * - ours: our consumer, which has seen the deletes;
 * - theirs since: another one has deleted the rows, after ours was turned off;
 * - theirs ever: ours has never run, so it knows of no record.
 */
describe.each(['ours', 'theirs since', 'theirs ever'] as const)(
  'an invented appview comes back; its consumer: %s',
  (consumerIs) => {
    let stack: Stack
    let context: RestoreContext
    let consumer: LiveConsumer | undefined
    let season: Season
    let runs: string
    let recordsBefore: StoredRecord[]
    let before: TableDump
    let afterIncident: TableDump
    let after: TableDump
    let result: RestoreResult

    beforeAll(async () => {
      runs = await mkdtemp(join(tmpdir(), 'firehose-replay-gardens-'))
      stack = await startStack({ migrations: [GARDENS_MIGRATION] })
      context = contextOf(stack)
      consumer = startConsumer(stack, context)
      season = await publishSeason(stack)
      await consumer.caughtUp()
      await writeAppRows(stack, season)
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
        await deleteLostRows(stack, season)
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
      const lost = new Set(season.lost.map(({ uri }) => uri))
      await deleteStored(
        stack,
        season.author,
        recordsBefore.filter(({ uri }) => lost.has(uri)),
      )
    }

    async function ownRecords(): Promise<StoredRecord[]> {
      const collections = ['example.garden.planting', 'example.garden.plot']
      const lists = collections.map((collection) => listStored(stack, season.author, collection))
      return (await Promise.all(lists)).flat()
    }

    async function restore(): Promise<RestoreResult> {
      const { did, appPassword } = season.author
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
      // A bed stays when its planting goes; some go with their plots.
      expect(still.map(([table]) => table)).toEqual(['gardeners', 'regions'])
      const plot = season.survivingPlot.uri
      expect([before, afterIncident].map((dump) => emptiedBeds(dump, plot))).toEqual([0, 3])
    })

    test('ends complete, with the records that were lost, CID by CID', async () => {
      expect(result.report.verdict).toBe('complete')
      expect(result.write).toMatchObject({ success: true, recordsWritten: season.lost.length })
      expect(await ownRecords()).toEqual(recordsBefore)
      const { expected, proven } = result.report.records
      // Only a tombstone proves the CID of what was lost, and only ours keeps tombstones.
      expect(proven).toBe(consumerIs === 'ours' ? expected : expected - season.lost.length)
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
      const url = `${stack.pds.url}/xrpc/com.atproto.sync.getLatestCommit?did=${season.author.did}`
      return (await fetch(url)).json()
    }
  },
)

function contextOf(stack: Stack): RestoreContext {
  const { url, serviceKey } = stack.production
  return {
    appview: gardens,
    production: openDatabase({ url, serviceKey, label: 'production' }),
    network: {
      identity: createIdentity({ plcUrl: stack.plcUrl, allowLocalhost: true }),
      xrpc: createXrpc({ fetch: createFetch({ allowLocalhost: true }) }),
    },
    logger: silentLogger,
  }
}

/** As a consumer without any of our functions does. */
async function deleteLostRows(stack: Stack, { lost }: Season): Promise<void> {
  const uris = lost.map(({ uri }) => uri)
  await stack.production.query('delete from plantings where planting_uri = any($1)', [uris])
  await stack.production.query('delete from plots where at_uri = any($1)', [uris])
}

/** Beds of a plot that lost what is planted in them. */
function emptiedBeds(dump: TableDump, plot: string): number {
  const beds = dump.get('beds') ?? []
  return beds.filter(({ columns }) => columns.plot_uri === plot && columns.planted_with === null).length
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
