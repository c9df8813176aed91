/** Whether a document, as the app would publish it, may hold text that only members are to read. */

import type { JsonObject } from '../../events.ts'
import { endsAtPaywall, isPublicationPost, leafletContent } from './pages.ts'

/** In whatever collection, content format or version: its place is not known, so its name has to do. */
const DELIMITER_NAME = 'membersOnlyDelimiter'

/**
 * What a members-only post says to everybody, by the author's own choice. Any other field may be a second copy of its
 * text, be it one that the lexicon knows (textContent) or somebody else's.
 */
const PUBLIC_FIELDS: ReadonlySet<string> = new Set([
  '$type',
  'site',
  'publication',
  'author',
  'title',
  'description',
  'path',
  'publishedAt',
  'updatedAt',
  'tags',
  'coverImage',
  'bskyPostRef',
  'postRef',
  'contributors',
  'theme',
  'preferences',
])

/**
 * The one place that is known not to give anything away is the delimiter at which the app has cut the post. A
 * delimiter anywhere else is a cut that somebody meant and nobody made; beside a cut, a further copy may be whole.
 *
 * @param published as `publishedCopy` gives it
 * @returns why it may hold paid text; undefined where it does not
 */
export function whyPerhapsPaid(published: JsonObject): string | undefined {
  const isCut = endsAtPaywall(published)
  if (delimiterCount(published) > (isCut ? 1 : 0)) {
    const where = isPublicationPost(published)
      ? 'the post has a members-only delimiter where the app does not cut'
      : 'a post outside any publication, which the app does not cut, has a members-only delimiter'
    return `${where}: a record that is not proven could publish paid text`
  }
  const field = isCut ? fieldBesidePages(published) : undefined
  if (field === undefined) return undefined
  return `a members-only post's ${field} may hold its paid text: a record that is not proven could publish that`
}

/** With a stack of its own: how deep a record is nested is up to whoever wrote it. */
function delimiterCount(published: JsonObject): number {
  const open: unknown[] = [published]
  let count = 0
  while (open.length > 0) {
    const value = open.pop()
    if (value === null || typeof value !== 'object') continue
    if ('$type' in value && typeof value.$type === 'string' && value.$type.includes(DELIMITER_NAME)) count++
    for (const child of Object.values(value)) open.push(child)
  }
  return count
}

function fieldBesidePages(published: JsonObject): string | undefined {
  const content = leafletContent(published)
  const pagesField = content === undefined ? 'pages' : 'content'
  const field = Object.keys(published).find((key) => key !== pagesField && !PUBLIC_FIELDS.has(key))
  if (field !== undefined || content === undefined) return field
  const inContent = Object.keys(content).find((key) => key !== '$type' && key !== 'pages')
  return inContent && `content.${inContent}`
}
