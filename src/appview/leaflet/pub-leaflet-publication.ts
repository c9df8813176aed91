import { $nsid, type Main, main } from '../../lexicons/pub/leaflet/publication.ts'
import { PUB_LEAFLET_PUBLICATION_DEFAULTS } from './defaults.ts'
import { handlerOf } from './handler.ts'
import { publicationMutations } from './publications.ts'
import { PUBLICATIONS } from './tables.ts'
import { recordFrom } from './to-record.ts'

/** No departure from the appview's indexer: the rows never depended on order. */
export const pubLeafletPublication = handlerOf<Main>({
  collection: $nsid,
  schema: main,
  derives: [PUBLICATIONS],
  rank: 0,
  mutations: (event, record, json) => publicationMutations(event, record.name, json),
  toRecord: (row) => recordFrom(row.record, $nsid, PUB_LEAFLET_PUBLICATION_DEFAULTS),
})
