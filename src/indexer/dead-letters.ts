import type { Database } from '../database/client.ts'
import { retrying } from '../database/retry.ts'
import type { RecordEvent } from '../events.ts'
import { lexToJson } from '../repo/record.ts'

export interface DeadLetter {
  event: RecordEvent
  /** SQLSTATE, or a word of ours for what was found before sending. */
  code: string
  error: string
}

/** Keeps events that can never be applied, whole, with the reason. The same event twice is one letter. */
export async function writeDeadLetters(database: Database, letters: readonly DeadLetter[]): Promise<void> {
  if (letters.length === 0) return
  const rows = letters.map(({ event, code, error }) => ({
    uri: event.uri.toString(),
    rev: event.rev,
    source: event.source,
    seq: event.seq,
    event: asciiJson(event),
    code,
    error: printable(error),
  }))
  await insertLetters(database, rows)
}

/** Keeps note of a repo whose events cannot be trusted and which could not be replayed either. */
export async function writeBrokenRepo(
  database: Database,
  { did, seq, rev, reason }: { did: string; seq: number; rev: string; reason: string },
): Promise<void> {
  const row = { uri: `at://${did}`, rev, source: 'firehose', seq, event: '{}', code: 'BROKEN_REPO' }
  await insertLetters(database, [{ ...row, error: printable(reason) }])
}

async function insertLetters(database: Database, rows: readonly object[]): Promise<void> {
  const options = { onConflict: 'uri,rev', ignoreDuplicates: true }
  await retrying(async () =>
    database.check(await database.client.from('dead_letters').upsert([...rows], options), {
      table: 'dead_letters',
    }),
  )
}

/** The event as JSON in which every character that Postgres might refuse is an escape: two characters of text. */
function asciiJson(event: RecordEvent): string {
  const plain = {
    ...event,
    uri: event.uri.toString(),
    commit: event.commit.toString(),
    ...(event.prev === undefined ? {} : { prev: event.prev.toString() }),
    ...(event.event === 'delete' ? {} : { cid: event.cid.toString(), record: lexToJson(event.record) }),
  }
  return escapeOutsideAscii(JSON.stringify(plain))
}

function escapeOutsideAscii(text: string): string {
  return text.replace(/[^\x20-\x7e]/g, (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, '0')}`)
}

function printable(text: string): string {
  return text.replaceAll('\u0000', '\\u0000').toWellFormed()
}
