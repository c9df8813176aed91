import { SessionError } from '../errors.ts'
import { blobRefsOf } from '../pds/blobs/refs.ts'
import { fetchRepo } from '../pds/repo.ts'
import type { Session } from '../pds/session.ts'
import { newWriteState } from '../pds/write-state.ts'
import { planBatches } from './plan-batches.ts'
import type { WriteRequest } from './request.ts'
import { summaryOf, type Tally, type WriteSummary } from './summary.ts'
import { joinBatches, type StepInput, writeStep } from './write-step.ts'
import { type Steps, type WriteSource, type WriteTools, withSession } from './write-tools.ts'

export type { Network, Steps, Wait, WriteSource, WriteTools } from './write-tools.ts'

/**
 * Brings the account's repo to hold the request's records. Every step decides by the repo's state when it runs, so
 * that one that runs twice, or after another writer, commits nothing that is there already.
 *
 * @throws SessionError before anything is written when the session is dead; as `fetchRepo` and `writeRecords` do
 */
export async function runWrite(steps: Steps, source: WriteSource, tools: WriteTools): Promise<WriteSummary> {
  const { did } = source
  await steps.run('verify-session', () => verifySession(source, tools))
  const now = tools.now ?? Date.now
  const { budget, ...plan } = await steps.run('plan', async () => {
    const request = await source.load()
    const pace = { budget: tools.budgets.of(did, now()), nowMs: now() }
    return { ...planBatches(request, await fetchRepo(did, tools.network), { pace }), budget: pace.budget }
  })
  tools.onPlan?.(plan)
  const run = { source, tools, way: plan.way, now }
  const tallies: Tally[] = [plan.settled]
  let commits = 0
  let input: StepInput = {
    batches: tools.stepBudgetMs === Number.POSITIVE_INFINITY ? joinBatches(plan.batches) : plan.batches,
    state: { ...newWriteState(budget), head: plan.head },
  }
  for (let step = 1; input.batches.length > 0; step++) {
    const result = await steps.run(`write-batch-${step}`, () => writeStep(run, input))
    tallies.push(result.tally)
    commits += result.commits
    input = { batches: result.left, state: result.state }
    if (result.wait !== undefined) await steps.waitUntil(`wait-after-${step}`, result.wait.untilMs)
  }
  return summaryOf(tallies, commits)
}

async function verifySession(source: WriteSource, tools: WriteTools): Promise<{ did: string }> {
  const request = await source.load()
  const { did } = request
  await tools.network.identity.refresh(did)
  await withSession(did, tools, (session) => verify(session, request, tools))
  return { did }
}

async function verify(
  session: Session,
  { did, records }: WriteRequest,
  { blobs }: WriteTools,
): Promise<void> {
  const collections = [...new Set(records.map(({ collection }) => collection))]
  if (blobs === undefined) return session.verify({ collections })
  const cids = new Set(records.flatMap(({ record }) => blobRefsOf(record).map(({ cid }) => cid)))
  if (cids.size === 0) return session.verify({ collections })
  try {
    await session.verify({ collections, blobs: true })
  } catch (error) {
    if (!(error instanceof SessionError)) throw error
    // A session that may not upload will do where all blobs are there already.
    const { isServed } = await blobs(did)
    if ((await isServed(cids)).size < cids.size) throw error
    await session.verify({ collections })
  }
}
