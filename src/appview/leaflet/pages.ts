/** Where a document keeps its pages, and what of them the app publishes. */

import type { Json, JsonObject } from '../../events.ts'
import { isObject, objectsIn } from './json.ts'

const DELIMITER = 'pub.leaflet.blocks.membersOnlyDelimiter'
const PAGE_LINK = 'pub.leaflet.blocks.page'
const LEAFLET_CONTENT = 'pub.leaflet.content'

/** A document's pages, wherever its collection keeps them; none for content in a format that is not Leaflet's. */
export function pagesOf(document: JsonObject): JsonObject[] {
  return objectsIn(storedPages(document))
}

/** The Leaflet content of a site.standard.document. */
export function leafletContent(document: JsonObject): JsonObject | undefined {
  const { content } = document
  return isObject(content) && content.$type === LEAFLET_CONTENT ? content : undefined
}

/** The same document with these pages in the place of its own. */
export function withPages(document: JsonObject, pages: Json[]): JsonObject {
  const content = leafletContent(document)
  return content === undefined ? { ...document, pages } : { ...document, content: { ...content, pages } }
}

function storedPages(document: JsonObject): Json | undefined {
  return (leafletContent(document) ?? document).pages
}

export function isMembersOnly(pages: readonly JsonObject[]): boolean {
  return delimiterIndex(pages[0]?.blocks) >= 0
}

/** True for a post that ends, on its first page, where the app cuts it. */
export function endsAtPaywall(published: JsonObject): boolean {
  const pages = storedPages(published)
  const first = Array.isArray(pages) ? pages[0] : undefined
  if (!isPublicationPost(published) || !isObject(first)) return false
  const end = delimiterIndex(first.blocks)
  return end >= 0 && end === blocksOf(first.blocks).length - 1
}

/**
 * The document as the app writes it to the repository. It cuts the first page of a publication's post at the
 * members-only delimiter, which stays as the place of the paywall, and leaves out every page that no link on the
 * remaining ones leads to. Whatever else holds a delimiter it publishes whole.
 *
 * @returns the document itself where nothing is cut
 */
export function publishedCopy(document: JsonObject): JsonObject {
  const pages = storedPages(document)
  if (!isPublicationPost(document) || !Array.isArray(pages)) return document
  const [first, ...others] = pages
  const end = isObject(first) ? delimiterIndex(first.blocks) : -1
  if (!isObject(first) || end < 0) return document
  const blocks = blocksOf(first.blocks)
  const free = { ...first, blocks: blocks.slice(0, end + 1) }
  const reached = pagesReachedFrom(free, others)
  const kept = others.filter((page) => isObject(page) && typeof page.id === 'string' && reached.has(page.id))
  if (kept.length === others.length && end === blocks.length - 1) return document
  return withPages(document, [free, ...kept])
}

/** True where there is a membership that could pay: a standalone post is public. */
export function isPublicationPost({ $type, site, publication }: JsonObject): boolean {
  if ($type === 'site.standard.document') return typeof site === 'string' && site.startsWith('at://')
  return typeof publication === 'string' && publication !== ''
}

/** Ids of the pages that links on a page lead to, and on the pages reached so. */
function pagesReachedFrom(page: JsonObject, pages: readonly Json[]): Set<string> {
  const reached = new Set<string>()
  const open: JsonObject[] = [page]
  for (let from = open.pop(); from !== undefined; from = open.pop()) {
    for (const { block } of objectsIn(from.blocks)) {
      if (!isObject(block) || block.$type !== PAGE_LINK || typeof block.id !== 'string') continue
      if (reached.has(block.id)) continue
      reached.add(block.id)
      const target = pages.find((candidate) => isObject(candidate) && candidate.id === block.id)
      if (isObject(target)) open.push(target)
    }
  }
  return reached
}

function delimiterIndex(blocks: Json | undefined): number {
  return blocksOf(blocks).findIndex(
    (entry) => isObject(entry) && isObject(entry.block) && entry.block.$type === DELIMITER,
  )
}

function blocksOf(blocks: Json | undefined): Json[] {
  return Array.isArray(blocks) ? blocks : []
}
