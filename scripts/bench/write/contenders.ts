import { AtpAgent } from '@atproto/api'
import { leaflet } from '../../../src/appview/leaflet/index.ts'
import { openDatabase } from '../../../src/database/client.ts'
import { setMarks } from '../../../src/database/marks.ts'
import { writeLocally } from '../../../src/inngest/index.ts'
import { createFetch, type Fetch } from '../../../src/network/fetch.ts'
import { createIdentity } from '../../../src/network/identity.ts'
import { createXrpc } from '../../../src/network/xrpc.ts'
import { newBudget, POINTS } from '../../../src/pds/budget.ts'
import { type LostRecord, lostRecordOf } from '../../../src/pds/lost-record.ts'
import { planWrite, type WritePlan } from '../../../src/pds/plan.ts'
import { fetchRepo } from '../../../src/pds/repo.ts'
import { appPasswordSessions } from '../../../src/pds/sessions/app-password.ts'
import type { RecordToWrite } from '../../../src/pds/write.ts'
import type { Account } from '../../../src/stack/index.ts'
import { elapsedMs } from '../rounds.ts'
import type { RemoteStack } from '../stack-process.ts'

export interface Measured {
  recordsPerSecond: number
  requests: number
  commits: number
  points: number
}

/** The PDS of the stack has no limits, as the two others know none. */
const UNLIMITED = { perHour: 1e9, perDay: 1e9 }

/** What leaflet's own function does: batches of 50, in each of them one putRecord after the other. */
export async function putRecordLoop(account: Account, records: readonly RecordToWrite[]): Promise<Measured> {
  const { agent, counter } = await countedAgent(account)
  const ms = await elapsedMs(async () => {
    for (let start = 0; start < records.length; start += 50) {
      for (const { collection, rkey, record } of records.slice(start, start + 50)) {
        await agent.com.atproto.repo.putRecord({
          repo: account.did,
          collection,
          rkey,
          record,
          validate: false,
        })
      }
    }
  })
  return counter.measured(records.length, records.length * POINTS.put, ms)
}

/** As many as the host takes at once, and nothing else. */
export async function bareApplyWrites(
  account: Account,
  records: readonly RecordToWrite[],
): Promise<Measured> {
  const { agent, counter } = await countedAgent(account)
  const writes = records.map(({ collection, rkey, record: value }) => ({
    $type: 'com.atproto.repo.applyWrites#create' as const,
    collection,
    rkey,
    value,
  }))
  const ms = await elapsedMs(async () => {
    for (let start = 0; start < writes.length; start += 200) {
      await agent.com.atproto.repo.applyWrites({
        repo: account.did,
        validate: false,
        writes: writes.slice(start, start + 200),
      })
    }
  })
  return counter.measured(records.length, records.length * POINTS.create, ms)
}

/**
 * From rows of a backup: encoding, plan against the live repo, marks, check of the session, and the writing, which
 * holds each CID that the host answers against the planned one. As with the others, the login comes before. What the
 * repo holds in the end is proven after the clock has stopped.
 */
export async function restoredRecords(
  account: Account,
  records: readonly RecordToWrite[],
  stack: RemoteStack,
): Promise<Measured> {
  const counter = new Counter()
  const fetch = counter.fetch(createFetch({ allowLocalhost: true }))
  const identity = createIdentity({ plcUrl: stack.plcUrl, allowLocalhost: true })
  const network = { identity, xrpc: createXrpc({ fetch }) }
  const production = openDatabase({ ...stack.production, label: 'production' })
  const { did } = account
  const session = await appPasswordSessions(() => account.password, { identity, fetch })(did)
  counter.reset()
  const rows = records.map(({ collection, rkey, record }) => ({
    uri: `at://${did}/${collection}/${rkey}`,
    recordColumn: 'data',
    row: { data: record },
  }))
  const lost: LostRecord[] = []
  let plan: WritePlan | undefined
  const ms = await elapsedMs(async () => {
    for (const row of rows) {
      const record = lostRecordOf(row, leaflet, undefined)
      if ('record' in record) lost.push(record)
    }
    const repo = await fetchRepo(did, network)
    plan = planWrite(lost, repo, 'overwrite', undefined, { budget: newBudget(UNLIMITED) })
    await setMarks(
      production,
      lost.map(({ uri, cid }) => ({ uri, cid, did, run: 'bench' })),
    )
    await writeLocally({
      did,
      records: lost,
      network,
      sessionProvider: async () => session,
      pointLimits: UNLIMITED,
    })
  })
  const measured = counter.measured(records.length, plan?.points ?? 0, ms)
  if (plan?.commits !== measured.commits) throw new Error('The number of commits is not the planned one.')
  const after = await fetchRepo(did, network)
  const isThere = ({ collection, rkey, cid }: LostRecord) =>
    after.get(collection, rkey)?.cid.toString() === cid
  if (lost.length !== records.length || !lost.every(isThere)) throw new Error('Not all records are there.')
  return measured
}

async function countedAgent(account: Account): Promise<{ agent: AtpAgent; counter: Counter }> {
  const counter = new Counter()
  const agent = new AtpAgent({
    service: account.pdsUrl,
    fetch: counter.fetch(globalThis.fetch) as typeof globalThis.fetch,
  })
  await agent.login({ identifier: account.did, password: account.password })
  counter.reset()
  return { agent, counter }
}

/** Sees every request to the PDS on its way. */
class Counter {
  requests = 0
  commits = 0

  fetch(inner: Fetch): Fetch {
    return async (input, init) => {
      this.requests++
      const url = String(input instanceof Request ? input.url : input)
      const answer = await inner(input, init)
      if (answer.ok && /\.(applyWrites|putRecord)$/.test(url)) this.commits++
      return answer
    }
  }

  reset(): void {
    this.requests = 0
    this.commits = 0
  }

  measured(recordCount: number, points: number, ms: number): Measured {
    const { requests, commits } = this
    return { recordsPerSecond: (recordCount / ms) * 1000, requests, commits, points }
  }
}
