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
import { type Death, type Mortal, mortal } from './mortal-database.ts'
import { assertFor, type Effort, timeoutMsOf } from './timed-property.ts'

/** A replay that comes while the live stream goes on. */
export interface Meanwhile {
  /** The part of the history after which it starts. */
  after: number
  account: number
  source: Source
  /** Of what has passed by then, the part that a relay's window ends with. */
  upTo: number
  batch: number
  /** Everything else waits for its end; or nothing does; or it waits for the end of everything else, with what it has. */
  turn: 'first' | 'beside' | 'last'
}

const batch = fc.integer({ min: 1, max: 12 })
// Of a thousand: a number that says something to whoever reads it.
const part = fc.nat(999).map((thousandths) => thousandths / 1000)
const meanwhiles: fc.Arbitrary<Meanwhile[]> = fc.array(
  fc.record({
    after: part,
    account: fc.nat(1),
    source: fc.constantFrom<Source>('repo', 'relay'),
    upTo: part,
    batch,
    turn: fc.constantFrom<Meanwhile['turn']>('first', 'beside', 'last'),
  }),
  // Many from the start, of which most do no harm: an older state must meet a newer one of the same record.
  { minLength: 1, maxLength: 8, size: 'max' },
)
const deaths: fc.Arbitrary<Death[]> = fc.array(
  fc.record({ call: fc.integer({ min: 1, max: 12 }), isSent: fc.boolean() }),
  { minLength: 1, maxLength: 4, size: 'max' },
)

/** Besides those of scenes. Each takes a PDS some 20 ms. */
const MAX_COMMITS = 12

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
        const seqs = await liveWhileWritten(ingestion, commits, { start, ...plan })
        const whileWritten = await found(ingestion, commits, 'by URI')
        // And behind the repo, as a consumer that catches up is.
        await ingestion.world.empty()
        await liveBehind(ingestion, commits, { start, seqs, ...plan })
        const behind = await found(ingestion, commits)

        await replayed(ingestion, everything(ingestion))
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
        const settling: Promise<void>[] = []
        for (const death of plan.deaths) {
          const { settled } = await liveUntil(ingestion, { death, batch: plan.batch, writing })
          // What the dead one had sent may still be under way while the next one lives.
          settling.push(settled())
        }
        const end = await writing
        const last = ingestion.follow({ cursor: (await ingestion.cursor()) ?? start, batch: plan.batch })
        await last.reached(end)
        await last.stop()
        await Promise.all(settling)
        const rows = await found(ingestion, commits)
        await replayed(ingestion, everything(ingestion))
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
export function everything(ingestion: Ingestion): Replay[] {
  return [0, 1].map((account) => replayOf(ingestion, { source: 'repo', account, batch: 500 }, [0, 0]))
}

/** Into empty tables, one after the other. */
export async function replayed(ingestion: Ingestion, replays: readonly Replay[]): Promise<void> {
  await ingestion.world.empty()
  for (const replay of replays) await ingestion.replay(replay)
}

interface Plan {
  start: number
  batch: number
  replays: readonly Meanwhile[]
}

/** The replays of a plan, beside the live stream. */
class Replays {
  readonly #ingestion: Ingestion
  readonly #plan: Plan
  readonly #running: Promise<void>[] = []
  readonly #liveIsOver = Promise.withResolvers<void>()

  constructor(ingestion: Ingestion, plan: Plan) {
    this.#ingestion = ingestion
    this.#plan = plan
  }

  /** Those that are due when this one of so many has passed. */
  due(number: number, total: number): Meanwhile[] {
    return this.#plan.replays.filter(({ after }) => Math.floor(after * total) === number)
  }

  /** @param seqs of the commits that have been told. @returns when everything else may go on */
  async start(one: Meanwhile, seqs: readonly number[]): Promise<void> {
    const { start } = this.#plan
    const until = seqs[Math.floor(one.upTo * seqs.length)] ?? start
    const replay = replayOf(this.#ingestion, one, [start, until])
    const running = this.#ingestion.replay(replay, one.turn === 'last' ? this.#liveIsOver.promise : undefined)
    // Whoever waits for all of them hears of it.
    running.catch(() => undefined)
    this.#running.push(running)
    if (one.turn === 'first') await running
  }

  async finish(live: Following, end: number): Promise<void> {
    await live.reached(end)
    await live.stop()
    this.#liveIsOver.resolve()
    await Promise.all(this.#running)
  }
}

/** @returns the seqs of the commits */
async function liveWhileWritten(
  ingestion: Ingestion,
  commits: readonly Commit[],
  plan: Plan,
): Promise<number[]> {
  const { repos } = ingestion
  const replays = new Replays(ingestion, plan)
  const live = ingestion.follow({ cursor: plan.start, batch: plan.batch })
  const revs: string[] = []
  const seqs = () => Promise.all(revs.map((rev) => repos.seqOf(rev)))
  for (const [number, commit] of commits.entries()) {
    revs.push(await repos.write(commit))
    for (const one of replays.due(number, commits.length)) await replays.start(one, await seqs())
  }
  const all = await seqs()
  await replays.finish(live, all.at(-1) ?? plan.start)
  return all
}

async function liveBehind(
  ingestion: Ingestion,
  commits: readonly Commit[],
  { seqs, ...plan }: Plan & { seqs: readonly number[] },
): Promise<void> {
  const replays = new Replays(ingestion, plan)
  const total = commits.reduce((count, { writes }) => count + writes.length, 0)
  const onEvent = async (count: number): Promise<void> => {
    for (const one of replays.due(count, total)) await replays.start(one, seqs)
  }
  const live = ingestion.follow({ cursor: plan.start, batch: plan.batch, onEvent })
  await replays.finish(live, seqs.at(-1) ?? plan.start)
}

/** One life of a consumer, from the cursor that is saved. It ends by its death, or when there is nothing left. */
async function liveUntil(
  ingestion: Ingestion,
  { death, batch: size, writing }: { death: Death; batch: number; writing: Promise<number> },
): Promise<Mortal> {
  const cursor = (await ingestion.cursor()) ?? 0
  const life = mortal(ingestion.world.databases[0], death)
  const { database, guarded, died, kill } = life
  const live: Following = ingestion.follow({ cursor, batch: size, database, guarded, drainMs: 1 })
  await Promise.race([died, writing.then((end) => live.reached(end))])
  kill()
  await live.abandon()
  return life
}
