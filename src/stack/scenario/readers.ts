/** What readers write about an account: subscriptions, recommends, comments, and posts that quote it. */

import type { JsonObject } from '../../events.ts'
import { type AuthorContent, WRITTEN_UNTIL_MS } from '../content.ts'
import { facetsOf } from './blocks.ts'
import { sentence } from './prose.ts'
import { type Random, randomOf } from './random.ts'
import { DAY_MS, isoOf, type WrittenRecord, writtenRecord } from './record.ts'

const HOUR_MS = 60 * 60 * 1000
/** Last moment of readers' records: the author's last post has had a day. */
export const READ_UNTIL_MS = WRITTEN_UNTIL_MS + DAY_MS
/** Most of what a post gets it gets in its first weeks. */
const INTEREST_MS = 20 * DAY_MS

/** A post on Bluesky that quotes a document, as the appview found it. */
export interface Mention {
  post: WrittenRecord
  document: string
  link: string
}

export interface ReaderContent {
  /** Of readers and, for two comments, of the author. */
  records: WrittenRecord[]
  mentions: Mention[]
}

/** @param readerDids in the order of their arrival */
export function readerContent(
  content: AuthorContent,
  authorDid: string,
  readerDids: readonly string[],
  seed: string,
): ReaderContent {
  const comments: WrittenRecord[] = []
  const mentions: Mention[] = []
  const records = readerDids.flatMap((did, index) => {
    const random = randomOf(`${seed}/reader/${index}`)
    const subjects = subjectsOf(content, random, index)
    comments.push(...commentsOf(did, random, subjects, comments))
    if (index % 4 === 0) mentions.push(mentionOf(did, random, content))
    return [...subscriptionsOf(did, random, content, index), ...recommendsOf(did, random, subjects)]
  })
  comments.push(...authorComments(content, authorDid, seed, comments))
  return { records: [...records, ...comments, ...mentions.map(({ post }) => post)], mentions }
}

/** The documents that a reader has something to say about; never fewer than two. */
function subjectsOf(content: AuthorContent, random: Random, index: number): WrittenRecord[] {
  const chosen = new Set(random.sample(content.documents, 2 + random.below(4)))
  const broken = content.documents.find(({ isBroken }) => isBroken)
  if (broken !== undefined && index % 10 < 2) chosen.add(broken)
  if (index % 3 === 2) chosen.add(random.pick(content.olderDocuments))
  return [...chosen]
}

function subscriptionsOf(
  did: string,
  random: Random,
  content: AuthorContent,
  index: number,
): WrittenRecord[] {
  const [first, second] = content.publications
  const publications = [
    ...(index % 5 === 4 ? [] : [first]),
    ...(index % 3 === 0 || index % 5 === 4 ? [second] : []),
    ...(index % 3 === 1 ? [content.olderPublication] : []),
  ]
  return publications.map((publication) => subscription(did, random, publication))
}

/** @param atMs any moment since the publication, where not given */
export function subscription(
  did: string,
  random: Random,
  publication: WrittenRecord,
  atMs = publication.atMs + random.below(READ_UNTIL_MS - publication.atMs),
): WrittenRecord {
  const namespace = random.chance(50) ? 'site.standard' : 'pub.leaflet'
  return writtenRecord(did, atMs, {
    $type: `${namespace}.graph.subscription`,
    publication: publication.uri,
  })
}

function recommendsOf(did: string, random: Random, subjects: readonly WrittenRecord[]): WrittenRecord[] {
  return subjects.map((subject) => {
    const atMs = momentAfter(random, subject.atMs)
    const createdAt = isoOf(atMs)
    return writtenRecord(
      did,
      atMs,
      random.chance(50)
        ? { $type: 'site.standard.graph.recommend', document: subject.uri, createdAt }
        : { $type: 'pub.leaflet.interactions.recommend', subject: subject.uri, createdAt },
    )
  })
}

/** Comments on the last two of a reader's documents, which are the rare ones; some answer an earlier comment. */
function commentsOf(
  did: string,
  random: Random,
  subjects: readonly WrittenRecord[],
  earlier: readonly WrittenRecord[],
): WrittenRecord[] {
  const own = subjects.slice(-2).map((subject) => comment(did, random, subject))
  const [parent] = earlier.length > 0 && random.chance(40) ? [random.pick(earlier)] : []
  return parent === undefined ? own : [...own, reply(did, random, parent)]
}

/** @param atMs some time after the document, where not given */
export function comment(
  did: string,
  random: Random,
  document: WrittenRecord,
  atMs = momentAfter(random, document.atMs),
): WrittenRecord {
  const plaintext = sentence(random)
  const facets = facetsOf(random, plaintext)
  const quote = { start: { block: [1], offset: 0 }, end: { block: [1], offset: 12 } }
  return writtenRecord(did, atMs, {
    $type: 'pub.leaflet.comment',
    subject: document.uri,
    plaintext,
    createdAt: isoOf(atMs),
    ...(facets.length > 0 ? { facets } : {}),
    ...(random.chance(20) ? { attachment: quoteOf(document.uri, quote) } : {}),
  })
}

function quoteOf(document: string, quote: JsonObject): JsonObject {
  return { $type: 'pub.leaflet.comment#linearDocumentQuote', document, quote }
}

function reply(did: string, random: Random, parent: WrittenRecord): WrittenRecord {
  const atMs = parent.atMs + HOUR_MS + random.below(DAY_MS)
  return writtenRecord(did, atMs, {
    $type: 'pub.leaflet.comment',
    subject: String(parent.record.subject),
    plaintext: sentence(random),
    createdAt: isoOf(atMs),
    reply: { parent: parent.uri },
  })
}

/** One below the first document, and an answer to a reader. */
function authorComments(
  content: AuthorContent,
  did: string,
  seed: string,
  comments: readonly WrittenRecord[],
): WrittenRecord[] {
  const random = randomOf(`${seed}/author`)
  const own = content.documents.slice(0, 1).map((document) => comment(did, random, document))
  return [...own, ...comments.slice(0, 1).map((parent) => reply(did, random, parent))]
}

/** A link to a quotation, which is what the appview looks for in posts; only in publications it can find by host. */
function mentionOf(did: string, random: Random, content: AuthorContent): Mention {
  const [publication] = content.publications
  const document = random.pick(content.documents.filter(({ record }) => record.site === publication.uri))
  const atMs = momentAfter(random, document.atMs)
  const link = `${String(publication.record.url)}/${document.rkey}/l-quote/1_0-1_12`
  const post = writtenRecord(did, atMs, {
    $type: 'app.bsky.feed.post',
    text: sentence(random),
    createdAt: isoOf(atMs),
    embed: {
      $type: 'app.bsky.embed.external',
      external: { uri: link, title: String(document.record.title), description: '' },
    },
  })
  return { post, document: document.uri, link }
}

function momentAfter(random: Random, atMs: number): number {
  const spanMs = Math.min(INTEREST_MS, READ_UNTIL_MS - atMs) - HOUR_MS
  return atMs + HOUR_MS + random.below(spanMs)
}
