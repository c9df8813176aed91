import { cidOfRecord } from '../../repo/record.ts'
import type { Stack, StackDatabase } from '../index.ts'
import { addDrafts } from './drafts.ts'
import { publicationOf } from './indexed.ts'
import { addLaterFeatures } from './later-features.ts'
import { displayNameOf, pastTimestamp } from './people.ts'
import { DAY_MS, ofCollection, type WrittenRecord } from './record.ts'
import { insertRows, updateRows } from './rows.ts'
import type { Scenario } from './scenario.ts'

/** Between a record's commit and its row. */
const INDEXING_MS = 1_700
/** One post in so many was indexed before the date it gives itself: scheduled, or on another clock. */
const AHEAD_EVERY = 17

/**
 * What months of use leave in the tables beside the rows of records: domains, drafts, mentions, like counts, rows and
 * dates that no replay gives back. Everything that `publish` wrote must be indexed. Works on either schema.
 */
export async function liveOn(stack: Stack, scenario: Scenario): Promise<void> {
  const { production } = stack
  await linkBroken(production, scenario)
  await backdate(production, scenario)
  await addDomains(production, scenario)
  await addDrafts(production, scenario)
  await addMentions(production, scenario)
  await addLaterFeatures(production, scenario)
}

async function linkBroken(production: StackDatabase, { content }: Scenario): Promise<void> {
  const rows = content.documents.flatMap((document) => {
    const publication = document.isBroken ? publicationOf(document) : undefined
    return publication === undefined ? [] : [{ publication, document: document.uri }]
  })
  await insertRows(production, 'documents_in_publications', rows)
}

/** Rows get the dates of when their records were written, with the microseconds that a database has. */
async function backdate(production: StackDatabase, { content, records }: Scenario): Promise<void> {
  const documents = [...content.documents, ...content.olderDocuments]
  await updateRows(
    production,
    'publications',
    ['uri'],
    dated([...content.publications, content.olderPublication]),
  )
  await updateRows(
    production,
    'documents',
    ['uri'],
    documents.map(({ uri, atMs }, index) => ({
      uri,
      indexed_at: indexedAt(index % AHEAD_EVERY === 3 ? atMs - 2 * DAY_MS : atMs, uri),
      indexed: true,
      bsky_like_count: (index * 7) % 23,
    })),
  )
  await updateRows(
    production,
    'documents_in_publications',
    ['document'],
    documents.map(({ uri, atMs }) => ({ document: uri, indexed_at: indexedAt(atMs, `link ${uri}`) })),
  )
  const subscriptions = ofCollection(
    records,
    'site.standard.graph.subscription',
    'pub.leaflet.graph.subscription',
  )
  await updateRows(
    production,
    'publication_subscriptions',
    ['uri'],
    subscriptions.map(({ uri, atMs }) => ({ uri, created_at: indexedAt(atMs, uri) })),
  )
  const recommends = ofCollection(
    records,
    'site.standard.graph.recommend',
    'pub.leaflet.interactions.recommend',
  )
  await updateRows(production, 'recommends_on_documents', ['uri'], dated(recommends))
  const comments = ofCollection(records, 'pub.leaflet.comment')
  await updateRows(production, 'comments_on_documents', ['uri'], dated(comments))
}

function dated(records: readonly WrittenRecord[]): { uri: string; indexed_at: string }[] {
  return records.map(({ uri, atMs }) => ({ uri, indexed_at: indexedAt(atMs, uri) }))
}

function indexedAt(atMs: number, name: string): string {
  return pastTimestamp(atMs + INDEXING_MS, name)
}

async function addDomains(production: StackDatabase, { name, author, content }: Scenario): Promise<void> {
  const [identity] = await production.query('select id from identities where atp_did = $1', [author.did])
  const [first, second] = content.publications
  const older = content.olderPublication
  const own = { identity: author.email, identity_id: String(identity?.id) }
  // Default subdomains belong to nobody; the columns' default for that would break a foreign key.
  const shared = { identity: null, identity_id: null }
  const domains = [
    { publication: first, domain: `notes.${name}.example`, owner: own },
    { publication: first, domain: `${name}-notes.leaflet.pub`, owner: shared },
    { publication: second, domain: `${name}-letters.leaflet.pub`, owner: shared },
    { publication: older, domain: `${name}.leaflet.pub`, owner: shared },
  ]
  await insertRows(
    production,
    'custom_domains',
    domains.map(({ publication, domain, owner }) => ({
      domain,
      ...owner,
      confirmed: true,
      created_at: pastTimestamp(publication.atMs, domain),
    })),
  )
  await insertRows(
    production,
    'publication_domains',
    domains.map(({ publication, domain }) => ({
      publication: publication.uri,
      domain,
      identity: author.did,
      created_at: pastTimestamp(publication.atMs + DAY_MS, domain),
    })),
  )
}

async function addMentions(production: StackDatabase, { mentions, readers }: Scenario): Promise<void> {
  const handles = new Map(readers.map(({ did, handle }) => [did, handle]))
  await insertRows(
    production,
    'bsky_posts',
    mentions.map(({ post }, index) => {
      const cid = cidOfRecord(post.record)
      const handle = handles.get(post.did) ?? ''
      const author = { did: post.did, handle, displayName: displayNameOf(handle) }
      const indexed_at = indexedAt(post.atMs, post.uri)
      const view = {
        uri: post.uri,
        cid,
        author,
        record: post.record,
        likeCount: index,
        indexedAt: indexed_at,
      }
      return { uri: post.uri, cid, indexed_at, post_view: view }
    }),
  )
  await insertRows(
    production,
    'document_mentions_in_bsky',
    mentions.map(({ post, document, link }) => ({
      uri: post.uri,
      document,
      link,
      indexed_at: indexedAt(post.atMs, link),
    })),
  )
}
