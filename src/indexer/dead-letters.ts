import type { Database } from '../database/client.ts'
import { BROKEN_REPO, insertDeadLetters, type NewLetter } from '../database/dead-letters.ts'
import { type RetryOptions, retrying } from '../database/retry.ts'
import type { RecordEvent } from '../events.ts'
import { printEvent } from './letter-event.ts'

export interface FailedEvent {
  event: RecordEvent
  /** SQLSTATE, or a word of ours for what was found before sending. */
  code: string
  error: string
}

/** Keeps events that can never be applied, whole, with the reason. The same event twice is one letter. */
export async function writeDeadLetters(
  database: Database,
  failed: readonly FailedEvent[],
  retry?: RetryOptions,
): Promise<void> {
  // One by one: there are few, and together their records might be more than one request may hold.
  for (const { event, code, error } of failed) {
    const { rev, source, seq } = event
    const uri = event.uri.toString()
    await keep(database, { uri, rev, source, seq, event: printEvent(event), code, error }, retry)
  }
}

/** Keeps note of a repo whose events cannot be trusted and which could not be replayed either. */
export async function writeBrokenRepo(
  database: Database,
  { did, seq, rev, reason }: { did: string; seq: number; rev: string; reason: string },
): Promise<void> {
  const letter = { uri: `at://${did}`, rev, source: 'firehose', seq, event: '{}', code: BROKEN_REPO }
  await keep(database, { ...letter, error: reason })
}

async function keep(database: Database, letter: NewLetter, retry?: RetryOptions): Promise<void> {
  const { uri, rev, error } = letter
  const storable = { ...letter, uri: printable(uri), rev: printable(rev), error: printable(error) }
  await retrying(() => insertDeadLetters(database, [storable]), retry)
}

function printable(text: string): string {
  return text.replaceAll('\u0000', '\\u0000').toWellFormed()
}
