import { describe } from 'vitest'
import { leaflet } from '../../src/appview/leaflet/index.ts'
import type { JsonObject } from '../../src/events.ts'
import { GARDENS_MIGRATION, gardens } from '../fixtures/gardens/index.ts'
import { describeHandlersContract, type Sample } from './handlers-contract.ts'

const AUTHOR = 'did:plc:author'
const OTHERS = ['did:plc:first', 'did:plc:second']
const MOMENT = '2026-01-01T00:00:00.000Z'

const rkeyOf = (index: number): string => `3${'abcdefgh'[index]}aaaaaaaaaa2`

function sample(
  did: string,
  collection: string,
  index: number,
  fields: (variant: number) => JsonObject,
): Sample {
  return {
    uri: `at://${did}/${collection}/${rkeyOf(index)}`,
    record: (variant) => ({ $type: collection, ...fields(variant) }),
  }
}

/** One of several samples, by the variant. */
function pick(from: readonly Sample[], variant: number): string {
  return from[variant % from.length]?.uri ?? ''
}

const at = <T>(items: readonly T[], index: number): T => {
  const item = items[index]
  if (item === undefined) throw new RangeError(`there is no item ${index}`)
  return item
}

describe('leaflet', () => {
  const publications = [0, 1].map((index) =>
    sample(AUTHOR, 'site.standard.publication', index, (variant) => ({
      name: `Notes ${variant}`,
      url: 'https://notes.example',
    })),
  )
  const documents = [0, 1, 2].map((index) =>
    sample(AUTHOR, 'site.standard.document', index, (variant) => ({
      site: variant % 4 === 3 ? 'https://elsewhere.example' : pick(publications, variant),
      title: `Post ${variant}`,
      publishedAt: MOMENT,
    })),
  )
  const subscriptions = OTHERS.flatMap((did) =>
    ['site.standard.graph.subscription', 'pub.leaflet.graph.subscription'].flatMap((collection, kind) =>
      [0, 1].map((index) =>
        sample(did, collection, 2 * index + kind, (variant) => ({
          publication: pick(publications, variant),
        })),
      ),
    ),
  )
  const recommends = OTHERS.flatMap((did) =>
    [0, 1, 2].map((index) =>
      sample(did, 'pub.leaflet.interactions.recommend', index, (variant) => ({
        subject: pick(documents, variant),
        createdAt: MOMENT,
      })),
    ),
  )
  describeHandlersContract({
    appview: leaflet,
    stack: {},
    tables: ['identities', 'publications', 'documents'],
    // Standing alone, or its link would wait for a publication.
    parent: sample(AUTHOR, 'site.standard.document', 0, (variant) => ({
      site: 'https://elsewhere.example',
      title: `Post ${variant}`,
      publishedAt: MOMENT,
    })),
    child: sample(OTHERS[1] ?? '', 'pub.leaflet.comment', 0, (variant) => ({
      subject: at(documents, 0).uri,
      plaintext: `Comment ${variant}`,
      createdAt: MOMENT,
    })),
    rivals: [at(recommends, 0), at(recommends, 1)],
    astray: at(recommends, 0).record(1),
    unfit: { $type: 'pub.leaflet.comment', subject: 7 },
    count: { table: 'documents', column: 'recommend_count' },
    samples: [...publications, ...documents, ...subscriptions, ...recommends],
  })
})

describe('an invented appview', () => {
  const plots = [0, 1].map((index) =>
    sample(AUTHOR, 'example.garden.plot', index, (variant) => ({ title: `Plot ${variant}` })),
  )
  const plantings: Sample[] = [0, 1, 2].map((index) =>
    sample(AUTHOR, 'example.garden.planting', index, (variant) => ({
      plot: pick(plots, variant),
      crops: ['leek', "lamb's lettuce", 'Lauch, früh'].slice(variant % 3),
      ...(index > 0 && variant % 2 === 0 ? { follows: at(plantings, index - 1).uri } : {}),
    })),
  )
  const ofOthers = (collection: string): Sample[] =>
    OTHERS.flatMap((did) =>
      [0, 1, 2].map((index) => sample(did, collection, index, (variant) => ({ plot: pick(plots, variant) }))),
    )
  const [visits, watches] = [ofOthers('example.garden.visit'), ofOthers('example.garden.watch')]
  describeHandlersContract({
    appview: gardens,
    stack: { migrations: [GARDENS_MIGRATION] },
    tables: ['gardeners'],
    parent: at(plots, 0),
    child: sample(AUTHOR, 'example.garden.planting', 5, (variant) => ({
      plot: at(plots, 0).uri,
      crops: ['leek', 'chard'].slice(variant % 2),
    })),
    rivals: [at(visits, 0), at(visits, 1)],
    astray: at(visits, 0).record(1),
    unfit: { $type: 'example.garden.planting', plot: 'not an AT-URI' },
    count: { table: 'plots', column: 'visit_count' },
    samples: [...plots, ...plantings, ...visits, ...watches],
  })
})
