/** What may happen to the records of two accounts, as fast-check makes it up and shrinks it. */

import { TID } from '@atproto/common-web'
import { AtUri } from '@atproto/syntax'
import fc from 'fast-check'
import type { JsonObject, RecordEvent, RecordUpsert } from '../../src/events.ts'
import { encodeRecord } from '../../src/repo/record.ts'
import type { Sample } from './handlers-contract.ts'

/** One record written or deleted: `variant` undefined deletes. What is not there cannot be deleted and is written. */
export interface Op {
  sample: number
  variant: number | undefined
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
  samples: readonly Sample[],
  rankOf: (collection: string) => number,
  maxCommits = 25,
): fc.Arbitrary<History> {
  const own = [...Map.groupBy(samples.keys(), (index) => didOf(samples[index])).values()]
  const written = fc.nat(VARIANTS - 1)
  const variant = fc.oneof(
    { weight: 4, arbitrary: written },
    { weight: 1, arbitrary: fc.constant(undefined) },
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
  return fc
    .tuple(start, fc.tuple(...focus), fc.array(commit, { minLength: 1, maxLength: maxCommits, size: 'max' }))
    .map(([{ ranks, variant: first }, chosen, commits]) => {
      const inPlace = own
        .map((indices) =>
          indices
            .filter((index) => rankOf(collectionOf(samples[index])) < ranks)
            .map((sample): Op => ({ sample, variant: (first + sample) % VARIANTS })),
        )
        .filter((ops) => ops.length > 0)
      const later = commits.map(({ account, ops }) => {
        const among = chosen[account] ?? []
        const picked = ops.flatMap(({ pick, variant: said }): Op[] => {
          const sample = among[pick % among.length]
          return sample === undefined ? [] : [{ sample, variant: said }]
        })
        return [...new Map(picked.map((op) => [op.sample, op])).values()]
      })
      return [...inPlace, ...later]
    })
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
  /** The seqs at which commits end: where a cursor may stand. */
  commitEnds: readonly number[]
}

/** The events of a history, as a relay would send them. */
export function streamOf(samples: readonly Sample[], history: History): Stream {
  const repos = new Map<string, Map<string, JsonObject>>()
  const revs = new Map<string, string>()
  const events: RecordEvent[] = []
  const states: RepoState[][] = []
  const commitEnds: number[] = []
  for (const [number, ops] of history.entries()) {
    const rev = TID.fromTime(1_700_000_000_000_000 + number, 0).toString()
    const made = ops.flatMap(({ sample: index, variant }): RecordEvent[] => {
      const sample = samples[index]
      if (sample === undefined) return []
      const did = didOf(sample)
      const repo = repos.get(did) ?? new Map<string, JsonObject>()
      repos.set(did, repo)
      revs.set(did, rev)
      const { uri } = sample
      const before = repo.get(uri)
      const prev = before === undefined ? {} : { prev: encodeRecord(before).cid }
      if (variant === undefined && before !== undefined) {
        repo.delete(uri)
        return [{ ...baseOf(uri, rev, 0), ...prev, event: 'delete' }]
      }
      const record = sample.record(variant ?? 0)
      repo.set(uri, record)
      const { cid, record: lex } = encodeRecord(record)
      return [
        {
          ...baseOf(uri, rev, 0),
          ...prev,
          event: before === undefined ? 'create' : 'update',
          cid,
          record: lex,
        },
      ]
    })
    const state = [...repos].map(([did, records]) => ({
      did,
      rev: revs.get(did) ?? '',
      records: new Map(records),
    }))
    // All events of a commit have its seq.
    for (const event of made) events.push({ ...event, seq: number + 1 })
    for (const _ of made) states.push(state)
    commitEnds.push(number + 1)
  }
  return { events, commitEnds, reposAfter: (index) => states[index] ?? [] }
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
