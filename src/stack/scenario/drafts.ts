/** Drafts in the editor, each behind a token, and what they are the drafts of. */

import { randomUUID } from 'node:crypto'
import type { JsonObject } from '../../events.ts'
import { isStandalone } from '../content.ts'
import type { StackDatabase } from '../index.ts'
import { pastTimestamp } from './people.ts'
import type { WrittenRecord } from './record.ts'
import { insertRows, updateRows } from './rows.ts'
import type { Scenario } from './scenario.ts'
import { SOME_PREFERENCES } from './settings.ts'

/** Title of the draft that its author goes on with after the backup. */
export const UNFINISHED_TITLE = 'Notes for spring'
/** One published post in so many has been opened in the editor since. */
const DRAFT_EVERY = 3

export async function addDrafts(production: StackDatabase, scenario: Scenario): Promise<void> {
  const { publications, olderPublication, documents, olderDocuments } = scenario.content
  const [first, second] = publications
  const inPublications = documents.filter((_, index) => !isStandalone(index, documents.length))
  const published = inPublications.filter((_, index) => index % DRAFT_EVERY === 0)
  // Moved from the older publication to a new one, its draft stayed behind.
  const moved = inPublications.slice(1, 2)
  await insertDrafts(production, [
    ...published.map((document) => draftOf(String(document.record.site), document)),
    ...olderDocuments.slice(0, 2).map((document) => draftOf(olderPublication.uri, document)),
    ...moved.map((document) => draftOf(olderPublication.uri, document)),
    { ...unpublished(first.uri, 'Untitled'), archived: true },
    unpublished(first.uri, ''),
    { ...unpublished(first.uri, 'The otter question'), tags: ['Birds', 'not a bird'] },
    unpublished(second.uri, 'A letter to the bus company'),
    unpublished(olderPublication.uri, UNFINISHED_TITLE),
  ])
  await insertStandalone(
    production,
    documents.filter((_, index) => isStandalone(index, documents.length)),
  )
  await reserveNextDraft(production, [first, olderPublication])
}

/** A row of leaflets_in_publications, but for its token. */
type Draft = JsonObject & { publication: string }

function draftOf(publication: string, { uri, record }: WrittenRecord): Draft {
  return {
    ...unpublished(publication, String(record.title)),
    doc: uri,
    description: record.description ?? '',
    tags: record.tags ?? [],
    archived: false,
    preferences: record.preferences === undefined ? null : SOME_PREFERENCES,
  }
}

function unpublished(publication: string, title: string): Draft {
  const absent = { archived: null, cover_image: null, preferences: null }
  return { publication, doc: null, title, description: '', tags: [], ...absent }
}

async function insertDrafts(production: StackDatabase, drafts: readonly Draft[]): Promise<void> {
  const tokens = await insertTokens(production, drafts.length)
  await insertRows(
    production,
    'leaflets_in_publications',
    drafts.map((draft, index) => ({ ...draft, leaflet: tokens[index] ?? null })),
  )
}

async function insertStandalone(
  production: StackDatabase,
  documents: readonly WrittenRecord[],
): Promise<void> {
  const tokens = await insertTokens(production, documents.length)
  await insertRows(
    production,
    'leaflets_to_documents',
    documents.map(({ uri, atMs, record }, index) => ({
      leaflet: tokens[index] ?? null,
      document: uri,
      created_at: pastTimestamp(atMs, uri),
      title: record.title ?? '',
      description: record.description ?? '',
      tags: record.tags ?? [],
      cover_image: null,
      preferences: index % 2 === 0 ? SOME_PREFERENCES : null,
    })),
  )
}

/** A publication keeps a token ready for the next post: a column of its row that is in no record. */
async function reserveNextDraft(
  production: StackDatabase,
  publications: readonly WrittenRecord[],
): Promise<void> {
  const tokens = await insertTokens(production, publications.length)
  await updateRows(
    production,
    'publications',
    ['uri'],
    publications.map(({ uri }, index) => ({ uri, draft_leaflet: tokens[index] ?? null })),
  )
}

/** Tokens of new documents in the editor. Random: their ids are capabilities. */
async function insertTokens(production: StackDatabase, count: number): Promise<string[]> {
  const tokens = Array.from({ length: count }, () => ({
    set: randomUUID(),
    entity: randomUUID(),
    id: randomUUID(),
  }))
  await insertRows(
    production,
    'entity_sets',
    tokens.map(({ set }) => ({ id: set, created_at: '2025-06-01T08:00:00.000123Z' })),
  )
  await insertRows(
    production,
    'entities',
    tokens.map(({ entity, set }) => ({ id: entity, set, created_at: '2025-06-01T08:00:00.000456Z' })),
  )
  await insertRows(
    production,
    'permission_tokens',
    tokens.map(({ id, entity }) => ({ id, root_entity: entity })),
  )
  const all = { read: true, write: true, create_token: true, change_entity_set: true }
  await insertRows(
    production,
    'permission_token_rights',
    tokens.map(({ id, set }) => ({ token: id, entity_set: set, ...all, created_at: '2025-06-01T08:00:00Z' })),
  )
  return tokens.map(({ id }) => id)
}
