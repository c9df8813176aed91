/** What may happen to the records of two accounts, as fast-check makes it up and shrinks it. */

import { TID } from '@atproto/common-web'
import { AtUri } from '@atproto/syntax'
import fc from 'fast-check'
import type { JsonObject, RecordEvent, RecordUpsert } from '../../src/events.ts'
import { encodeRecord } from '../../src/repo/record.ts'
import type { Sample } from './handlers-contract.ts'

/** A record that can also be what its handler refuses. */
export interface HistorySample extends Sample {
  unfit: JsonObject
}

/**
 * One record written or deleted: `variant` undefined deletes. What is not there cannot be deleted and is written.
 *
 * Unfit is a record before it was fit for the first time. Later it is deleted instead: a record that stops being fit
 * leaves its last row behind, so whether there is one depends on what was seen of it.
 */
export interface Op {
  sample: number
  variant: number | 'unfit' | undefined
}

/** How many things each record can say. */
export const VARIANTS = 8

/** Commits in the order of the stream; each is one account's. */
export type History = readonly (readonly Op[])[]

/**
 * One record of one account in a commit at most, as in a PDS. Each history is about some of the samples only, for
 * among few records the same ones meet again and again; and most begin with parents in place, for without them all
 * that comes only waits.
 *
 * @param rankOf of a collection: 0 and 1 have children
 */
export function histories(
  samples: readonly HistorySample[],
  rankOf: (collection: string) => number,
  maxCommits = 25,
): fc.Arbitrary<History> {
  const own = [...Map.groupBy(samples.keys(), (index) => didOf(samples[index])).values()]
  const written = fc.nat(VARIANTS - 1)
  const variant = fc.oneof(
    { weight: 12, arbitrary: written },
    { weight: 3, arbitrary: fc.constant(undefined) },
    { weight: 1, arbitrary: fc.constant('unfit' as const) },
  )
  const commit = fc.record({
    account: fc.nat(own.length - 1),
    ops: fc.array(fc.record({ pick: fc.nat(7), variant }), { minLength: 1, maxLength: 4 }),
  })
  // Of each account, up to eight. Large from the start: next to nothing goes wrong in a short life.
  const focus = own.map((indices) =>
    fc.array(fc.constantFrom(...indices), { minLength: 1, maxLength: 8, size: 'max' }),
  )
  const start = fc.record({ ranks: fc.constantFrom(2, 1, 0), variant: written })
  const commits = fc.array(commit, { minLength: 1, maxLength: maxCommits, size: 'max' })
  return fc
    .tuple(start, fc.tuple(...focus), commits, fc.array(scenes(samples), { maxLength: 2 }))
    .map(([{ ranks, variant: first }, chosen, ofCommits, ofScenes]) => {
      const inPlace = own
        .map((indices) =>
          indices
            .filter((index) => rankOf(collectionOf(samples[index])) < ranks)
            .map((sample): Op => ({ sample, variant: (first + sample) % VARIANTS })),
        )
        .filter((ops) => ops.length > 0)
      const later = ofCommits.map(({ account, ops }) => {
        const among = chosen[account] ?? []
        const picked = ops.flatMap(({ pick, variant: said }): Op[] => {
          const sample = among[pick % among.length]
          return sample === undefined ? [] : [{ sample, variant: said }]
        })
        return [...new Map(picked.map((op) => [op.sample, op])).values()]
      })
      for (const { at, ops } of ofScenes) {
        later.splice(Math.floor(at * (later.length + 1)), 0, ...ops.map((op) => [op]))
      }
      const history: History = [...inPlace, ...later]
      // For counterexamples: an index says nothing to anybody.
      return Object.defineProperty(history, fc.toStringMethod, {
        value: () => textOf(commitsOf(samples, history)),
      })
    })
}

interface Scene {
  /** The part of the history after which it begins. */
  at: number
  ops: Op[]
}

/**
 * What chance alone brings about too seldom: a parent that goes, and mostly comes back, while a record of the other
 * account names it, and mostly a second one of the same collection that wants the same unique key.
 */
function scenes(samples: readonly HistorySample[]): fc.Arbitrary<Scene> {
  const namings = namingsIn(samples)
  return fc
    .record({
      naming: fc.constantFrom(...namings),
      rival: fc.option(fc.nat(), { nil: undefined, freq: 4 }),
      end: fc.constantFrom<Op['variant'][]>([0], [1, undefined, 2], []),
      isFirstWithdrawn: fc.boolean(),
      at: fc.double({ min: 0, max: 1, noNaN: true }),
    })
    .map(({ naming, rival, end, isFirstWithdrawn, at }) => {
      const { parent, child, variant } = naming
      const rivals = namings.filter((one) => one.parent === parent && areRivals(samples, one.child, child))
      const second = rival === undefined ? undefined : rivals[rival % rivals.length]
      return {
        at,
        ops: [
          { sample: parent, variant: 0 },
          { sample: child, variant },
          ...(second === undefined ? [] : [{ sample: second.child, variant: second.variant }]),
          { sample: parent, variant: undefined },
          ...end.map((said) => ({ sample: parent, variant: said })),
          ...(isFirstWithdrawn ? [{ sample: child, variant: undefined }] : []),
        ],
      }
    })
}

/** That the child, in this variant, names a record of the other account. */
interface Naming {
  parent: number
  child: number
  variant: number
}

function namingsIn(samples: readonly HistorySample[]): Naming[] {
  const variants = Array.from({ length: VARIANTS }, (_, variant) => variant)
  return [...samples.entries()].flatMap(([child, sample]) =>
    variants.flatMap((variant) => {
      const text = JSON.stringify(sample.record(variant))
      const isNamed = (parent: number) =>
        didOf(samples[parent]) !== didOf(sample) && text.includes(samples[parent]?.uri ?? '')
      return [...samples.keys()].filter(isNamed).map((parent) => ({ parent, child, variant }))
    }),
  )
}

function areRivals(samples: readonly HistorySample[], a: number, b: number): boolean {
  const [one, other] = [samples[a], samples[b]]
  return a !== b && didOf(one) === didOf(other) && collectionOf(one) === collectionOf(other)
}

/** What happens to one record in a commit. */
export interface RecordWrite {
  uri: AtUri
  kind: 'create' | 'update' | 'delete'
  /** Undefined: deleted. */
  record: JsonObject | undefined
  before: JsonObject | undefined
}

export interface Commit {
  did: string
  writes: readonly RecordWrite[]
}

/** A history as what is written to the repos, commit by commit. */
export function commitsOf(samples: readonly HistorySample[], history: History): Commit[] {
  const standing = new Map<string, JsonObject>()
  const wasFit = new Set<string>()
  return history.map((ops) => {
    const writes = ops.flatMap(({ sample: index, variant }): RecordWrite[] => {
      const sample = samples[index]
      if (sample === undefined) return []
      const { uri } = sample
      const before = standing.get(uri)
      const isUnfit = variant === 'unfit' && !wasFit.has(uri)
      if (before !== undefined && typeof variant !== 'number' && !isUnfit) {
        standing.delete(uri)
        return [{ uri: new AtUri(uri), kind: 'delete', record: undefined, before }]
      }
      const record = isUnfit ? sample.unfit : sample.record(typeof variant === 'number' ? variant : 0)
      standing.set(uri, record)
      if (!isUnfit) wasFit.add(uri)
      return [{ uri: new AtUri(uri), kind: before === undefined ? 'create' : 'update', record, before }]
    })
    return { did: writes[0]?.uri.host ?? '', writes }
  })
}

/** For people: one line for each write, with names for accounts. */
function textOf(commits: readonly Commit[]): string {
  const dids = [...new Set(commits.map(({ did }) => did))].toSorted()
  const lines = commits.flatMap(({ did, writes }, number) =>
    writes.map(({ uri, kind, record }) => {
      const { $type: _, ...fields } = record ?? {}
      const said = record === undefined ? '' : ` ${JSON.stringify(fields)}`
      return `${number + 1}. @${dids.indexOf(did)} ${kind} ${uri.collection}/${uri.rkey}${said}`
    }),
  )
  const text = `\n${lines.join('\n')}\n`
  return dids.reduce((named, did, index) => named.replaceAll(did, `@${index}`), text)
}

/** An account's repo at one time. */
export interface RepoState {
  did: string
  rev: string
  /** By URI. */
  records: ReadonlyMap<string, JsonObject>
}

export interface Stream {
  /** In the order of their seq, commit by commit. */
  events: readonly RecordEvent[]
  /** The repos as they are after the event of this index, and the commit that it belongs to. */
  reposAfter(index: number): RepoState[]
}

/** The events of a history, as a relay would send them. */
export function streamOf(samples: readonly HistorySample[], history: History): Stream {
  const repos = new Map<string, Map<string, JsonObject>>()
  const revs = new Map<string, string>()
  const events: RecordEvent[] = []
  const states: RepoState[][] = []
  for (const [number, { did, writes }] of commitsOf(samples, history).entries()) {
    const rev = TID.fromTime(1_700_000_000_000_000 + number, 0).toString()
    const repo = repos.get(did) ?? new Map<string, JsonObject>()
    repos.set(did, repo)
    revs.set(did, rev)
    for (const { uri, record } of writes) {
      if (record === undefined) repo.delete(uri.toString())
      else repo.set(uri.toString(), record)
    }
    const state = [...repos].map(([owner, records]) => ({
      did: owner,
      rev: revs.get(owner) ?? '',
      records: new Map(records),
    }))
    // All events of a commit have its seq.
    for (const write of writes) events.push(eventOf(write, rev, number + 1))
    for (const _ of writes) states.push(state)
  }
  return { events, reposAfter: (index) => states[index] ?? [] }
}

function eventOf({ uri, kind, record, before }: RecordWrite, rev: string, seq: number): RecordEvent {
  const prev = before === undefined ? {} : { prev: encodeRecord(before).cid }
  const base = { ...baseOf(uri.toString(), rev, seq), ...prev }
  if (kind === 'delete' || record === undefined) return { ...base, event: 'delete' }
  const { cid, record: lex } = encodeRecord(record)
  return { ...base, event: kind, cid, record: lex }
}

/** The events of a replay of this repo, parents first. */
export function replayOf(
  { rev, records }: RepoState,
  rankOf: (collection: string) => number,
): RecordUpsert[] {
  return [...records]
    .map(([uri, record]): RecordUpsert => {
      const { cid, record: lex } = encodeRecord(record)
      return { ...baseOf(uri, rev, 0), source: 'repo', event: 'create', cid, record: lex }
    })
    .sort((a, b) => rankOf(a.collection) - rankOf(b.collection))
}

/** Deletes of what the repo has not got, at its revision: what a replay that stands in for lost events adds. */
export function deletesOf({ did, rev, records }: RepoState, known: Iterable<string>): RecordEvent[] {
  return [...new Set(known)]
    .filter((uri) => new AtUri(uri).host === did && !records.has(uri))
    .map((uri) => ({ ...baseOf(uri, rev, 0), source: 'repo', event: 'delete' }))
}

function baseOf(text: string, rev: string, seq: number) {
  const uri = new AtUri(text)
  const { host: did, collection, rkey } = uri
  const commit = encodeRecord({ rev }).cid
  return { source: 'firehose' as const, seq, time: '', commit, rev, uri, did, collection, rkey }
}

function didOf(sample: Sample | undefined): string {
  return new AtUri(sample?.uri ?? '').host
}

function collectionOf(sample: Sample | undefined): string {
  return new AtUri(sample?.uri ?? '').collection
}
