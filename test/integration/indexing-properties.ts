/** What must hold for every history of every appview's records, whatever the sources, their order, and their end. */

import fc from 'fast-check'
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { AppView, RecordEvent } from '../../src/events.ts'
import type { StackOptions } from '../../src/stack/index.ts'
import {
  deletesOf,
  type HistorySample,
  histories,
  type RepoState,
  replayOf,
  type Stream,
  streamOf,
  VARIANTS,
} from './histories.ts'
import { type IndexedWorld, index, startIndexedWorld } from './indexed-world.ts'
import { mortal } from './mortal-database.ts'
import { assertFor, type Effort, timeoutMsOf } from './timed-property.ts'

export interface PropertyCase {
  appview: AppView
  stack: StackOptions
  tables: readonly string[]
  /** Records of two accounts that name one another as parents and want the same unique keys. */
  samples: readonly HistorySample[]
}

/** A replay that comes while the live stream goes on. */
interface Meanwhile {
  account: number
  /** The repo as it was or will be at this part of the stream: a PDS may be ahead of its relay, or serve an old copy. */
  moment: number
  batch: number
  withDeletes: boolean
}

/** How many events come live, and what is replayed at the same time. */
interface Stretch {
  live: number
  batch: number
  replay: Meanwhile | undefined
}

const part = fc.double({ min: 0, max: 1, noNaN: true })
const stretches: fc.Arbitrary<Stretch[]> = fc.array(
  fc.record({
    live: fc.integer({ min: 1, max: 12 }),
    batch: fc.integer({ min: 1, max: 12 }),
    replay: fc.option(
      fc.record({
        account: fc.nat(1),
        moment: part,
        batch: fc.integer({ min: 1, max: 12 }),
        withDeletes: fc.boolean(),
      }),
      { nil: undefined, freq: 3 },
    ),
  }),
  { minLength: 1, maxLength: 20 },
)

interface Life {
  /** Events until the process is killed. */
  events: number
  /** Events until each save of the cursor. */
  saveEvery: number
  batch: number
}
const lives: fc.Arbitrary<Life[]> = fc.array(
  fc.record({
    events: fc.integer({ min: 0, max: 20 }),
    saveEvery: fc.integer({ min: 1, max: 10 }),
    batch: fc.integer({ min: 1, max: 6 }),
  }),
  { maxLength: 5 },
)

export function describeIndexingProperties(given: PropertyCase, effort: Effort): void {
  let world: IndexedWorld & AsyncDisposable

  beforeAll(async () => {
    world = await startIndexedWorld(given.appview, given.stack, given.tables)
  })
  afterAll(() => world?.[Symbol.asyncDispose]())

  const ranks = new Map(given.appview.handlers.map(({ collection, rank }) => [collection, rank]))
  const rankOf = (collection: string) => ranks.get(collection) ?? 0
  const timeoutMs = timeoutMsOf(effort)

  /** What the final repos give, replayed into empty tables. */
  async function expected(stream: Stream): Promise<Record<string, unknown[]>> {
    await world.empty()
    await world.replay(stream.reposAfter(stream.events.length - 1))
    return world.derived()
  }

  test('every record stands for rows, but for the unfit ones; or nothing would be shown', () => {
    const variants = Array.from({ length: VARIANTS }, (_, variant) => variant)
    for (const [sample, { uri, record }] of given.samples.entries()) {
      for (const variant of variants) {
        const [event] = streamOf(given.samples, [[{ sample, variant }]]).events
        const handler = given.appview.handlers.find(({ collection }) => collection === event?.collection)
        if (event === undefined || event.event === 'delete') throw new Error(`no event for ${uri}`)
        expect({ record: record(variant), result: handler?.rows(event) }).toMatchObject({
          result: { outcome: 'rows' },
        })
      }
      const [unfit] = streamOf(given.samples, [[{ sample, variant: 'unfit' }]]).events
      const handler = given.appview.handlers.find(({ collection }) => collection === unfit?.collection)
      if (unfit === undefined || unfit.event === 'delete') throw new Error(`no event for ${uri}`)
      expect(handler?.rows(unfit)).toMatchObject({ outcome: 'invalid' })
    }
  })

  const { samples } = given
  const history = histories(samples, rankOf)

  test(
    'indexed live is the same as the final repos replayed into empty tables, from each source',
    async () => {
      const batches = fc.array(fc.integer({ min: 1, max: 12 }), { minLength: 1, maxLength: 20 })
      await assertFor(
        effort,
        fc.tuple(history, batches, fc.boolean()),
        async ([commits, sizes, reversed]) => {
          const { events, reposAfter } = streamOf(samples, commits)
          await world.empty()
          await liveIn(world, events, sizes)
          const live = await world.derived()
          const repos = reposAfter(events.length - 1)
          const inTurn = reversed ? repos.toReversed() : repos
          await world.empty()
          await world.replay(inTurn)
          expect(await world.derived()).toEqual(live)
          // The relay's slices of one account after the other, deletes and all.
          await world.empty()
          for (const { did } of inTurn) {
            await liveIn(
              world,
              events.filter((event) => event.did === did),
              sizes,
            )
          }
          expect(await world.derived()).toEqual(live)
        },
      )
    },
    timeoutMs,
  )

  test(
    'any interleaving of live and replay on two connections ends in the same',
    async () => {
      await assertFor(effort, fc.tuple(history, stretches), async ([commits, plan]) => {
        const stream = streamOf(samples, commits)
        await world.empty()
        let at = 0
        for (const { live, batch, replay } of cycled(plan, stream.events.length)) {
          const events = stream.events.slice(at, at + live)
          at += live
          await Promise.all([
            index(world.indexer({ maxBatchEvents: batch }), events),
            replay === undefined ? undefined : replayIn(world, stream, replay, rankOf),
          ])
        }
        const found = await world.derived()
        expect(found).toEqual(await expected(stream))
      })
    },
    timeoutMs,
  )

  test(
    'a consumer that is killed at any event and goes on from its cursor ends in the same',
    async () => {
      await assertFor(effort, fc.tuple(history, lives), async ([commits, plan]) => {
        const stream = streamOf(samples, commits)
        await world.empty()
        await liveThrough(world, stream, plan)
        const found = await world.derived()
        expect(found).toEqual(await expected(stream))
      })
    },
    timeoutMs,
  )
}

/** Repeats the plan until all events have come. */
function* cycled(plan: readonly Stretch[], count: number): Generator<Stretch> {
  for (let done = 0, turn = 0; done < count; turn++) {
    const stretch = plan[turn % plan.length]
    if (stretch === undefined) return
    yield stretch
    done += stretch.live
  }
}

async function liveIn(
  world: IndexedWorld,
  events: readonly RecordEvent[],
  sizes: readonly number[],
): Promise<void> {
  const indexer = world.indexer()
  for (let at = 0, turn = 0; at < events.length; turn++) {
    const size = sizes[turn % sizes.length] ?? 1
    await index(indexer, events.slice(at, at + size))
    at += size
  }
}

async function replayIn(
  world: IndexedWorld,
  { events, reposAfter }: Stream,
  { account, moment, batch, withDeletes }: Meanwhile,
  rankOf: (collection: string) => number,
): Promise<void> {
  const repos: readonly RepoState[] = reposAfter(Math.floor(moment * (events.length - 1)))
  const repo = repos[account % repos.length]
  if (repo === undefined) return
  const indexer = world.indexer({ database: world.databases[1], maxBatchEvents: batch })
  await index(indexer, replayOf(repo, rankOf))
  if (withDeletes) await index(indexer, deletesOf(repo, await world.standing()))
}

/** One process after the other, each from the cursor that the one before it saved last. The last one lives. */
async function liveThrough(world: IndexedWorld, { events }: Stream, plan: readonly Life[]): Promise<void> {
  let saved = 0
  const dying: Promise<void>[] = []
  for (const life of plan) {
    const { database, kill, settled } = mortal(world.databases[0])
    const indexer = world.indexer({ database, maxBatchEvents: life.batch })
    const left = events.filter(({ seq }) => seq > saved).slice(0, life.events)
    for (const [number, event] of left.entries()) {
      await indexer.handle(event)
      // The cursor is of whole commits: it stands before one that is not done with.
      const isLast =
        left[number + 1]?.seq !== event.seq && events.findLast(({ seq }) => seq === event.seq) === event
      if (isLast && number % life.saveEvery === 0) {
        await indexer.flush()
        saved = event.seq
      }
    }
    kill()
    dying.push(settled())
  }
  await index(
    world.indexer(),
    events.filter(({ seq }) => seq > saved),
  )
  await Promise.all(dying)
}
