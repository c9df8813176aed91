import { $nsid, type Main, main } from '../../lexicons/pub/leaflet/poll/definition.ts'
import { handlerOf } from './handler.ts'
import { POLLS } from './tables.ts'

/** No departure from the appview's indexer: the rows never depended on order. */
export const pubLeafletPollDefinition = handlerOf<Main>({
  collection: $nsid,
  schema: main,
  derives: [POLLS],
  rank: 1,
  mutations: (event, _record, json) => [
    {
      kind: 'upsert',
      into: POLLS,
      row: { uri: event.uri.toString(), cid: event.cid.toString(), record: json },
    },
  ],
})
