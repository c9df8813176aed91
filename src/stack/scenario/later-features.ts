/** What the appview gained in the half year after the incident; each only where its table or column is there. */

import type { StackDatabase } from '../index.ts'
import { publicationOf } from './indexed.ts'
import { pastTimestamp } from './people.ts'
import { hasColumn, insertRows, updateRows } from './rows.ts'
import type { Scenario } from './scenario.ts'

const HOUR_MS = 3_600_000

export async function addLaterFeatures(production: StackDatabase, scenario: Scenario): Promise<void> {
  if (await hasColumn(production, 'documents_in_publications', 'members_only')) {
    await markMembersOnly(production, scenario)
  }
  if (await hasColumn(production, 'publication_post_sends')) await addSends(production, scenario)
  if (await hasColumn(production, 'publication_pages')) await addPages(production, scenario)
}

async function markMembersOnly(production: StackDatabase, { content }: Scenario): Promise<void> {
  const members = [...content.documents, ...content.olderDocuments].filter((_, index) => index % 6 === 1)
  await updateRows(
    production,
    'documents_in_publications',
    ['document'],
    members.map(({ uri }) => ({ document: uri, members_only: true })),
  )
}

/** Posts that were mailed, one whose mailing broke off, in the first publication and one in the older one. */
async function addSends(production: StackDatabase, { content, readers }: Scenario): Promise<void> {
  const [first] = content.publications
  const mailed = [
    ...content.documents.filter((document) => publicationOf(document) === first.uri),
    ...content.olderDocuments.slice(0, 1),
  ]
  const rows = mailed.map((document, index) => {
    const { uri, atMs } = document
    const hasFailed = index === 1
    return {
      publication: publicationOf(document) ?? null,
      document: uri,
      status: hasFailed ? 'failed' : 'sent',
      subscriber_count: hasFailed ? null : readers.length,
      started_at: pastTimestamp(atMs + HOUR_MS, uri),
      completed_at: hasFailed ? null : pastTimestamp(atMs + 2 * HOUR_MS, uri),
      error: hasFailed ? 'The mail provider answered 503.' : null,
    }
  })
  await insertRows(production, 'publication_post_sends', rows)
}

/** Pages name no document, or one that survives: a page that names a document keeps it from being deleted. */
async function addPages(production: StackDatabase, { content }: Scenario): Promise<void> {
  const [first, second] = content.publications
  const older = content.olderPublication
  const about = { $type: 'pub.leaflet.content', pages: [] }
  const pages = [
    { publication: first, title: 'About', path: '/about', document: null, record: about },
    { publication: first, title: '', path: null, document: content.olderDocuments[1], record: null },
    { publication: second, title: 'Timetable', path: '/timetable', document: null, record: null },
    {
      publication: older,
      title: 'Moved',
      path: '/moved',
      document: content.olderDocuments[0],
      record: about,
    },
  ]
  await insertRows(
    production,
    'publication_pages',
    pages.map(({ publication, title, path, document, record }, index) => ({
      created_at: pastTimestamp(publication.atMs + (index + 1) * HOUR_MS, title),
      document: document?.uri ?? null,
      path,
      publication: publication.uri,
      title,
      record,
      record_uri: null,
      sort_order: `a${index}`,
    })),
  )
}
