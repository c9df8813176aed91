/**
 * The optional fields that validation fills in where the author left them out, by collection. They are what a
 * stored record may hold beyond the author's own. A test compares them with what the lexicons do.
 */

import type { JsonObject } from '../../events.ts'

export interface DefaultedObject {
  /** The record's field that holds the object. An absent object stays absent: only its fields are filled in. */
  key: string
  /** In a union: defaults are filled in only for a value of this type. */
  $type?: string
  fields: JsonObject
}

const SITE_STANDARD_PREFERENCES: JsonObject = {
  showInDiscover: true,
  showComments: true,
  showMentions: true,
  showPrevNext: false,
  showFirstLast: false,
  prevNextDirection: 'rtl',
  showRecommends: true,
}

/** Leaflet's own lexicon shows the links to the neighbouring posts unless told not to. */
const PUB_LEAFLET_PREFERENCES: JsonObject = { ...SITE_STANDARD_PREFERENCES, showPrevNext: true }

const THEME: DefaultedObject = { key: 'theme', fields: { showPageBackground: false } }

export const SITE_STANDARD_PUBLICATION_DEFAULTS: readonly DefaultedObject[] = [
  { key: 'preferences', fields: SITE_STANDARD_PREFERENCES },
  { ...THEME, $type: 'pub.leaflet.publication#theme' },
]

export const SITE_STANDARD_DOCUMENT_DEFAULTS: readonly DefaultedObject[] = [
  { key: 'preferences', $type: 'pub.leaflet.publication#preferences', fields: PUB_LEAFLET_PREFERENCES },
  THEME,
]

export const PUB_LEAFLET_PUBLICATION_DEFAULTS: readonly DefaultedObject[] = [
  { key: 'preferences', fields: PUB_LEAFLET_PREFERENCES },
  THEME,
]

export const PUB_LEAFLET_DOCUMENT_DEFAULTS = PUB_LEAFLET_PUBLICATION_DEFAULTS
