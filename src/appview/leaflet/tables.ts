/** The tables whose rows are derived from records, and how. */

import type { DerivedTable } from '../../events.ts'

export const PUBLICATIONS: DerivedTable = {
  table: 'publications',
  of: 'uri',
  key: ['uri'],
  columns: ['uri', 'identity_did', 'name', 'record'],
}

export const DOCUMENTS: DerivedTable = {
  table: 'documents',
  of: 'uri',
  key: ['uri'],
  columns: ['uri', 'data'],
}

/** A link belongs to the document's record: that is what names the publication. */
export const LINKS: DerivedTable = {
  table: 'documents_in_publications',
  of: 'document',
  key: ['publication', 'document'],
  columns: ['publication', 'document'],
}

export const SUBSCRIPTIONS: DerivedTable = {
  table: 'publication_subscriptions',
  of: 'uri',
  key: ['uri'],
  columns: ['uri', 'identity', 'publication', 'record'],
  contested: { columns: ['publication', 'identity'], winner: 'last' },
}

export const RECOMMENDS: DerivedTable = {
  table: 'recommends_on_documents',
  of: 'uri',
  key: ['uri'],
  columns: ['uri', 'recommender_did', 'document', 'record'],
  contested: { columns: ['recommender_did', 'document'], winner: 'first' },
}

export const COMMENTS: DerivedTable = {
  table: 'comments_on_documents',
  of: 'uri',
  key: ['uri'],
  columns: ['uri', 'profile', 'document', 'record'],
  nullIfMissing: ['profile'],
}

export const POLLS: DerivedTable = {
  table: 'atp_poll_records',
  of: 'uri',
  key: ['uri'],
  columns: ['uri', 'cid', 'record'],
}

export const VOTES: DerivedTable = {
  table: 'atp_poll_votes',
  of: 'uri',
  key: ['uri'],
  columns: ['uri', 'voter_did', 'poll_uri', 'poll_cid', 'record'],
}
