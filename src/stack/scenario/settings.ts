/**
 * Preferences and themes as authors have them: written in full, in part, or not at all. An appview stores them with
 * the defaults filled in, so each variant puts another demand on whoever turns a row back into its record.
 */

import type { JsonObject } from '../../events.ts'

const COLOR = 'pub.leaflet.theme.color'

/** Every field, some against the default. */
export const ALL_PREFERENCES: JsonObject = {
  showInDiscover: true,
  showComments: true,
  showMentions: false,
  showPrevNext: true,
  showFirstLast: false,
  prevNextDirection: 'ltr',
  showRecommends: true,
}
export const SOME_PREFERENCES: JsonObject = { showComments: true, showRecommends: false }

export const SOME_THEME: JsonObject = {
  backgroundColor: { $type: `${COLOR}#rgb`, r: 250, g: 249, b: 240 },
  primary: { $type: `${COLOR}#rgb`, r: 39, g: 39, b: 39 },
  accentBackground: { $type: `${COLOR}#rgba`, r: 0, g: 87, b: 183, a: 80 },
  pageWidth: 720,
}
const ALL_THEME: JsonObject = {
  ...SOME_THEME,
  pageBackground: { $type: `${COLOR}#rgba`, r: 255, g: 255, b: 255, a: 100 },
  accentText: { $type: `${COLOR}#rgb`, r: 255, g: 255, b: 255 },
  showPageBackground: true,
  headingFont: 'Quattro',
  bodyFont: 'Lora',
}

const rgb = (r: number, g: number, b: number): JsonObject => ({
  $type: 'site.standard.theme.color#rgb',
  r,
  g,
  b,
})

export const BASIC_THEME: JsonObject = {
  background: rgb(250, 249, 240),
  foreground: rgb(39, 39, 39),
  accent: rgb(0, 87, 183),
  accentForeground: rgb(255, 255, 255),
}

const PREFERENCES = 'pub.leaflet.publication#preferences'
const DOCUMENT_PREFERENCES: readonly JsonObject[] = [
  {},
  { preferences: { $type: PREFERENCES, ...ALL_PREFERENCES } },
  { preferences: { $type: PREFERENCES, ...SOME_PREFERENCES } },
  { preferences: { $type: PREFERENCES } },
  {},
]
const DOCUMENT_THEMES: readonly JsonObject[] = [
  { theme: ALL_THEME },
  { theme: SOME_THEME },
  { theme: { ...SOME_THEME, showPageBackground: false } },
  {},
]

/** The preferences of the document with this number, as fields of its record. */
export function documentPreferences(index: number): JsonObject {
  return DOCUMENT_PREFERENCES[index % DOCUMENT_PREFERENCES.length] ?? {}
}

/** Posts outside any publication have a theme of their own. @param index counts these posts */
export function standaloneTheme(index: number): JsonObject {
  return DOCUMENT_THEMES[index % DOCUMENT_THEMES.length] ?? {}
}
