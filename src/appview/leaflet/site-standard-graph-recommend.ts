import { $nsid, type Main, main } from '../../lexicons/site/standard/graph/recommend.ts'
import { handlerOf } from './handler.ts'
import { recommendMutations } from './recommends.ts'
import { RECOMMENDS } from './tables.ts'

/** Departures from the appview's indexer: those listed in recommends.ts. */
export const siteStandardGraphRecommend = handlerOf<Main>({
  collection: $nsid,
  schema: main,
  derives: [RECOMMENDS],
  rank: 2,
  mutations: (event, record, json) => recommendMutations(event, record.document, json),
})
