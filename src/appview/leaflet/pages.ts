/**
 * Members-only posts. The author's repository holds such a post cut at a delimiter block; the appview's database
 * holds the text after it too, for paying members, and nothing else does.
 */

import type { Json, JsonObject } from '../../events.ts'
import { isObject, objectsIn } from './json.ts'

const DELIMITER = 'pub.leaflet.blocks.membersOnlyDelimiter'
const LEAFLET_CONTENT = 'pub.leaflet.content'

/** A document's pages, wherever its collection keeps them; none for content in a format that is not Leaflet's. */
export function pagesOf(document: JsonObject): JsonObject[] {
  return objectsIn(leafletContent(document)?.pages ?? document.pages)
}

/** The Leaflet content of a site.standard.document. */
export function leafletContent(document: JsonObject): JsonObject | undefined {
  const { content } = document
  return isObject(content) && content.$type === LEAFLET_CONTENT ? content : undefined
}

export function isMembersOnly(pages: readonly JsonObject[]): boolean {
  return delimiterIndex(pages[0]?.blocks) >= 0
}

/** True where a page goes on after a delimiter. Any page, not just the first: paid text is not to leak by a guess. */
export function holdsPaidBlocks(pages: readonly JsonObject[]): boolean {
  return pages.some(({ blocks }) => {
    const index = delimiterIndex(blocks)
    return index >= 0 && index < objectsIn(blocks).length - 1
  })
}

function delimiterIndex(blocks: Json | undefined): number {
  return objectsIn(blocks).findIndex(({ block }) => isObject(block) && block.$type === DELIMITER)
}
