import type { LexMap } from '@atproto/lex'
import { $nsid, type Main, main } from '../../lexicons/site/standard/publication.ts'
import { SITE_STANDARD_PUBLICATION_DEFAULTS } from './defaults.ts'
import { handlerOf } from './handler.ts'
import { isObject } from './json.ts'
import { publicationMutations } from './publications.ts'
import { PUBLICATIONS } from './tables.ts'
import { recordFrom } from './to-record.ts'

/**
 * A theme without `$type` is left out of the stored record, as the appview does: it would fail the union, and the
 * whole publication with it. So the row of such a publication cannot give its record back.
 *
 * No departure from the appview's indexer: the rows never depended on order.
 */
export const siteStandardPublication = handlerOf<Main>({
  collection: $nsid,
  schema: main,
  derives: [PUBLICATIONS],
  rank: 0,
  prepare: withoutUntypedTheme,
  mutations: (event, record, json) => publicationMutations(event, record.name, json),
  toRecord: (row) => recordFrom(row.record, $nsid, SITE_STANDARD_PUBLICATION_DEFAULTS),
})

function withoutUntypedTheme(record: LexMap): LexMap {
  const { theme, ...rest } = record
  return isObject(theme) && !('$type' in theme) ? rest : record
}
