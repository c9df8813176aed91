import type { AuthorContent } from '../content.ts'
import type { Account } from '../index.ts'
import type { RowCounts } from './indexed.ts'
import type { Mention } from './readers.ts'
import type { WrittenRecord } from './record.ts'

export interface Author extends Account {
  /** For a restore: it may write records and nothing else. */
  appPassword: string
}

export interface Scenario {
  name: string
  seed: string
  author: Author
  publications: { uri: string; survives: boolean }[]
  /** URIs of all site.standard.document records, the broken one included: what the incident takes. */
  documents: string[]
  /** URIs of the pub.leaflet.document records, which survive. */
  survivingDocuments: string[]
  brokenDocument: string
  readers: Account[]
  content: AuthorContent
  mentions: readonly Mention[]
  /** Every record written, by anybody. */
  records: readonly WrittenRecord[]
  /** Rows per table that indexing these records makes: what `waitUntilIndexed` waits for. */
  expectedRows: RowCounts
}
