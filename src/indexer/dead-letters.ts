import { createHash } from 'node:crypto'
import type { Database } from '../database/client.ts'
import {
  ACCOUNT,
  BROKEN_REPO,
  GAP,
  insertDeadLetters,
  type NewLetter,
  UNREADABLE,
} from '../database/dead-letters.ts'
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

/**
 * Keeps note of a repo whose events cannot be trusted and which could not be replayed either.
 *
 * @param deletes records that its events named as deleted, for the replay that is to come
 */
export async function writeBrokenRepo(
  database: Database,
  {
    did,
    seq,
    rev,
    reason,
    deletes = [],
  }: {
    did: string
    seq: number
    rev: string
    reason: string
    deletes?: readonly { collection: string; rkey: string }[]
  },
): Promise<void> {
  const event = deletes.length === 0 ? '{}' : JSON.stringify({ deletes })
  // One letter for what says nothing else; what was named as deleted is in no other letter, and none replaces it.
  const key = rev === '' && deletes.length > 0 ? `after ${seq}` : rev
  const letter = { uri: `at://${did}`, rev: key, source: 'firehose', seq, event, code: BROKEN_REPO }
  await keep(database, { ...letter, error: reason })
}

/** Keeps note of an account that is said to be gone, while nobody who knows could be asked. */
export async function writeAccountLetter(
  database: Database,
  { did, seq, active, status, reason }: AccountClaim & { reason: string },
): Promise<void> {
  await keep(database, {
    uri: `at://${did}`,
    // A letter for each time that it was said, beside those about the account's repo.
    rev: `account ${seq}`,
    source: 'firehose',
    seq,
    event: JSON.stringify({ active, status }),
    code: ACCOUNT,
    error: reason,
  })
}

/** What a host says of an account, unconfirmed. */
interface AccountClaim {
  did: string
  seq: number
  active: boolean
  status: string | undefined
}

/** Unreadable bytes that are kept: enough for a person to see what they are, whatever size a relay sends. */
const KEPT_BYTES = 64 * 1024

/** Keeps bytes of the firehose of which no event could be made: of a record, or of a message of the relay `uri`. */
export async function writeUnreadable(
  database: Database,
  {
    uri,
    rev,
    seq,
    bytes,
    reason,
  }: { uri: string; rev: string; seq: number; bytes: Uint8Array; reason: string },
): Promise<void> {
  const sha256 = createHash('sha256').update(bytes).digest('hex')
  const base64 = Buffer.from(bytes.subarray(0, KEPT_BYTES)).toString('base64')
  await keep(database, {
    uri,
    // Several messages may follow the same frame; the digest tells them apart.
    rev: `${rev || `after ${seq}`} sha256:${sha256.slice(0, 16)}`,
    source: 'firehose',
    seq,
    event: JSON.stringify({ sha256, lengthBytes: bytes.length, base64 }),
    code: UNREADABLE,
    error: reason,
  })
}

/**
 * Keeps note of records that a replay found in the repo and could not read. One letter for each, however often the
 * repo is replayed: their bytes are in the repo.
 */
export async function writeUnreadableRecords(
  database: Database,
  records: readonly { uri: string; reason: string }[],
): Promise<void> {
  for (const { uri, reason } of records) {
    await keep(database, {
      uri,
      rev: '',
      source: 'repo',
      seq: 0,
      event: '{}',
      code: UNREADABLE,
      error: reason,
    })
  }
}

/** Keeps note of frames that were missed, for whoever knows the accounts that they may have been about. */
export async function writeGap(
  database: Database,
  service: string,
  gap: { from: number | undefined; to: number | undefined; reason: string },
): Promise<void> {
  const { from, to, reason } = gap
  await keep(database, {
    uri: service,
    rev: `gap after ${from ?? 'nothing'} before ${to ?? 'nothing'}`,
    source: 'firehose',
    seq: to ?? from ?? 0,
    event: JSON.stringify(gap),
    code: GAP,
    error: reason,
  })
}

async function keep(database: Database, letter: NewLetter, retry?: RetryOptions): Promise<void> {
  // Postgres cannot store U+0000, and all of these may quote what came from outside.
  const { uri, rev, error } = letter
  const storable = { ...letter, uri: printable(uri), rev: printable(rev), error: printable(error) }
  await retrying(() => insertDeadLetters(database, [storable]), retry)
}

function printable(text: string): string {
  return text.replaceAll('\u0000', '\\u0000').toWellFormed()
}
