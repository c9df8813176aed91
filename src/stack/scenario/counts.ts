import type { Stack } from '../index.ts'
import type { RowCounts } from './indexed.ts'
import { hasColumn } from './rows.ts'
import type { Scenario } from './scenario.ts'

/** Tables that hold rows of an account, and the columns whose AT-URIs say whose they are: any of them is enough. */
const COLUMNS: Readonly<Record<string, readonly string[]>> = {
  publications: ['uri'],
  documents: ['uri'],
  documents_in_publications: ['publication', 'document'],
  publication_subscriptions: ['publication'],
  recommends_on_documents: ['document'],
  comments_on_documents: ['document'],
  document_mentions_in_bsky: ['document'],
  publication_domains: ['publication'],
  leaflets_in_publications: ['publication', 'doc'],
  leaflets_to_documents: ['document'],
  publication_post_sends: ['publication', 'document'],
  publication_pages: ['publication'],
  document_tags: ['uri'],
}

/** How many rows each table has now of the author's own and below them; only tables that this schema has. */
export async function tableCounts(stack: Stack, { author }: Scenario): Promise<RowCounts> {
  const counts: RowCounts = {}
  for (const [table, columns] of Object.entries(COLUMNS)) {
    if (!(await hasColumn(stack.production, table))) continue
    const isTheirs = columns.map((column) => `split_part(${column}, '/', 3) = $1`).join(' or ')
    const [row] = await stack.production.query(
      `select count(*)::int as count from ${table} where ${isTheirs}`,
      [author.did],
    )
    counts[table] = Number(row?.count ?? 0)
  }
  return counts
}
