import { $nsid, type Main, main } from '../../lexicons/pub/leaflet/comment.ts'
import { handlerOf } from './handler.ts'
import { COMMENTS } from './tables.ts'

/**
 * Departures from the appview's indexer, each needed for rows that are a function of the current records:
 * - A comment whose document is not there yet waits for it. The indexer drops it.
 * - A comment by an account without a profile row is written with `profile` empty, where that column is a foreign
 *   key. The indexer drops it, although profiles come and go independently of comments.
 */
export const pubLeafletComment = handlerOf<Main>({
  collection: $nsid,
  schema: main,
  derives: [COMMENTS],
  rank: 2,
  mutations: (event, record, json) => [
    {
      kind: 'upsert',
      into: COMMENTS,
      row: { uri: event.uri.toString(), profile: event.did, document: record.subject, record: json },
    },
  ],
})
