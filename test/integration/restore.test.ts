import { describe, expect, test } from 'vitest'
import { type Demo, type DemoResult, runDemo } from '../../scripts/demo/run-demo.ts'
import type { RestoreResult } from '../../src/restore/restore.ts'
import type { Stack } from '../../src/stack/index.ts'
import { dumpTables, OWN_TABLES, rowVersions, type TableDump } from './dump.ts'

describe.each(['february', 'august'] as const)('the whole scenario on the schema of %s', (schema) => {
  const seen: {
    before?: TableDump
    after?: TableDump
    subscriber?: string
    again?: RestoreResult
    versions?: [Awaited<ReturnType<typeof rowVersions>>, Awaited<ReturnType<typeof rowVersions>>]
    heads?: [unknown, unknown]
    mails?: ReadonlyMap<string, number>
    documents?: readonly string[]
    broken?: string
  } = {}
  let result: DemoResult

  test('ends complete', async () => {
    ;({ result } = await runDemo({
      schema,
      documents: 30,
      readers: 8,
      async inspect(moment, demo) {
        if (moment === 'before') seen.before = await dumpTables(demo.stack.production, OWN_TABLES)
        if (moment === 'after-restore') await lookAround(demo)
      },
    }))
    expect(result.verdict).toBe('complete')
    expect(result.records).toEqual({ expected: 30 + 2 + 1 + 4, identicalCid: 30 + 2 + 1 + 4 })
  }, 120_000)

  async function lookAround({ stack, scenario, consumer, restore }: Demo): Promise<void> {
    seen.after = await dumpTables(stack.production, OWN_TABLES)
    seen.documents = [...scenario.documents, ...scenario.survivingDocuments]
    seen.broken = scenario.brokenDocument
    seen.mails = new Map(consumer.mails)
    const head = await headOf(stack, scenario.author.did)
    const versions = await rowVersions(stack.production, ['firehose_cursors'])
    seen.again = await restore()
    await consumer.caughtUp()
    seen.versions = [versions, await rowVersions(stack.production, ['firehose_cursors'])]
    seen.heads = [head, await headOf(stack, scenario.author.did)]
  }

  test('every row of every table is as it was before the incident, column by column', () => {
    const { before, after } = seen
    if (before === undefined || after === undefined) throw new Error('the scenario did not get that far')
    expect([...after.keys()]).toEqual([...before.keys()])
    const differing = [...before].flatMap(([table, rows]) => differences(table, rows, after.get(table) ?? []))
    // Made after the backup, and so in no backup: a row that a cascade took comes back with its record, and the
    // database gives it a new date. All its other columns are the same.
    expect(differing.map(({ table, columns }) => ({ table, columns }))).toEqual([
      { table: 'publication_subscriptions', columns: ['created_at'] },
    ])
  })

  test('loses something in every table first', () => {
    for (const [table, counts] of Object.entries(result.tables)) {
      expect(counts.afterIncident, table).toBeLessThan(counts.before)
      expect(counts.afterRestore, table).toBe(counts.before)
    }
  })

  test('a second restore has nothing to do: no row version changes, no commit is made', () => {
    expect(seen.again).toMatchObject({
      nothingToDo: true,
      report: { verdict: 'complete' },
      write: { recordsWritten: 0, batchCount: 0 },
    })
    expect(seen.versions?.[1]).toEqual(seen.versions?.[0])
    expect(seen.heads?.[1]).toEqual(seen.heads?.[0])
  })

  test('the hook is told of each document once, also across the restore', () => {
    expect(result.mailedTwice).toBe(0)
    for (const uri of seen.documents ?? []) {
      // The record that breaks its lexicon is never indexed, so nobody was ever mailed about it.
      expect(seen.mails?.get(uri) ?? 0, uri).toBe(uri === seen.broken ? 0 : 1)
    }
  })
})

/** Rows that differ between two dumps, paired by their key. */
function differences(
  table: string,
  before: TableDump extends Map<string, infer Rows> ? Rows : never,
  after: typeof before,
) {
  const then = new Map(before.map((row) => [row.key, row.columns]))
  const now = new Map(after.map((row) => [row.key, row.columns]))
  return [...new Set([...then.keys(), ...now.keys()])].flatMap((key) => {
    const [a, b] = [then.get(key), now.get(key)]
    const columns = [...new Set([...Object.keys(a ?? {}), ...Object.keys(b ?? {})])].filter(
      (column) => a?.[column] !== b?.[column],
    )
    if (a === undefined || b === undefined)
      return [{ table, key, columns: [a === undefined ? 'ADDED' : 'MISSING'] }]
    return columns.length === 0 ? [] : [{ table, key, columns }]
  })
}

async function headOf(stack: Stack, did: string): Promise<unknown> {
  const response = await fetch(`${stack.pds.url}/xrpc/com.atproto.sync.getLatestCommit?did=${did}`)
  return response.json()
}
