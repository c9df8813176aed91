import { $nsid, type Main, main } from '../../lexicons/site/standard/document.ts'
import { SITE_STANDARD_DOCUMENT_DEFAULTS } from './defaults.ts'
import { documentRecordFrom } from './document-record.ts'
import { documentMutations } from './documents.ts'
import { handlerOf } from './handler.ts'
import { mergeDocument } from './merge-document.ts'
import { leafletContent } from './pages.ts'
import { DOCUMENTS, LINKS } from './tables.ts'

/**
 * A document whose pages are in a blob has none in its record: writing that over the row would empty the post. Its
 * row, with the pages put in, is written by the app when it publishes.
 *
 * Departures from the appview's indexer: those listed in documents.ts, and that a document skipped for its blob
 * changes no link either. The indexer writes the link, which fails where the app has not written the row yet.
 */
export const siteStandardDocument = handlerOf<Main>({
  collection: $nsid,
  schema: main,
  derives: [DOCUMENTS, LINKS],
  rank: 1,
  skip: (json) =>
    leafletContent(json)?.blobPages === undefined
      ? undefined
      : 'the pages are in a blob; the app itself writes the row with the pages in it',
  mutations: (event, record, json) => documentMutations(event, json, record.site),
  toRecord: (row) => documentRecordFrom(row.data, $nsid, SITE_STANDARD_DOCUMENT_DEFAULTS),
  mergeRow: (old, indexed) => mergeDocument(old, indexed, SITE_STANDARD_DOCUMENT_DEFAULTS),
})
