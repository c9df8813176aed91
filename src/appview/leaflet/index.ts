/** Leaflet's appview: its collections, the tables they live in, and what a restore must know of these tables. */

import type { AppView } from '../../events.ts'
import { pubLeafletComment } from './pub-leaflet-comment.ts'
import { pubLeafletDocument } from './pub-leaflet-document.ts'
import { pubLeafletGraphSubscription } from './pub-leaflet-graph-subscription.ts'
import { pubLeafletInteractionsRecommend } from './pub-leaflet-interactions-recommend.ts'
import { pubLeafletPollDefinition } from './pub-leaflet-poll-definition.ts'
import { pubLeafletPollVote } from './pub-leaflet-poll-vote.ts'
import { pubLeafletPublication } from './pub-leaflet-publication.ts'
import { siteStandardDocument } from './site-standard-document.ts'
import { siteStandardGraphRecommend } from './site-standard-graph-recommend.ts'
import { siteStandardGraphSubscription } from './site-standard-graph-subscription.ts'
import { siteStandardPublication } from './site-standard-publication.ts'

export const leaflet: AppView = {
  name: 'leaflet',
  handlers: [
    siteStandardPublication,
    pubLeafletPublication,
    siteStandardDocument,
    pubLeafletDocument,
    pubLeafletPollDefinition,
    siteStandardGraphSubscription,
    pubLeafletGraphSubscription,
    siteStandardGraphRecommend,
    pubLeafletInteractionsRecommend,
    pubLeafletComment,
    pubLeafletPollVote,
  ],
  roots: [
    { section: 'publications', table: 'publications', uriColumn: 'uri', recordColumn: 'record' },
    { section: 'documents', table: 'documents', uriColumn: 'uri', recordColumn: 'data' },
  ],
  sections: {
    documents_in_publications: 'documentsInPublications',
    publication_subscriptions: 'publicationSubscriptions',
    recommends_on_documents: 'recommendsOnDocuments',
    comments_on_documents: 'comments',
    document_mentions_in_bsky: 'documentMentions',
    leaflets_in_publications: 'leafletsInPublications',
    leaflets_to_documents: 'leafletsToDocuments',
    publication_domains: 'publicationDomains',
  },
  // A token's id is the address of its editor, in whichever column it turns up. E-mail addresses are personal, and
  // OAuth rows are live sessions.
  sensitiveColumns: [
    'permission_tokens.id',
    'permission_token_rights.token',
    'leaflets_in_publications.leaflet',
    'leaflets_to_documents.leaflet',
    'publications.draft_leaflet',
    'identities.home_page',
    'identities.email',
    'custom_domains.identity',
    'oauth_session_store.session',
    'oauth_state_store.key',
    'oauth_state_store.state',
  ],
  untouchableTables: [
    'identities',
    'permission_tokens',
    'permission_token_rights',
    'entities',
    'entity_sets',
  ],
  // Posts on Bluesky that quote a document: who has deleted the post does not quote it any more.
  foreignRecords: [{ table: 'document_mentions_in_bsky', of: 'uri' }],
  // Its rows say which posts were mailed; a document that came back without its own would be mailed again.
  guardTables: ['publication_post_sends'],
  // A domain shows one publication. The schema's key is both of them together.
  virtualUniqueKeys: [{ table: 'publication_domains', columns: ['domain'] }],
  // A reply names its comment only inside the record. Nothing is done to it when the comment goes.
  virtualReferences: [
    {
      child: 'comments_on_documents',
      path: ['record', 'reply', 'parent'],
      parent: 'comments_on_documents',
      parentColumn: 'uri',
      onDelete: 'no action',
    },
  ],
  knownTables: ['document_tags', 'publication_pages'],
}
