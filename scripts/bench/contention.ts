/**
 * `node scripts/bench/contention.ts`: what a second writer costs. 1,000 creates into a repo to which someone else
 * commits all the time, with batches that follow the commit that was read (swapCommit), the same but halved after
 * each refusal, and with plain creates, which fail only where a record is there already.
 *
 * It decided what `writeRecords` does on a busy account; it has no goal, and no place among the results.
 */

import { setTimeout as wait } from 'node:timers/promises'
import { PdsError } from '../../src/errors.ts'
import { createFetch } from '../../src/network/fetch.ts'
import { createIdentity } from '../../src/network/identity.ts'
import { createXrpc } from '../../src/network/xrpc.ts'
import { POINTS } from '../../src/pds/budget.ts'
import { operationOf } from '../../src/pds/pending.ts'
import { openSession, type Session } from '../../src/pds/session.ts'
import { appPasswordSessions } from '../../src/pds/sessions/app-password.ts'
import { rounded } from './result.ts'
import { elapsedMs } from './rounds.ts'
import { type RemoteStack, startStackProcess } from './stack-process.ts'
import { documents } from './write/input.ts'

const RECORDS = 1000
/** From the knowledge of the head to the arrival of the call: a request of 800 KB on its way. */
const WAY_MS = 300
/** As many calls as this are given up on. */
const MAX_CALLS = 100

const MODES = ['swapCommit', 'swapCommit, halved', 'plain creates'] as const
type Mode = (typeof MODES)[number]

interface Outcome {
  written: number
  calls: number
  refused: number
  points: number
}

async function write(session: Session, mode: Mode, head: () => Promise<string>): Promise<Outcome> {
  const operations = documents(RECORDS).map((record) => operationOf(record, true))
  const outcome = { written: 0, calls: 0, refused: 0, points: 0 }
  let size = 200
  let known = await head()
  while (outcome.written < RECORDS && outcome.calls < MAX_CALLS) {
    const batch = operations.slice(outcome.written, outcome.written + size)
    outcome.calls++
    outcome.points += batch.length * POINTS.create
    await wait(WAY_MS)
    try {
      const { commit } = await session.applyWrites(batch, mode === 'plain creates' ? undefined : known)
      known = commit
      outcome.written += batch.length
      size = Math.min(200, size * 2)
    } catch (error) {
      if (!(error instanceof PdsError) || error.error !== 'InvalidSwap') throw error
      outcome.refused++
      known = await head()
      if (mode === 'swapCommit, halved') size = Math.max(1, size >> 1)
    }
  }
  return outcome
}

async function keepCommitting(session: Session, everyMs: number, signal: AbortSignal): Promise<void> {
  for (let count = 0; !signal.aborted; count++) {
    const [record] = documents(1)
    if (record === undefined) return
    await session.applyWrites([operationOf({ ...record, rkey: `other-${count}` }, true)])
    await wait(everyMs)
  }
}

async function measure(stack: RemoteStack, mode: Mode, everyMs: number, handle: string): Promise<string> {
  const account = await stack.createAccount(handle)
  const fetch = createFetch({ allowLocalhost: true })
  const identity = createIdentity({ plcUrl: stack.plcUrl, allowLocalhost: true })
  const provider = appPasswordSessions(() => account.password, { identity, fetch })
  const [session, other] = [
    await openSession(account.did, provider),
    await openSession(account.did, provider),
  ]
  const xrpc = createXrpc({ fetch })
  const head = async () => (await xrpc.getLatestCommit(account.pdsUrl, account.did)).cid
  const stop = new AbortController()
  const others = keepCommitting(other, everyMs, stop.signal)
  let outcome: Outcome | undefined
  const ms = await elapsedMs(async () => {
    outcome = await write(session, mode, head)
  })
  stop.abort()
  await others
  if (outcome === undefined) throw new Error('Nothing was measured.')
  const { written, calls, refused, points } = outcome
  return [
    mode.padEnd(20),
    `${written} of ${RECORDS} records`,
    `${rounded((written / ms) * 1000)} records/s`,
    `${calls} calls, ${refused} refused`,
    `${points} points (${rounded(points / Math.max(1, written))} a record)`,
  ].join('  ')
}

const stack = await startStackProcess()
try {
  for (const everyMs of [5000, 1000, 250]) {
    console.log(`Someone else commits every ${everyMs} ms:`)
    for (const [index, mode] of MODES.entries())
      console.log(`  ${await measure(stack, mode, everyMs, `busy-${everyMs}-${index}.test`)}`)
  }
} finally {
  await stack[Symbol.asyncDispose]()
}
process.exit(0)
