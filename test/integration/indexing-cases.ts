/** Records of two accounts that read one another, in the two appviews that the indexer is shown with. */

import { leaflet } from '../../src/appview/leaflet/index.ts'
import type { JsonObject } from '../../src/events.ts'
import { GARDENS_MIGRATION, gardens } from '../fixtures/gardens/index.ts'
import type { Sample } from './handlers-contract.ts'
import type { HistorySample } from './histories.ts'
import type { PropertyCase } from './indexing-properties.ts'

/** The DIDs of two accounts. */
export type Dids = readonly [string, string]

const NOBODIES: Dids = ['did:plc:first', 'did:plc:second']
const MOMENT = '2026-01-01T00:00:00.000Z'
const RKEYS = ['3bbbbbbbbbbb2', '3aaaaaaaaaaa2', '3ccccccccccc2']

/** Makes one record for each account, collection and key. */
type MakeSamples = (
  collections: readonly string[],
  count: number,
  fields: (variant: number, self: { did: string; index: number }) => JsonObject,
) => HistorySample[]

function samplesFor(dids: Dids): MakeSamples {
  return (collections, count, fields) =>
    dids.flatMap((did) =>
      collections.flatMap((collection) =>
        RKEYS.slice(0, count).map((rkey, index) => ({
          uri: `at://${did}/${collection}/${rkey}`,
          record: (variant: number) => ({ $type: collection, ...fields(variant, { did, index }) }),
          unfit: { $type: collection },
        })),
      ),
    )
}

/** One of several, by the variant. */
const pick = (from: readonly Sample[], variant: number): string => from[variant % from.length]?.uri ?? ''

function leafletCase(dids: Dids): PropertyCase {
  const samplesOf = samplesFor(dids)
  const publications = samplesOf(['site.standard.publication', 'pub.leaflet.publication'], 1, (variant) => ({
    name: `Notes ${variant % 3}`,
    url: 'https://notes.example',
  }))
  const documents = samplesOf(['site.standard.document'], 2, (variant) => ({
    site: variant % 5 === 4 ? 'https://elsewhere.example' : pick(publications, variant),
    title: `Post ${variant % 3}`,
    publishedAt: MOMENT,
  }))
  const leafletDocuments = samplesOf(['pub.leaflet.document'], 1, (variant, { did }) => ({
    title: `Post ${variant % 3}`,
    author: did,
    publication: pick(publications, variant),
    pages: [],
  }))
  const bothKinds = [...documents, ...leafletDocuments]
  const subscriptions = samplesOf(
    ['site.standard.graph.subscription', 'pub.leaflet.graph.subscription'],
    2,
    (variant) => ({ publication: pick(publications, variant) }),
  )
  const recommends = [
    ...samplesOf(['pub.leaflet.interactions.recommend'], 2, (variant) => ({
      subject: pick(bothKinds, variant),
      createdAt: MOMENT,
    })),
    ...samplesOf(['site.standard.graph.recommend'], 2, (variant) => ({
      document: pick(bothKinds, variant),
      createdAt: MOMENT,
    })),
  ]
  const comments = samplesOf(['pub.leaflet.comment'], 1, (variant) => ({
    subject: pick(bothKinds, variant),
    plaintext: `Comment ${variant % 3}`,
    createdAt: MOMENT,
  }))
  const polls = samplesOf(['pub.leaflet.poll.definition'], 1, (variant) => ({
    name: `Poll ${variant % 2}`,
    options: [{ text: 'Yes' }],
  }))
  const votes = samplesOf(['pub.leaflet.poll.vote'], 2, (variant) => ({
    poll: {
      uri: pick(polls, variant),
      cid: 'bafyreie5737gdxlw5i64vzichcalba3z2v5n6icifvx5xytvske7mr3hpm',
    },
    option: ['Yes'],
  }))
  return {
    appview: leaflet,
    stack: {},
    tables: ['identities', 'publications', 'documents', 'atp_poll_records'],
    samples: [
      ...publications,
      ...documents,
      ...leafletDocuments,
      ...subscriptions,
      ...recommends,
      ...comments,
      ...polls,
      ...votes,
    ],
  }
}

function gardensCase(dids: Dids): PropertyCase {
  const samplesOf = samplesFor(dids)
  const plots = samplesOf(['example.garden.plot'], 2, (variant) => ({ title: `Plot ${variant % 3}` }))
  const plantings: HistorySample[] = samplesOf(['example.garden.planting'], 2, (variant) => ({
    plot: pick(plots, variant),
    crops: ['leek', "lamb's lettuce", 'Lauch, früh'].slice(variant % 3),
    // Itself and circles among them.
    ...(variant % 2 === 0 ? { follows: pick(plantings, variant >> 1) } : {}),
  }))
  const visits = samplesOf(['example.garden.visit'], 3, (variant) => ({ plot: pick(plots, variant) }))
  const watches = samplesOf(['example.garden.watch'], 3, (variant) => ({ plot: pick(plots, variant) }))
  return {
    appview: gardens,
    stack: { migrations: [GARDENS_MIGRATION] },
    tables: ['gardeners'],
    samples: [...plots, ...plantings, ...visits, ...watches],
  }
}

/** By the name of the appview. */
export const CASE_OF = { leaflet: leafletCase, gardens: gardensCase }

export const INDEXING_CASES: readonly PropertyCase[] = [leafletCase(NOBODIES), gardensCase(NOBODIES)]
