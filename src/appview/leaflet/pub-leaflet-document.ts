import { $nsid, type Main, main } from '../../lexicons/pub/leaflet/document.ts'
import { PUB_LEAFLET_DOCUMENT_DEFAULTS } from './defaults.ts'
import { documentRecordFrom } from './document-record.ts'
import { documentMutations } from './documents.ts'
import { handlerOf } from './handler.ts'
import { mergeDocument } from './merge-document.ts'
import { DOCUMENTS, LINKS } from './tables.ts'

/** Departures from the appview's indexer: those listed in documents.ts. */
export const pubLeafletDocument = handlerOf<Main>({
  collection: $nsid,
  schema: main,
  derives: [DOCUMENTS, LINKS],
  rank: 1,
  mutations: (event, record, json) => documentMutations(event, json, record.publication),
  toRecord: (row) => documentRecordFrom(row.data, $nsid, PUB_LEAFLET_DOCUMENT_DEFAULTS),
  mergeRow: (old, indexed) => mergeDocument(old, indexed, PUB_LEAFLET_DOCUMENT_DEFAULTS),
})
