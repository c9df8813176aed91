import type { JsonObject } from '../../events.ts'
import type { DefaultedObject } from './defaults.ts'
import { isObject, isSameJson } from './json.ts'
import { pagesOf, publishedCopy, withPages } from './pages.ts'
import { leanest } from './to-record.ts'

/**
 * What a documents row that was indexed from the repo must keep of the old one: the members-only text, which no repo
 * holds. The old pages are set back where the indexed ones are exactly what the app publishes of them; everything
 * else is as the record says. Where that is all the same, the old value is set back as it was.
 *
 * Where the free part differs nothing is set back: its author has edited the post since, and the paid part of another
 * version does not belong to it. An author who took only the paid part out cannot be told from one who did not.
 */
export function mergeDocument(
  old: JsonObject,
  indexed: JsonObject,
  defaults: readonly DefaultedObject[],
): JsonObject {
  const { data: before } = old
  const { data: now } = indexed
  if (!isObject(before) || !isObject(now)) return {}
  const published = publishedCopy(before)
  if (published === before || !isSameJson(pagesOf(published), pagesOf(now))) return {}
  const isSame = isSameJson(leanest(published, defaults), leanest(now, defaults))
  return { data: isSame ? before : withPages(now, pagesOf(before)) }
}
