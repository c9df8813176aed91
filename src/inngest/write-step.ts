import { UnavailableError } from '../errors.ts'
import { fetchRepo, latestCommit } from '../pds/repo.ts'
import type { Session } from '../pds/session.ts'
import type { Way } from '../pds/way.ts'
import {
  type WriteOptions,
  type WriteResult,
  type WriteState,
  type WrittenRecord,
  writeRecords,
} from '../pds/write.ts'
import { type PlannedBatch, planBatches } from './plan-batches.ts'
import type { WriteRequest } from './request.ts'
import { addTallies, type Tally, tallyOf } from './summary.ts'
import { type Wait, type WriteSource, type WriteTools, withSession } from './write-tools.ts'

export interface StepRun {
  source: WriteSource
  tools: WriteTools
  way: Way
  now: () => number
}

/** What one step hands to the next: plain JSON, without bodies or secrets. */
export interface StepInput {
  /** Still to be written, in their order. */
  batches: PlannedBatch[]
  state: WriteState
}

export interface StepResult {
  tally: Tally
  commits: number
  /** Still to be written. */
  left: PlannedBatch[]
  state: WriteState
  /** The rate limit wants this before the next step. */
  wait?: Wait
}

/** What a step has done so far. */
interface Progress {
  tallies: Tally[]
  commits: number
  /** Batches written. */
  batchCount: number
  left: PlannedBatch[]
  state: WriteState
}

/**
 * Writes as many batches as the step's time holds: one at least, or of one whose blobs take longer a part. When the repo is not where the input says, because
 * an earlier try of this step died after its commits, somebody else writes, or hours have passed, the repo is read
 * and what is left is planned anew: a step that is repeated neither commits again what is there nor spends points on
 * trying to.
 */
export function writeStep(run: StepRun, input: StepInput): Promise<StepResult> {
  const { source, tools } = run
  const deadlineMs = run.now() + tools.stepBudgetMs
  return withSession(source.did, tools, async (session) => {
    const request = await source.load()
    const done: Progress = {
      tallies: [],
      commits: 0,
      batchCount: 0,
      left: [...input.batches],
      state: input.state,
    }
    if (!(await isAtHead(run, input.state))) await planAnew(run, request, done)
    let wait: Wait | undefined
    for (let [batch] = done.left; batch !== undefined; [batch] = done.left) {
      const result = await writeUnlessDown(run, done, { session, request, batch, deadlineMs })
      if (result === undefined) break
      done.tallies.push(tallyOf(countLanded(result.records, request, batch)))
      done.commits += result.commits
      done.batchCount++
      done.state = result.state
      const rest = restOf(batch, request, result)
      done.left.splice(0, 1, ...(rest === undefined ? [] : [rest]))
      wait = result.wait
      // What is left without a wait is left for the next step, which goes on with it at once.
      if (rest !== undefined || run.now() >= deadlineMs) break
    }
    if (wait !== undefined) tools.onWait?.(wait)
    const { tallies, commits, left, state } = done
    return { tally: addTallies(tallies), commits, left, state, ...(wait === undefined ? {} : { wait }) }
  })
}

/** All in one: `writeRecords` cuts them itself. */
export function joinBatches(batches: readonly PlannedBatch[]): PlannedBatch[] {
  if (batches.length === 0) return []
  return [
    {
      records: batches.flatMap(({ records }) => records),
      overwrites: batches.flatMap(({ overwrites }) => overwrites),
    },
  ]
}

/** One small request, where reading the repo is one of many megabytes. */
async function isAtHead({ source: { did }, tools }: StepRun, { head }: WriteState): Promise<boolean> {
  if (head === undefined) return false
  return (await latestCommit(did, tools.network)).cid === head.commit
}

async function planAnew({ tools, way }: StepRun, request: WriteRequest, done: Progress): Promise<void> {
  const repo = await fetchRepo(request.did, tools.network)
  const before = done.left
  const overwrites = new Set(before.flatMap((batch) => batch.overwrites))
  const { head, batches, settled } = planBatches(request, repo, {
    among: before.flatMap(({ records }) => records),
    // They were wanted written, so that what is there now came from an earlier try of this step whose result was
    // lost. Another writer of the very same content in between cannot be told apart, and comes to the same.
    outcomeOfSame: (index) => (overwrites.has(index) ? 'overwritten' : 'created'),
  })
  done.tallies.push(settled)
  done.left = tools.stepBudgetMs === Number.POSITIVE_INFINITY ? joinBatches(batches) : batches
  done.state = { ...done.state, head }
  const settledCount = settled.outcomes.created + settled.outcomes.overwritten
  done.commits += way === 'putRecord' ? settledCount : commitsBehind(before, done.left, settledCount)
}

/** Commits of an earlier try are gone with its result: each batch that lost records since was one. */
function commitsBehind(
  before: readonly PlannedBatch[],
  after: readonly PlannedBatch[],
  landedCount: number,
): number {
  if (landedCount === 0) return 0
  const left = new Set(after.flatMap(({ records }) => records))
  return before.filter(({ records }) => records.some((index) => !left.has(index))).length
}

interface BatchInput {
  session: Session
  request: WriteRequest
  batch: PlannedBatch
  /** In milliseconds since 1970. Infinity: none. */
  deadlineMs: number
}

/**
 * A host that goes down after some batches ends the step, which keeps what it did, and not the run: the next step
 * meets the same host, with all its tries. Undefined: that is so.
 */
async function writeUnlessDown(
  run: StepRun,
  done: Progress,
  input: BatchInput,
): Promise<WriteResult | undefined> {
  try {
    return await writeBatch(run, done.state, input)
  } catch (error) {
    if (!(error instanceof UnavailableError) || done.batchCount === 0) throw error
    done.state = await withBudgets(run, done.state)
    return undefined
  }
}

/** With what other runs of this process have spent meanwhile. */
async function withBudgets({ tools, source: { did }, now }: StepRun, state: WriteState): Promise<WriteState> {
  const { budgets, network, blobs } = tools
  const budget = budgets.of(did, now(), state.budget)
  if (blobs === undefined) return { ...state, budget }
  const { pdsUrl } = await network.identity.resolve(did)
  return { ...state, budget, uploads: budgets.uploadsTo(pdsUrl, now(), state.uploads) }
}

async function writeBatch(
  run: StepRun,
  state: WriteState,
  { session, request, batch, deadlineMs }: BatchInput,
): Promise<WriteResult> {
  const { tools, way, now } = run
  const { did, onConflict } = request
  const { head, ...rest } = await withBudgets(run, state)
  const options: WriteOptions & { state: WriteState } = {
    session,
    way,
    now,
    state: rest,
    readRepo: () => fetchRepo(did, tools.network),
    onBudget: (budget) => tools.budgets.keep(did, budget),
    ...(await blobOptions(run, rest)),
    ...(deadlineMs === Number.POSITIVE_INFINITY ? {} : { deadlineMs }),
  }
  // What an overwrite replaces is not in the plan: it is read.
  if (head !== undefined && batch.overwrites.length === 0) options.state = { ...options.state, head }
  if (onConflict !== undefined) options.onConflict = onConflict
  if (tools.onCommit !== undefined) options.onCommit = tools.onCommit
  return writeRecords(recordsAt(batch.records, request), options)
}

async function blobOptions(
  { tools, source: { did }, now }: StepRun,
  { uploads }: Pick<WriteState, 'uploads'>,
): Promise<Pick<WriteOptions, 'blobs' | 'onUploads'>> {
  const { blobs, budgets, network } = tools
  if (blobs === undefined || uploads === undefined) return {}
  const { pdsUrl } = await network.identity.resolve(did)
  let counted = uploads
  return {
    blobs: await blobs(did),
    onUploads(after) {
      budgets.keepUploads(pdsUrl, counted, after, now())
      counted = after
    },
  }
}

/** In the order in which they are to go on. */
function restOf(
  { records, overwrites }: PlannedBatch,
  request: WriteRequest,
  { left }: WriteResult,
): PlannedBatch | undefined {
  if (left.length === 0) return undefined
  const indices = new Map(
    records.flatMap((index) => {
      const record = request.records[index]
      return record === undefined ? [] : [[nameOf(record), index] as const]
    }),
  )
  const rest = left.flatMap((record) => indices.get(nameOf(record)) ?? [])
  const waits = new Set(rest)
  return { records: rest, overwrites: overwrites.filter((index) => waits.has(index)) }
}

/** As in `planAnew`: what `writeRecords` finds there already is what this run wanted there. */
function* countLanded(
  written: readonly WrittenRecord[],
  request: WriteRequest,
  batch: PlannedBatch,
): Generator<WrittenRecord> {
  const overwritten = new Set(recordsAt(batch.overwrites, request).map(nameOf))
  for (const record of written) {
    if (record.outcome !== 'same') yield record
    else yield { ...record, outcome: overwritten.has(nameOf(record)) ? 'overwritten' : 'created' }
  }
}

function recordsAt(indices: readonly number[], { records }: WriteRequest): WriteRequest['records'] {
  return indices.flatMap((index) => records[index] ?? [])
}

function nameOf({ collection, rkey }: { collection: string; rkey: string }): string {
  return `${collection}/${rkey}`
}
