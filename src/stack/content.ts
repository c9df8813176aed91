/** The author's side of a lived-in account, as records: pure, and the same for the same seed and DID. */

import type { JsonObject } from '../events.ts'
import { cidOfRecord } from '../repo/record.ts'
import { pageOf } from './scenario/blocks.ts'
import { illustrated } from './scenario/illustrate.ts'
import type { Picture } from './scenario/images.ts'
import { sentence, tags, title } from './scenario/prose.ts'
import { type Random, randomOf } from './scenario/random.ts'
import { DAY_MS, isoOf, type WrittenRecord, writtenRecord } from './scenario/record.ts'
import {
  ALL_PREFERENCES,
  BASIC_THEME,
  documentPreferences,
  SOME_PREFERENCES,
  SOME_THEME,
  standaloneTheme,
} from './scenario/settings.ts'
import { tidOf } from './scenario/tid.ts'

export interface AuthorContent {
  /** Two of site.standard.publication. */
  publications: readonly [WrittenRecord, WrittenRecord]
  /** One older pub.leaflet.publication. */
  olderPublication: WrittenRecord
  /** Of site.standard.document: most in one of the two publications, some standalone, one broken. */
  documents: WrittenRecord[]
  /** Of pub.leaflet.document, in the older publication. */
  olderDocuments: WrittenRecord[]
  /** The author's posts on Bluesky that documents refer to. */
  posts: WrittenRecord[]
  /** What the records refer to as blobs, each once: to be uploaded before them. */
  pictures: readonly Picture[]
}

export interface AuthorOptions {
  did: string
  /** First label of the publications' hosts; unique in a database. */
  name: string
  documents: number
  seed: string
  /** Publications and a share of the documents have pictures. @defaultValue false */
  images?: boolean
}

/** All posts are of the two years before this moment, which is a day or two before the incident. */
export const WRITTEN_UNTIL_MS = Date.UTC(2026, 1, 12, 9)
const WRITTEN_FROM_MS = WRITTEN_UNTIL_MS - 730 * DAY_MS
const OLDER_FROM_MS = WRITTEN_FROM_MS - 300 * DAY_MS
const OLDER_DOCUMENTS = 4
/** One post in twenty belongs to no publication. */
const STANDALONE_EVERY = 20
const STANDALONE_OFFSET = 7

export function authorContent(options: AuthorOptions): AuthorContent {
  const publications = [firstPublication(options), secondPublication(options)] as const
  const olderPublication = oldestPublication(options)
  const posts: WrittenRecord[] = []
  const documents = Array.from({ length: options.documents }, (_, index) => {
    const post = index % 3 === 0 ? announcement(options, index) : undefined
    if (post !== undefined) posts.push(post)
    return documentOf(options, index, publications, post)
  })
  const olderDocuments = Array.from({ length: OLDER_DOCUMENTS }, (_, index) =>
    olderDocument(options, index, olderPublication.uri),
  )
  const content = { publications, olderPublication, documents, olderDocuments, posts }
  return options.images ? illustrated(content, options.seed) : { ...content, pictures: [] }
}

function firstPublication({ did, name }: AuthorOptions): WrittenRecord {
  return writtenRecord(did, WRITTEN_FROM_MS - 9 * DAY_MS, {
    $type: 'site.standard.publication',
    name: 'Field notes',
    url: `https://notes.${name}.example`,
    description: 'Birds, mostly. Sometimes bread.',
    theme: { $type: 'pub.leaflet.publication#theme', ...SOME_THEME },
    preferences: SOME_PREFERENCES,
  })
}

function secondPublication({ did, name }: AuthorOptions): WrittenRecord {
  return writtenRecord(did, WRITTEN_FROM_MS - 8 * DAY_MS, {
    $type: 'site.standard.publication',
    name: 'The wrong bus — letters',
    url: `https://${name}-letters.leaflet.pub`,
    basicTheme: BASIC_THEME,
    preferences: ALL_PREFERENCES,
  })
}

function oldestPublication({ did, name }: AuthorOptions): WrittenRecord {
  return writtenRecord(did, OLDER_FROM_MS - DAY_MS, {
    $type: 'pub.leaflet.publication',
    name: 'Before the move',
    base_path: `${name}.leaflet.pub`,
    description: 'The old place. Still open.',
    theme: SOME_THEME,
    preferences: {},
  })
}

/** Evenly over the two years, with up to half a step of scatter; later documents have greater rkeys. */
function documentAtMs({ documents, seed }: AuthorOptions, index: number): number {
  const stepMs = Math.floor((WRITTEN_UNTIL_MS - WRITTEN_FROM_MS) / documents)
  return WRITTEN_FROM_MS + index * stepMs + randomOf(`${seed}/at/${index}`).below(Math.ceil(stepMs / 2))
}

/** Which document breaks its lexicon: one of a publication, in the middle. */
function brokenIndex(documents: number): number {
  return documents >> 1
}

export function isStandalone(index: number, documents: number): boolean {
  return index % STANDALONE_EVERY === STANDALONE_OFFSET && index !== brokenIndex(documents)
}

function documentOf(
  options: AuthorOptions,
  index: number,
  publications: AuthorContent['publications'],
  post: WrittenRecord | undefined,
): WrittenRecord {
  const { did, documents, seed, name } = options
  const random = randomOf(`${seed}/document/${index}`)
  const atMs = documentAtMs(options, index)
  const standalone = isStandalone(index, documents)
  const site = standalone ? `https://${name}.example` : publications[index % 3 === 2 ? 1 : 0].uri
  const pages = [pageOf(random, 2), ...(random.chance(20) ? [pageOf(random, 1)] : [])]
  const record: JsonObject = {
    $type: 'site.standard.document',
    site,
    title: `${title(random)}, ${index + 1}`,
    path: `/${tidOf(atMs)}`,
    publishedAt: isoOf(atMs),
    ...textFields(random, atMs),
    textContent: pages.map(({ text }) => text).join('\n'),
    content: { $type: 'pub.leaflet.content', pages: pages.map(({ json }) => json) },
    ...documentPreferences(index),
    ...(standalone ? standaloneTheme(Math.floor(index / STANDALONE_EVERY)) : {}),
    ...(post === undefined ? {} : { bskyPostRef: { uri: post.uri, cid: cidOfRecord(post.record) } }),
  }
  if (index !== brokenIndex(documents)) return writtenRecord(did, atMs, record)
  return { ...writtenRecord(did, atMs, broken(record)), isBroken: true }
}

function textFields(random: Random, atMs: number): JsonObject {
  return {
    ...(random.chance(80) ? { description: sentence(random) } : {}),
    ...(random.chance(85) ? { tags: tags(random) } : {}),
    ...(random.chance(30) ? { updatedAt: isoOf(atMs + 3 * DAY_MS) } : {}),
  }
}

/** A text size that the lexicon does not have, as an editor newer than the lexicon writes it. */
function broken(record: JsonObject): JsonObject {
  const block = { $type: 'pub.leaflet.blocks.text', plaintext: 'Read this first.', textSize: 'huge' }
  const page = { $type: 'pub.leaflet.pages.linearDocument', blocks: [{ block }] }
  const { pages } = record.content as { pages: JsonObject[] }
  return { ...record, content: { $type: 'pub.leaflet.content', pages: [page, ...pages] } }
}

function olderDocument({ did, seed }: AuthorOptions, index: number, publication: string): WrittenRecord {
  const random = randomOf(`${seed}/older/${index}`)
  const atMs = OLDER_FROM_MS + index * 60 * DAY_MS
  const page = pageOf(random, 2)
  return writtenRecord(did, atMs, {
    $type: 'pub.leaflet.document',
    title: title(random),
    author: did,
    publication,
    publishedAt: isoOf(atMs),
    tags: tags(random),
    pages: [page.json],
    ...(index % 2 === 0 ? { preferences: SOME_PREFERENCES } : {}),
  })
}

function announcement(options: AuthorOptions, index: number): WrittenRecord {
  const atMs = documentAtMs(options, index)
  return writtenRecord(options.did, atMs + 60_000, {
    $type: 'app.bsky.feed.post',
    text: `New: ${sentence(randomOf(`${options.seed}/post/${index}`))}`,
    createdAt: isoOf(atMs + 60_000),
  })
}
