import { SessionError } from '../errors.ts'
import type { Identity } from '../network/identity.ts'
import type { Xrpc } from '../network/xrpc.ts'
import type { Budget } from '../pds/budget.ts'
import { fetchRepo } from '../pds/repo.ts'
import type { Way } from '../pds/way.ts'
import {
  type WriteOptions,
  type WriteResult,
  type WriteState,
  type WrittenRecord,
  writeRecords,
} from '../pds/write.ts'
import { newWriteState } from '../pds/write-state.ts'
import type { KeptBudgets } from './kept-budgets.ts'
import type { KeptSessions } from './kept-sessions.ts'
import { type BatchPlan, type PlannedBatch, planBatches } from './plan-batches.ts'
import type { WriteRequest } from './request.ts'
import { summaryOf, type Tally, tallyOf, type WriteSummary } from './summary.ts'

/** Runs the named parts of the work; Inngest's remembers their results across calls, so these are plain JSON. */
export interface Steps {
  run<T extends object>(id: string, body: () => Promise<T>): Promise<T>
  /** Between two steps; `untilMs` is in milliseconds since 1970, and may be a day away. */
  waitUntil(id: string, untilMs: number): Promise<void>
}

export interface Network {
  identity: Identity
  xrpc: Xrpc
}

export interface WriteTools {
  sessions: KeptSessions
  budgets: KeptBudgets
  network: Network
  /**
   * Batches in one step. One for durable runs, which lose at most a batch that way. Each step reads the repo, so
   * that a run in one process takes all in one.
   */
  batchesPerStep: number
  /** In milliseconds since 1970. @defaultValue Date.now */
  now?: () => number
  onPlan?: (plan: BatchPlan) => void
  /** Told after each commit. */
  onCommit?: (recordCount: number) => void
  /** Told when the rate limit asks for a wait, and how many points the next call needs. */
  onWait?: (wait: Wait) => void
}

export type Wait = NonNullable<WriteResult['wait']>

/**
 * Brings the account's repo to hold the request's records. Every step decides by the repo's state when it runs, so
 * that one that runs twice, or after another writer, commits nothing that is there already.
 *
 * @throws SessionError before anything is written when the session is dead; as `fetchRepo` and `writeRecords` do
 */
export async function runWrite(
  steps: Steps,
  request: WriteRequest,
  tools: WriteTools,
): Promise<WriteSummary> {
  await steps.run('verify-session', () => verifySession(request, tools))
  const now = tools.now ?? Date.now
  const plan = await steps.run('plan', async () => {
    const budget = tools.budgets.of(request.did, now())
    const repo = await fetchRepo(request.did, tools.network)
    return { ...planBatches(request, repo, { budget, nowMs: now() }), budget }
  })
  tools.onPlan?.(plan)
  const run: BatchRun = { steps, request, tools, way: plan.way, now }
  const tallies: Tally[] = [plan.settled]
  let commits = 0
  let state = stateOf(plan)
  for (const [index, batch] of joinBatches(plan.batches, tools.batchesPerStep).entries()) {
    const written = await writeAll(run, `${index + 1}`, batch, state)
    tallies.push(...written.tallies)
    // A batch whose commit came from an earlier try of its step is one all the same.
    commits += Math.max(1, written.commits)
    state = written.state
  }
  return summaryOf(tallies, commits)
}

interface BatchRun {
  steps: Steps
  request: WriteRequest
  tools: WriteTools
  way: Way
  now: () => number
}

function stateOf({ head, budget }: BatchPlan & { budget: Budget }): WriteState {
  return { ...newWriteState(budget), head }
}

interface BatchResult {
  tally: Tally
  commits: number
  state: WriteState
  /** Indices of records that had to wait. */
  left: number[]
  wait?: Wait
}

/** A batch to its end, in as many steps as the rate limit cuts it into. */
async function writeAll(
  run: BatchRun,
  id: string,
  batch: PlannedBatch,
  before: WriteState,
): Promise<{ tallies: Tally[]; commits: number; state: WriteState }> {
  const tallies: Tally[] = []
  let commits = 0
  let state = before
  let left = batch
  for (let part = 1; left.records.length > 0; part++) {
    const name = part === 1 ? id : `${id}-part-${part}`
    const input = { batch: left, state }
    const result = await run.steps.run(`write-batch-${name}`, () => writeBatch(run, input))
    tallies.push(result.tally)
    commits += result.commits
    state = result.state
    if (result.wait === undefined) break
    await run.steps.waitUntil(`wait-after-${name}`, result.wait.untilMs)
    const waiting = new Set(result.left)
    left = { records: result.left, overwrites: left.overwrites.filter((index) => waiting.has(index)) }
  }
  return { tallies, commits, state }
}

async function verifySession({ did, records }: WriteRequest, tools: WriteTools): Promise<{ did: string }> {
  await tools.network.identity.refresh(did)
  const collections = [...new Set(records.map(({ collection }) => collection))]
  await withSession(did, tools, (session) => session.verify({ collections }))
  return { did }
}

function writeBatch(
  { request, tools, way, now }: BatchRun,
  { batch, state }: { batch: PlannedBatch; state: WriteState },
): Promise<BatchResult> {
  const { did, onConflict } = request
  return withSession(did, tools, async (session) => {
    const { head, ...rest } = state
    const options: WriteOptions & { state: WriteState } = {
      session,
      way,
      now,
      state: { ...rest, budget: tools.budgets.of(did, now(), state.budget) },
      readRepo: () => fetchRepo(did, tools.network),
      onBudget: (budget) => tools.budgets.keep(did, budget),
    }
    // What an overwrite replaces is not in the plan: it is read.
    if (head !== undefined && batch.overwrites.length === 0) options.state = { ...options.state, head }
    if (onConflict !== undefined) options.onConflict = onConflict
    if (tools.onCommit !== undefined) options.onCommit = tools.onCommit
    const result = await writeRecords(request.records.filter(isIn(batch.records)), options)
    if (result.wait !== undefined) tools.onWait?.(result.wait)
    const left = new Set(result.left.map(nameOf))
    return {
      tally: tallyOf(countLanded(result.records, request, batch)),
      commits: result.commits,
      state: result.state,
      left: batch.records.filter((index) => left.has(nameAt(request, index) ?? '')),
      ...(result.wait === undefined ? {} : { wait: result.wait }),
    }
  })
}

/**
 * The plan wanted these written, so one that is there now came from an earlier try of this step whose result was
 * lost. Another writer of the very same content in between cannot be told apart, and comes to the same.
 */
function* countLanded(
  written: readonly WrittenRecord[],
  request: WriteRequest,
  batch: PlannedBatch,
): Generator<WrittenRecord> {
  const overwritten = new Set(request.records.filter(isIn(batch.overwrites)).map(nameOf))
  for (const record of written) {
    if (record.outcome !== 'same') yield record
    else yield { ...record, outcome: overwritten.has(nameOf(record)) ? 'overwritten' : 'created' }
  }
}

async function withSession<T>(
  did: string,
  { sessions }: WriteTools,
  use: (session: Awaited<ReturnType<KeptSessions['open']>>) => Promise<T>,
): Promise<T> {
  try {
    return await use(await sessions.open(did))
  } catch (error) {
    if (error instanceof SessionError) sessions.drop(did)
    throw error
  }
}

function joinBatches(batches: readonly PlannedBatch[], count: number): PlannedBatch[] {
  const joined: PlannedBatch[] = []
  for (let start = 0; start < batches.length; start += count) {
    const group = batches.slice(start, start + count)
    joined.push({
      records: group.flatMap(({ records }) => records),
      overwrites: group.flatMap(({ overwrites }) => overwrites),
    })
  }
  return joined
}

function isIn(indices: readonly number[]): (record: unknown, index: number) => boolean {
  const wanted = new Set(indices)
  return (_, index) => wanted.has(index)
}

function nameAt({ records }: WriteRequest, index: number): string | undefined {
  const record = records[index]
  return record && nameOf(record)
}

function nameOf({ collection, rkey }: { collection: string; rkey: string }): string {
  return `${collection}/${rkey}`
}
