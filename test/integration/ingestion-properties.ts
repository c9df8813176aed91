/**
 * What must hold for every history, from the PDS to the tables: the repos are written by their accounts, their
 * stream is consumed, their CARs and the stream's windows are replayed, each by what does so in production.
 */

import fc from 'fast-check'
import { expect, test } from 'vitest'
import { saveCursor } from '../../src/database/cursors.ts'
import { cidOfRecord } from '../../src/repo/record.ts'
import { type Commit, commitsOf, type History, histories } from './histories.ts'
import type { Following, Ingestion, Replay, Source } from './ingestion.ts'
import { type Death, mortal } from './mortal-database.ts'
import { assertFor, type Effort, timeoutMsOf } from './timed-property.ts'

/** A replay that comes while the live stream goes on. */
export interface Meanwhile {
  /** The part of the history after which it starts. */
  after: number
  account: number
  source: Source
  batch: number
  /** Whether everything else waits for its end. */
  isAwaited: boolean
}

const batch = fc.integer({ min: 1, max: 12 })
const meanwhiles: fc.Arbitrary<Meanwhile[]> = fc.array(
  fc.record({
    after: fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }),
    account: fc.nat(1),
    source: fc.constantFrom<Source>('repo', 'relay'),
    batch,
    isAwaited: fc.boolean(),
  }),
  { minLength: 1, maxLength: 4 },
)
const deaths: fc.Arbitrary<Death[]> = fc.array(
  fc.record({ call: fc.integer({ min: 1, max: 12 }), isSent: fc.boolean() }),
  { minLength: 1, maxLength: 4 },
)

const MAX_COMMITS = 20

/** @param open called by the tests, once what it needs has been started */
export function describeIngestionProperties(open: () => Ingestion, effort: Effort): void {
  const timeoutMs = timeoutMsOf(effort)
  const assertOf = <Plan>(
    plan: fc.Arbitrary<Plan>,
    holds: (ingestion: Ingestion, commits: readonly Commit[], plan: Plan) => Promise<void>,
  ) => {
    const ingestion = open()
    const { samples } = ingestion.given
    const made = fc.tuple(histories(samples, ingestion.rankOf, MAX_COMMITS), plan)
    return assertFor(effort, made, ([history, planned]) =>
      holds(ingestion, writtenCommits(ingestion, history), planned),
    )
  }

  test(
    'indexed live is the same as replayed into empty tables from the repos, and from the relay',
    () =>
      assertOf(fc.record({ batch, isReversed: fc.boolean() }), async (ingestion, commits, plan) => {
        const start = await begin(ingestion)
        const live = ingestion.follow({ cursor: start, batch: plan.batch })
        const end = await writeAll(ingestion, commits)
        await live.reached(end)
        await live.stop()
        expect(await ingestion.cursor()).toBeGreaterThanOrEqual(end)
        const [indexed, states] = [await found(ingestion, commits), await ingestion.states()]

        const order = plan.isReversed ? [1, 0] : [0, 1]
        const replays = (source: Source) =>
          order.map((account) => replayOf(ingestion, { source, account, batch: plan.batch }, [start, end]))
        await replayed(ingestion, replays('repo'))
        expect({ from: 'repo', rows: await ingestion.derived() }).toEqual({ from: 'repo', rows: indexed })
        await replayed(ingestion, replays('relay'))
        expect({ from: 'relay', rows: await found(ingestion, commits) }).toEqual({
          from: 'relay',
          rows: indexed,
        })
        expect(await ingestion.states()).toEqual(states)
      }),
    timeoutMs,
  )

  test(
    'any interleaving of live and replay on two connections ends in the same',
    () =>
      assertOf(fc.record({ batch, replays: meanwhiles }), async (ingestion, commits, plan) => {
        const start = await begin(ingestion)
        // While it is written, so that replays find the repo as it is in between.
        const end = await liveWhileWritten(ingestion, commits, { start, ...plan })
        const whileWritten = await found(ingestion, commits, 'by URI')
        // And behind the repo, as a consumer that catches up is.
        await ingestion.world.empty()
        await liveBehind(ingestion, commits, { window: [start, end], ...plan })
        const behind = await found(ingestion, commits)

        await replayed(ingestion, everything(ingestion, [start, end]))
        const rows = await ingestion.derived()
        expect({ live: 'while it is written', rows: whileWritten }).toEqual({
          live: 'while it is written',
          rows,
        })
        expect({ live: 'behind', rows: behind }).toEqual({ live: 'behind', rows })
      }),
    timeoutMs,
  )

  test(
    'a consumer that is killed at any of its calls and goes on from its cursor ends in the same',
    () =>
      assertOf(fc.record({ batch, deaths }), async (ingestion, commits, plan) => {
        const start = await begin(ingestion)
        const writing = writeAll(ingestion, commits)
        for (const death of plan.deaths) await liveUntil(ingestion, { death, batch: plan.batch, writing })
        const end = await writing
        const last = ingestion.follow({ cursor: (await ingestion.cursor()) ?? start, batch: plan.batch })
        await last.reached(end)
        await last.stop()
        const rows = await found(ingestion, commits)
        await replayed(ingestion, everything(ingestion, [start, end]))
        expect(rows).toEqual(await ingestion.derived())
      }),
    timeoutMs,
  )
}

export function writtenCommits({ given }: Ingestion, history: History): Commit[] {
  return commitsOf(given.samples, history).filter(({ writes }) => writes.length > 0)
}

/** Nothing in the repos, nothing in the tables. @returns the seq behind which the history begins */
export async function begin({ repos, world }: Ingestion): Promise<number> {
  const start = await repos.clear()
  await world.empty()
  await saveCursor(world.databases[0], repos.service, start)
  return start
}

/** @returns the seq of the last commit, or of what was before where there is none */
export async function writeAll({ repos }: Ingestion, commits: readonly Commit[]): Promise<number> {
  let rev: string | undefined
  for (const commit of commits) rev = await repos.write(commit)
  return rev === undefined ? 0 : repos.seqOf(rev)
}

/**
 * What is in the tables, with what the history says of it where that needs no indexer to be known.
 *
 * @param tombstonesAre `by URI` where a replay follows a repo that moves on: that a record is gone it learns, but not
 *   what it was last, and of the live events that say so it has the newer revision
 */
export async function found(
  ingestion: Ingestion,
  commits: readonly Commit[],
  tombstonesAre: 'by URI' | 'by URI and CID' = 'by URI and CID',
): Promise<Record<string, unknown[]>> {
  const rows = await ingestion.derived()
  expect(rows.deadLetters).toEqual([])
  expect(rows.records).toEqual(standingOf(commits))
  const states = (await ingestion.states()) as { uri: string; cid: string; deleted: boolean }[]
  const named = ({ uri, cid }: NamedRecord) => (tombstonesAre === 'by URI' ? uri : { uri, cid })
  expect(states.filter(({ deleted }) => deleted).map(named)).toEqual(deletedOf(commits).map(named))
  return rows
}

type NamedRecord = { uri: string; cid: string }

function standingOf(commits: readonly Commit[]): NamedRecord[] {
  return lastWrites(commits).flatMap(({ uri, record }) =>
    record === undefined ? [] : [{ uri: uri.toString(), cid: cidOfRecord(record) }],
  )
}

/** With the CIDs that they had last: what a restore goes by. */
function deletedOf(commits: readonly Commit[]): NamedRecord[] {
  return lastWrites(commits).flatMap(({ uri, record, before }) =>
    record !== undefined || before === undefined ? [] : [{ uri: uri.toString(), cid: cidOfRecord(before) }],
  )
}

function lastWrites(commits: readonly Commit[]) {
  const all = commits.flatMap(({ writes }) => writes)
  const last = new Map(all.map((write) => [write.uri.toString(), write]))
  return [...last.keys()].toSorted().flatMap((uri) => last.get(uri) ?? [])
}

type Window = readonly [start: number, end: number]

function replayOf(
  { repos }: Ingestion,
  { source, account, batch: size }: Pick<Meanwhile, 'source' | 'account' | 'batch'>,
  [cursor, until]: Window,
): Replay {
  return { source, did: repos.accounts[account]?.did ?? '', window: { cursor, until }, batch: size }
}

/** Both repos as they are, in batches of the usual size. */
export function everything(ingestion: Ingestion, window: Window): Replay[] {
  return [0, 1].map((account) => replayOf(ingestion, { source: 'repo', account, batch: 500 }, window))
}

/** Into empty tables, one after the other. */
export async function replayed(ingestion: Ingestion, replays: readonly Replay[]): Promise<void> {
  await ingestion.world.empty()
  for (const replay of replays) await ingestion.replay(replay)
}

interface Plan {
  batch: number
  replays: readonly Meanwhile[]
}

/** @returns the seq of the last commit */
async function liveWhileWritten(
  ingestion: Ingestion,
  commits: readonly Commit[],
  { start, batch: size, replays }: Plan & { start: number },
): Promise<number> {
  const { repos } = ingestion
  const live = ingestion.follow({ cursor: start, batch: size })
  const replaying: Promise<void>[] = []
  let end = start
  for (const [number, commit] of commits.entries()) {
    const rev = await repos.write(commit)
    const due = replays.filter(({ after }) => Math.floor(after * commits.length) === number)
    if (due.length === 0 && number < commits.length - 1) continue
    end = await repos.seqOf(rev)
    for (const one of due) {
      const replay = ingestion.replay(replayOf(ingestion, one, [start, end]))
      replaying.push(replay)
      if (one.isAwaited) await replay
    }
  }
  await Promise.all([live.reached(end), ...replaying])
  await live.stop()
  return end
}

async function liveBehind(
  ingestion: Ingestion,
  commits: readonly Commit[],
  { window, batch: size, replays }: Plan & { window: Window },
): Promise<void> {
  const total = commits.reduce((count, { writes }) => count + writes.length, 0)
  const replaying: Promise<void>[] = []
  const onEvent = async (count: number): Promise<void> => {
    for (const one of replays.filter(({ after }) => Math.floor(after * total) === count)) {
      const replay = ingestion.replay(replayOf(ingestion, one, window))
      replaying.push(replay)
      if (one.isAwaited) await replay
    }
  }
  const live = ingestion.follow({ cursor: window[0], batch: size, onEvent })
  await live.reached(window[1])
  await Promise.all(replaying)
  await live.stop()
}

/** One life of a consumer, from the cursor that is saved. It ends by its death, or when there is nothing left. */
async function liveUntil(
  ingestion: Ingestion,
  { death, batch: size, writing }: { death: Death; batch: number; writing: Promise<number> },
): Promise<void> {
  const cursor = (await ingestion.cursor()) ?? 0
  const { database, guarded, died, kill, settled } = mortal(ingestion.world.databases[0], death)
  const live: Following = ingestion.follow({ cursor, batch: size, database, guarded, drainMs: 1 })
  await Promise.race([died, writing.then((end) => live.reached(end))])
  kill()
  await live.abandon()
  await settled()
}
