import { $nsid, type Main, main } from '../../lexicons/pub/leaflet/poll/vote.ts'
import { handlerOf } from './handler.ts'
import { VOTES } from './tables.ts'

/**
 * Departure from the appview's indexer, needed for rows that are a function of the current records: a vote whose
 * poll is not there yet waits for it. The indexer drops it. Several votes of one account each keep a row, in both.
 */
export const pubLeafletPollVote = handlerOf<Main>({
  collection: $nsid,
  schema: main,
  derives: [VOTES],
  rank: 2,
  mutations: (event, record, json) => [
    {
      kind: 'upsert',
      into: VOTES,
      row: {
        uri: event.uri.toString(),
        voter_did: event.did,
        poll_uri: record.poll.uri,
        poll_cid: record.poll.cid,
        record: json,
      },
    },
  ],
})
