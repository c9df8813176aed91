/** Whether the index has got as far as the records written; asked of the tables, whoever fills them. */

import { setTimeout as sleep } from 'node:timers/promises'
import { UnavailableError } from '../../errors.ts'
import type { Stack } from '../index.ts'
import type { WrittenRecord } from './record.ts'

const TABLE_OF: Readonly<Record<string, string>> = {
  'site.standard.publication': 'publications',
  'pub.leaflet.publication': 'publications',
  'site.standard.document': 'documents',
  'pub.leaflet.document': 'documents',
  'site.standard.graph.subscription': 'publication_subscriptions',
  'pub.leaflet.graph.subscription': 'publication_subscriptions',
  'site.standard.graph.recommend': 'recommends_on_documents',
  'pub.leaflet.interactions.recommend': 'recommends_on_documents',
  'pub.leaflet.comment': 'comments_on_documents',
}
const LINKS = 'documents_in_publications'

const POLL_MS = 50
const DEFAULT_TIMEOUT_MS = 60_000

export type RowCounts = Record<string, number>

/** Rows per table that these records come to, links included. A broken record comes to none. */
export function expectedRows(records: readonly WrittenRecord[]): RowCounts {
  return Object.fromEntries([...keysByTable(records)].map(([table, keys]) => [table, keys.length]))
}

/** How many of the rows of `expectedRows` are there now. */
export async function foundRows(stack: Stack, records: readonly WrittenRecord[]): Promise<RowCounts> {
  const found: RowCounts = {}
  for (const [table, keys] of keysByTable(records)) {
    const column = table === LINKS ? 'document' : 'uri'
    const [row] = await stack.production.query(
      `select count(*)::int as count from ${table} where ${column} = any($1)`,
      [keys],
    )
    found[table] = Number(row?.count ?? 0)
  }
  return found
}

export interface WaitOptions {
  /** @defaultValue 60000 */
  timeoutMs?: number
  /** Told after each look, in rows. */
  onProgress?: (found: number, expected: number) => void
}

/** @throws UnavailableError naming the tables that are short when the time is over */
export function waitUntilIndexed(
  stack: Stack,
  records: readonly WrittenRecord[],
  options: WaitOptions = {},
): Promise<void> {
  return waitForRows(stack, records, expectedRows(records), options)
}

/** Until none of the rows of these records is left; see `waitUntilIndexed`. */
export function waitUntilGone(
  stack: Stack,
  records: readonly WrittenRecord[],
  options: WaitOptions = {},
): Promise<void> {
  return waitForRows(stack, records, {}, options)
}

async function waitForRows(
  stack: Stack,
  records: readonly WrittenRecord[],
  expected: RowCounts,
  { timeoutMs = DEFAULT_TIMEOUT_MS, onProgress }: WaitOptions,
): Promise<void> {
  const deadlineMs = Date.now() + timeoutMs
  for (;;) {
    const found = await foundRows(stack, records)
    onProgress?.(total(found), total(expected))
    const open = Object.keys(found).filter((table) => found[table] !== (expected[table] ?? 0))
    if (open.length === 0) return
    if (Date.now() >= deadlineMs) throw notReached(open, found, expected, timeoutMs)
    await sleep(POLL_MS)
  }
}

function notReached(
  open: readonly string[],
  found: RowCounts,
  expected: RowCounts,
  timeoutMs: number,
): UnavailableError {
  const tables = open.map((table) => `${table} has ${found[table]} rows of ${expected[table] ?? 0}`)
  return new UnavailableError(`After ${timeoutMs} ms the index is not there yet: ${tables.join(', ')}.`, {
    hint: 'See whether the live consumer runs and what it logs.',
  })
}

function total(counts: RowCounts): number {
  return Object.values(counts).reduce((sum, count) => sum + count, 0)
}

function keysByTable(records: readonly WrittenRecord[]): Map<string, string[]> {
  const keys = new Map<string, string[]>()
  const add = (table: string, uri: string): void => void keys.set(table, [...(keys.get(table) ?? []), uri])
  for (const record of records) {
    const table = TABLE_OF[record.collection]
    if (table === undefined || record.isBroken) continue
    add(table, record.uri)
    if (table === 'documents' && publicationOf(record) !== undefined) add(LINKS, record.uri)
  }
  return keys
}

/** The publication that a document's record names; undefined for a standalone post. */
export function publicationOf({ record }: WrittenRecord): string | undefined {
  const named = record.site ?? record.publication
  return typeof named === 'string' && named.startsWith('at://') ? named : undefined
}
