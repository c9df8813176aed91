/** One realistic, valid record of each collection: every default it can take is written out, so none is filled in. */

import type { JsonObject } from '../../../../src/events.ts'
import { BLOB_CID, blob, DID, NOW, OTHER_DID, RECORD_CID, uriOf } from './events.ts'

export const PREFERENCES: JsonObject = {
  showInDiscover: true,
  showComments: false,
  showMentions: true,
  showPrevNext: true,
  showFirstLast: false,
  prevNextDirection: 'rtl',
  showRecommends: true,
}

export const THEME: JsonObject = {
  $type: 'pub.leaflet.publication#theme',
  backgroundColor: { $type: 'pub.leaflet.theme.color#rgb', r: 250, g: 249, b: 240 },
  pageBackground: { $type: 'pub.leaflet.theme.color#rgba', r: 255, g: 255, b: 255, a: 80 },
  backgroundImage: { image: blob(), width: 500, repeat: true },
  wordmark: { image: blob(), aspectRatio: { width: 4, height: 1 } },
  pageWidth: 720,
  showPageBackground: false,
}

const RGB = { $type: 'site.standard.theme.color#rgb', r: 1, g: 2, b: 3 }

const image: JsonObject = {
  $type: 'pub.leaflet.blocks.image',
  image: blob(),
  aspectRatio: { width: 3, height: 2 },
  alt: 'A heron',
}

export const text = (plaintext: string): JsonObject => ({
  block: { $type: 'pub.leaflet.blocks.text', plaintext },
})
export const DELIMITER: JsonObject = { block: { $type: 'pub.leaflet.blocks.membersOnlyDelimiter' } }

export const page = (...blocks: JsonObject[]): JsonObject => ({
  $type: 'pub.leaflet.pages.linearDocument',
  id: '0197a8f2-1111-7000-8000-000000000001',
  blocks,
})

const richPage = page(
  { block: { $type: 'pub.leaflet.blocks.header', plaintext: 'Herons', level: 2 } },
  {
    block: {
      $type: 'pub.leaflet.blocks.text',
      plaintext: 'See the café.',
      facets: [
        {
          index: { byteStart: 8, byteEnd: 13 },
          features: [{ $type: 'pub.leaflet.richtext.facet#link', uri: 'https://example.com' }],
        },
      ],
    },
    alignment: 'lex:pub.leaflet.pages.linearDocument#textAlignCenter',
  },
  { block: image },
  { block: { $type: 'pub.leaflet.blocks.imageGallery', images: [{ image: blob('image/webp') }] } },
  {
    block: {
      $type: 'pub.leaflet.blocks.unorderedList',
      children: [{ content: image, children: [], orderedListChildren: { children: [{ content: image }] } }],
    },
  },
  { block: { $type: 'pub.leaflet.blocks.math', tex: 'e^{i\\pi}' } },
)

export const siteStandardPublication: JsonObject = {
  $type: 'site.standard.publication',
  name: 'Field notes',
  url: 'https://notes.leaflet.pub',
  description: 'Birds, mostly',
  icon: blob(),
  basicTheme: { background: RGB, foreground: RGB, accent: RGB, accentForeground: RGB },
  theme: THEME,
  preferences: PREFERENCES,
}

export const pubLeafletPublication: JsonObject = {
  $type: 'pub.leaflet.publication',
  name: 'Field notes',
  base_path: 'notes.leaflet.pub',
  icon: blob(),
  theme: THEME,
  preferences: PREFERENCES,
}

export const siteStandardDocument: JsonObject = {
  $type: 'site.standard.document',
  site: uriOf('site.standard.publication'),
  title: 'On herons',
  publishedAt: NOW,
  updatedAt: NOW,
  path: '/3lhqvxm2cks2e',
  description: 'What they do all day',
  tags: ['birds', 'Water'],
  coverImage: blob('image/jpeg'),
  bskyPostRef: { uri: uriOf('app.bsky.feed.post'), cid: RECORD_CID },
  content: { $type: 'pub.leaflet.content', pages: [richPage] },
  theme: THEME,
  preferences: { $type: 'pub.leaflet.publication#preferences', ...PREFERENCES },
  contributors: [{ did: OTHER_DID, role: 'editor' }],
}

export const pubLeafletDocument: JsonObject = {
  $type: 'pub.leaflet.document',
  title: 'On herons',
  author: DID,
  publishedAt: NOW,
  publication: uriOf('pub.leaflet.publication'),
  postRef: { uri: uriOf('app.bsky.feed.post'), cid: RECORD_CID },
  tags: ['birds'],
  coverImage: blob('image/jpeg'),
  pages: [richPage, { $type: 'pub.leaflet.pages.canvas', blocks: [{ block: image, x: 10, y: 20 }] }],
  theme: THEME,
  preferences: PREFERENCES,
}

export const siteStandardSubscription: JsonObject = {
  $type: 'site.standard.graph.subscription',
  publication: uriOf('site.standard.publication', OTHER_DID),
}
export const pubLeafletSubscription: JsonObject = {
  $type: 'pub.leaflet.graph.subscription',
  publication: uriOf('pub.leaflet.publication', OTHER_DID),
}
export const siteStandardRecommend: JsonObject = {
  $type: 'site.standard.graph.recommend',
  document: uriOf('site.standard.document', OTHER_DID),
  createdAt: NOW,
}
export const pubLeafletRecommend: JsonObject = {
  $type: 'pub.leaflet.interactions.recommend',
  subject: uriOf('pub.leaflet.document', OTHER_DID),
  createdAt: NOW,
}
export const comment: JsonObject = {
  $type: 'pub.leaflet.comment',
  subject: uriOf('pub.leaflet.document', OTHER_DID),
  plaintext: 'Lovely',
  createdAt: NOW,
  reply: { parent: uriOf('pub.leaflet.comment', OTHER_DID) },
  attachment: {
    $type: 'pub.leaflet.comment#linearDocumentQuote',
    document: uriOf('pub.leaflet.document', OTHER_DID),
    quote: { start: { block: [0], offset: 0 }, end: { block: [0], offset: 6 } },
  },
}
export const pollDefinition: JsonObject = {
  $type: 'pub.leaflet.poll.definition',
  name: 'Best bird?',
  options: [{ text: 'Heron' }, { text: 'Wren' }],
}
export const pollVote: JsonObject = {
  $type: 'pub.leaflet.poll.vote',
  poll: { uri: uriOf('pub.leaflet.poll.definition', OTHER_DID), cid: BLOB_CID },
  option: ['0'],
}

export const ALL_RECORDS: readonly JsonObject[] = [
  siteStandardPublication,
  pubLeafletPublication,
  siteStandardDocument,
  pubLeafletDocument,
  siteStandardSubscription,
  pubLeafletSubscription,
  siteStandardRecommend,
  pubLeafletRecommend,
  comment,
  pollDefinition,
  pollVote,
]
