import { createAuthor, letters, nextMessage } from '../firehose/author.ts'
import { documents } from '../write/input.ts'

export interface FirehoseInput {
  /** Whole messages of the firehose, as they go over the wire, with seq from 1 on. */
  messages: Buffer[]
  /** DID documents by DID. */
  didDocuments: Record<string, object>
}

/** What a repo holds before the frames that are measured: some layers of a tree, as in real life. */
const EARLIER_RECORDS = 100

/** Commits of one document each, the accounts taking turns. */
export async function firehoseInput(accounts: number, commitsEach: number): Promise<FirehoseInput> {
  const earlier = documents(EARLIER_RECORDS)
  const authors = []
  for (let index = 0; index < accounts; index++)
    authors.push(await createAuthor(`did:plc:${letters(index, 24)}`, earlier))
  const records = documents(accounts * commitsEach + EARLIER_RECORDS).slice(EARLIER_RECORDS)
  const messages: Buffer[] = []
  for (const [index, record] of records.entries()) {
    const author = authors[index % accounts]
    if (author !== undefined) messages.push(await nextMessage(author, record, index + 1))
  }
  return { messages, didDocuments: Object.fromEntries(authors.map(({ did, document }) => [did, document])) }
}
