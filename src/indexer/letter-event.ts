/** An event as the text of a dead letter, and back: nothing of it may be lost, whatever it holds. */

import { type Cid, parseCidSafe } from '@atproto/lex'
import { AtUri } from '@atproto/syntax'
import { z } from 'zod'
import { VerificationError } from '../errors.ts'
import type { JsonObject, RecordEvent } from '../events.ts'
import { encodeRecord, lexToJson } from '../repo/record.ts'

/** As JSON in which every character that Postgres might refuse is an escape: two characters of text. */
export function printEvent(event: RecordEvent): string {
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

const cidShape = z.string().transform((text, context): Cid => {
  const cid = parseCidSafe(text)
  if (cid !== null) return cid
  context.addIssue('not a CID')
  return z.NEVER
})

const base = {
  seq: z.number(),
  time: z.string(),
  commit: cidShape,
  rev: z.string(),
  uri: z.string(),
  did: z.string(),
  collection: z.string(),
  rkey: z.string(),
  prev: cidShape.optional(),
  source: z.enum(['firehose', 'relay', 'repo']),
}
const eventShape = z.discriminatedUnion('event', [
  z.object({
    ...base,
    event: z.enum(['create', 'update']),
    cid: cidShape,
    record: z.record(z.string(), z.json()),
  }),
  z.object({ ...base, event: z.literal('delete') }),
])

/**
 * The event that `printEvent` printed. Its record must still have the CID it came with.
 *
 * @throws VerificationError when the text is not one of ours, or no longer
 */
export function parseEvent(text: string): RecordEvent {
  const parsed = eventShape.safeParse(jsonOf(text))
  if (!parsed.success) throw unreadable(z.prettifyError(parsed.error))
  const { prev, uri, ...event } = parsed.data
  const common = { ...(prev === undefined ? {} : { prev }), uri: new AtUri(uri) }
  if (event.event === 'delete') return { ...event, ...common }
  const { cid, record } = encodeRecord(event.record as JsonObject)
  if (!cid.equals(event.cid)) throw unreadable(`its record has the CID ${cid}, not ${event.cid}`)
  return { ...event, ...common, record }
}

function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch (error) {
    if (error instanceof SyntaxError) throw unreadable(error.message)
    throw error
  }
}

function unreadable(reason: string): VerificationError {
  return new VerificationError(`The dead letter does not hold an event: ${reason}`, {
    hint: 'Replay the account: its repo has what the event said, or what came after it.',
  })
}
