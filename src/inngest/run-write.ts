import { SessionError } from '../errors.ts'
import type { Identity } from '../network/identity.ts'
import type { Xrpc } from '../network/xrpc.ts'
import { fetchRepo } from '../pds/repo.ts'
import { type Head, type WriteOptions, type WrittenRecord, writeRecords } from '../pds/write.ts'
import type { KeptSessions } from './kept-sessions.ts'
import { type BatchPlan, type PlannedBatch, planBatches } from './plan-batches.ts'
import type { WriteRequest } from './request.ts'
import { summaryOf, type Tally, tallyOf, type WriteSummary } from './summary.ts'

/** Runs the named parts of the work; Inngest's remembers their results across calls, so these are plain JSON. */
export interface Steps {
  run<T extends object>(id: string, body: () => Promise<T>): Promise<T>
}

export interface Network {
  identity: Identity
  xrpc: Xrpc
}

export interface WriteTools {
  sessions: KeptSessions
  network: Network
  /**
   * Batches in one step. One for durable runs, which lose at most a batch that way. Each step reads the repo, so
   * that a run in one process takes all in one.
   */
  batchesPerStep: number
  onPlan?: (plan: BatchPlan) => void
  /** Told after each commit. */
  onCommit?: (recordCount: number) => void
}

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
  await steps.run('verify-session', () => verifySession(request.did, tools))
  const plan = await steps.run('plan', async () =>
    planBatches(request, await fetchRepo(request.did, tools.network)),
  )
  tools.onPlan?.(plan)
  const tallies: Tally[] = [plan.settled]
  let { head } = plan
  for (const [index, batch] of joinBatches(plan.batches, tools.batchesPerStep).entries()) {
    const written = await steps.run(`write-batch-${index + 1}`, () => writeBatch(request, batch, head, tools))
    tallies.push(written.tally)
    head = written.head
  }
  return summaryOf(tallies, plan.batches.length)
}

async function verifySession(did: string, tools: WriteTools): Promise<{ did: string }> {
  await tools.network.identity.refresh(did)
  await withSession(did, tools, (session) => session.verify())
  return { did }
}

interface BatchResult {
  tally: Tally
  head: Head
}

function writeBatch(
  request: WriteRequest,
  batch: PlannedBatch,
  head: Head,
  tools: WriteTools,
): Promise<BatchResult> {
  const { did, onConflict } = request
  return withSession(did, tools, async (session) => {
    const options: WriteOptions = { session, head, readRepo: () => fetchRepo(did, tools.network) }
    if (onConflict !== undefined) options.onConflict = onConflict
    if (tools.onCommit !== undefined) options.onCommit = tools.onCommit
    const records = request.records.filter(isIn(batch.records))
    const result = await writeRecords(records, options)
    return { tally: tallyOf(countLanded(result.records, request, batch)), head: result.head }
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
  { sessions, network }: WriteTools,
  use: (session: Awaited<ReturnType<KeptSessions['open']>>) => Promise<T>,
): Promise<T> {
  const { pdsUrl } = await network.identity.resolve(did)
  try {
    return await use(await sessions.open(did, pdsUrl))
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

function nameOf({ collection, rkey }: { collection: string; rkey: string }): string {
  return `${collection}/${rkey}`
}
