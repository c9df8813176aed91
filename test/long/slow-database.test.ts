/**
 * A relay that has 50,000 events for a database that is slow: what the consumer holds of them is bounded by its
 * configuration, and where it is killed the next one goes on without a loss.
 */

import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { openDatabase } from '../../src/database/client.ts'
import { readCursor, saveCursor } from '../../src/database/cursors.ts'
import { type Account, type Stack, startStack } from '../../src/stack/index.ts'
import { applyWrites } from '../integration/account-writes.ts'
import { type Command, type Env, startCommand } from '../integration/command-line.ts'
import { DOCUMENT, documentOf } from '../integration/documents.ts'

const MEGABYTE = 1024 ** 2
const ACCOUNTS = 5
const COMMITS = 250
const EVENTS_EACH = 200
/** What one call of applyWrites may bring is a megabyte. */
const TEXT = 'word '.repeat(800)
const MAX_QUEUED_BYTES = 8 * MEGABYTE
/**
 * What the process may need beyond its start, of which its queue is a part: frames under way are decoded, their
 * records are made into rows, and V8 tidies up when it pleases. Without a bound it would hold the frames, 200 MB.
 */
const MAX_GROWTH_BYTES = 160 * MEGABYTE
/** Of a row: some 250 rows a second, so that a batch ends before its statement times out. */
const SLOW_SECONDS = 0.004
const SLOW_FOR_MS = 30_000

let stack: Stack
let relay: string
let env: Env
const sql = (text: string) => stack.production.query(text)
const production = () => openDatabase({ ...stack.production, label: 'production' })
const savedSeq = async () => (await readCursor(production(), relay)) ?? 0

beforeAll(async () => {
  stack = await startStack()
  relay = stack.pds.url.replace(/^http/, 'ws')
  env = {
    SUPABASE_URL: stack.production.url,
    SUPABASE_SERVICE_ROLE_KEY: stack.production.serviceKey,
    FIREHOSE_REPLAY_PLC_URL: stack.plcUrl,
    FIREHOSE_REPLAY_RELAY_URL: relay,
    FIREHOSE_REPLAY_ALLOW_LOCALHOST: '1',
  }
})
afterAll(() => stack?.[Symbol.asyncDispose]())

/** One commit after the other, so that their seqs are in a row. */
async function publish(): Promise<void> {
  const accounts: Account[] = []
  for (let n = 0; n < ACCOUNTS; n++) accounts.push(await stack.createAccount(`author${n}.test`))
  for (let commit = 0; commit < COMMITS; commit++) {
    const account = accounts[commit % ACCOUNTS]
    if (account === undefined) throw new Error('no account')
    const writes = Array.from({ length: EVENTS_EACH }, (_, n) => ({
      $type: 'com.atproto.repo.applyWrites#create' as const,
      collection: DOCUMENT,
      rkey: `${commit}-${n}`,
      value: { ...documentOf(`${n}`), textContent: TEXT },
    }))
    await applyWrites(account, writes)
  }
}

async function consume(): Promise<{ command: Command; read: () => Promise<Record<string, number>> }> {
  const command = startCommand(
    ['consume', '--metrics-port', '0', '--max-queued-bytes', `${MAX_QUEUED_BYTES}`],
    { env, cwd: import.meta.dirname },
  )
  const [, url] = await command.said(/^Metrics: (\S+)$/m)
  const read = async () => {
    const text = await (await fetch(url ?? '')).text()
    const lines = [...text.matchAll(/^(\w+) (\S+)$/gm)]
    return Object.fromEntries(lines.map(([, name, value]) => [name, Number(value)]))
  }
  return { command, read }
}

/** Commits whose rows are all there, from the first to the first that lacks one. */
async function wholeCommits(): Promise<number> {
  const rows = await sql(`
    select split_part(split_part(uri, '/', 5), '-', 1)::int as commit from documents
    group by 1 having count(*) = ${EVENTS_EACH} order by 1`)
  const missing = rows.findIndex(({ commit }, index) => commit !== index)
  return missing === -1 ? rows.length : missing
}

test('50,000 events for a slow database: memory within its bound, the cursor honest', async () => {
  await publish()
  await saveCursor(production(), relay, 0)
  await sql(`
    create function slow() returns trigger language plpgsql as
      $$ begin perform pg_sleep(${SLOW_SECONDS}); return new; end $$;
    create trigger slow before insert on documents for each row execute function slow()`)

  const first = await consume()
  const before = await first.read()
  const most = { queueBytes: 0, residentBytes: 0 }
  const cursors: { cursor: number; whole: number }[] = []
  let last = before
  for (const endMs = performance.now() + SLOW_FOR_MS; performance.now() < endMs; await sleep(200)) {
    last = await first.read()
    most.queueBytes = Math.max(most.queueBytes, last.firehose_replay_queue_bytes ?? Number.NaN)
    most.residentBytes = Math.max(most.residentBytes, last.process_resident_memory_bytes ?? Number.NaN)
    const cursor = await savedSeq()
    cursors.push({ cursor, whole: await wholeCommits() })
  }
  // In the middle of a batch, with a full queue.
  first.command.child.kill('SIGKILL')
  await first.command.ended
  await sql('drop function slow cascade')
  const whole = await wholeCommits()

  const next = await consume()
  await expect.poll(wholeCommits, { timeout: 120_000, interval: 500 }).toBe(COMMITS)
  next.command.child.kill('SIGTERM')
  expect((await next.command.ended).code).toBe(0)
  const end = await savedSeq()
  const start = end - COMMITS

  expect(await sql('select count(*)::int as count from documents')).toEqual([
    { count: COMMITS * EVENTS_EACH },
  ])
  expect(await sql('select count(*)::int as count from dead_letters')).toEqual([{ count: 0 }])
  // The relay had to wait with most of it; what had come is the queue's and the database's.
  expect(last.firehose_replay_received_seq).toBeLessThan(start + COMMITS / 2)
  expect(most.queueBytes).toBeGreaterThan(MAX_QUEUED_BYTES / 2)
  // The bound, and the one frame that went over it.
  expect(most.queueBytes).toBeLessThan(MAX_QUEUED_BYTES + 2 * MEGABYTE)
  expect(most.residentBytes - (before.process_resident_memory_bytes ?? Number.NaN)).toBeLessThan(
    MAX_GROWTH_BYTES,
  )
  expect(cursors.filter(({ cursor, whole }) => cursor - start > whole)).toEqual([])
  // It went on meanwhile, and did not get to the end.
  expect(cursors.at(-1)?.cursor).toBeGreaterThan(start)
  expect(whole).toBeLessThan(COMMITS / 2)
})
