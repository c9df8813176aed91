import { $nsid, type Main, main } from '../../lexicons/site/standard/graph/subscription.ts'
import { handlerOf } from './handler.ts'
import { subscriptionMutations } from './subscriptions.ts'
import { SUBSCRIPTIONS } from './tables.ts'

/** Departures from the appview's indexer: those listed in subscriptions.ts. */
export const siteStandardGraphSubscription = handlerOf<Main>({
  collection: $nsid,
  schema: main,
  derives: [SUBSCRIPTIONS],
  rank: 2,
  mutations: (event, record, json) => subscriptionMutations(event, record.publication, json),
})
