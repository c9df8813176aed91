/** What the made-up histories are about: properties that hold for dull ones would show nothing. */

import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { AppView, JsonObject } from '../../src/events.ts'
import { type Commit, commitsOf, histories, streamOf } from './histories.ts'
import { INDEXING_CASES } from './indexing-cases.ts'

/** In a life of two repos. */
interface Features {
  collections: Set<string>
  'several operations in a commit': boolean
  'a record that is created again': boolean
  'a record that is not fit': boolean
  'two records of one account for one unique key': boolean
  'a parent that goes while a record of the other account names it': boolean
  'such a parent that comes back': boolean
}

function featuresOf(commits: readonly Commit[], uniqueKeyOf: UniqueKeyOf): Features {
  const standing = new Map<string, { did: string; record: JsonObject }>()
  const gone = new Set<string>()
  const features: Features = {
    collections: new Set(),
    'several operations in a commit': commits.some(({ writes }) => writes.length > 1),
    'a record that is created again': false,
    'a record that is not fit': false,
    'two records of one account for one unique key': false,
    'a parent that goes while a record of the other account names it': false,
    'such a parent that comes back': false,
  }
  const namedByOther = (uri: string, did: string) =>
    [...standing.values()].some((one) => one.did !== did && JSON.stringify(one.record).includes(uri))
  for (const { did, writes } of commits) {
    for (const { uri, kind, record } of writes) {
      const text = uri.toString()
      features.collections.add(uri.collection)
      if (kind === 'create' && gone.has(text)) {
        features['a record that is created again'] = true
        features['such a parent that comes back'] ||= namedByOther(text, did)
      }
      if (record === undefined) {
        features['a parent that goes while a record of the other account names it'] ||= namedByOther(
          text,
          did,
        )
        standing.delete(text)
        gone.add(text)
        continue
      }
      const key = uniqueKeyOf(text, record)
      if (key === 'unfit') features['a record that is not fit'] = true
      else if (key !== undefined) {
        features['two records of one account for one unique key'] ||= [...standing].some(
          ([other, one]) => other !== text && uniqueKeyOf(other, one.record) === key,
        )
      }
      standing.set(text, { did, record })
    }
  }
  return features
}

/** What a record's row is to be the only one with, where there is such a thing. */
type UniqueKeyOf = (uri: string, record: JsonObject) => string | undefined

function uniqueKeysOf({ handlers }: AppView): UniqueKeyOf {
  return (uri, record) => {
    const sample = { uri, record: () => record, unfit: record }
    const [event] = streamOf([sample], [[{ sample: 0, variant: 0 }]]).events
    if (event === undefined || event.event === 'delete') return undefined
    const result = handlers.find(({ collection }) => collection === event.collection)?.rows(event)
    if (result?.outcome !== 'rows') return 'unfit'
    for (const mutation of result.mutations) {
      if (mutation.kind !== 'upsert') continue
      const { table, contested } = mutation.into
      if (contested !== undefined)
        return `${table} ${contested.columns.map((column) => mutation.row[column]).join(' ')}`
    }
    return undefined
  }
}

describe.each(INDEXING_CASES)('histories of $appview.name', ({ appview, samples }) => {
  const ranks = new Map(appview.handlers.map(({ collection, rank }) => [collection, rank]))
  const arbitrary = histories(samples, (collection) => ranks.get(collection) ?? 0, 16)
  const lives = fc
    .sample(arbitrary, { numRuns: 100, seed: 4 })
    .map((history) => featuresOf(commitsOf(samples, history), uniqueKeysOf(appview)))

  test('are about all collections of two accounts', () => {
    const seen = new Set(lives.flatMap(({ collections }) => [...collections]))
    expect([...seen].toSorted()).toEqual([...ranks.keys()].toSorted())
    expect(new Set(samples.map(({ uri }) => uri.split('/')[2])).size).toBe(2)
  })

  test.each([
    'several operations in a commit',
    'a record that is created again',
    'a record that is not fit',
    'two records of one account for one unique key',
    'a parent that goes while a record of the other account names it',
    'such a parent that comes back',
  ] as const)('hold %s, often enough for a dozen of them to have it', (feature) => {
    expect(lives.filter((life) => life[feature]).length).toBeGreaterThan(15)
  })
})
