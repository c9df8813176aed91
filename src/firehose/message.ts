import { isValidDid } from '@atproto/syntax'
import { Frame as WireFrame } from '@atproto/xrpc-server'
import { messageOf } from '../errors.ts'
import { type Frame, parseFrame, SUBSCRIBE_REPOS } from './frame.ts'

/** What one message of the firehose is, as far as it can be read. */
export type Message =
  | { kind: 'frame'; frame: Frame }
  /** `#info`, which has no seq, as `OutdatedCursor`. */
  | { kind: 'notice'; name: string; text: string }
  /** An error frame, after which the host closes: `FutureCursor`, `ConsumerTooSlow`. */
  | { kind: 'refusal'; name: string; text: string }
  /** Of a kind that we do not know: new ones may come, and say nothing about records. */
  | { kind: 'other'; type: string; seq: number | undefined }
  /** Not a frame, or a commit or sync without its DID or seq. `dids` are those of whom it seems to speak. */
  | { kind: 'unreadable'; reason: string; dids: readonly string[] }

/** Reads one message. Never throws: a relay may send anything. */
export function readMessage(bytes: Uint8Array): Message {
  let wire: WireFrame
  try {
    wire = WireFrame.fromBytes(bytes)
  } catch (error) {
    return unreadable(bytes, messageOf(error))
  }
  if (wire.isError()) return { kind: 'refusal', name: wire.code, text: wire.message ?? '' }
  if (!wire.isMessage()) return unreadable(bytes, 'it is neither a message nor an error')
  const type = typeOf(wire.type)
  const { body } = wire
  if (!isMap(body)) return unreadable(bytes, 'its body is not a map')
  const frame = parseFrame({ ...body, $type: type })
  if (frame !== undefined) return { kind: 'frame', frame }
  if (type === `${SUBSCRIBE_REPOS}#info`)
    return { kind: 'notice', name: text(body.name), text: text(body.message) }
  if (SPEAKS_OF_RECORDS.has(type)) return unreadable(bytes, `a ${type} without its repo or seq`)
  return { kind: 'other', type, seq: Number.isSafeInteger(body.seq) ? Number(body.seq) : undefined }
}

const SPEAKS_OF_RECORDS = new Set([`${SUBSCRIBE_REPOS}#commit`, `${SUBSCRIBE_REPOS}#sync`])

function typeOf(type: string | undefined): string {
  return type?.startsWith('#') === true ? SUBSCRIBE_REPOS + type : (type ?? '')
}

function unreadable(bytes: Uint8Array, reason: string): Message {
  return { kind: 'unreadable', reason, dids: didsIn(bytes) }
}

/**
 * The accounts that a broken message names, found by the bytes that a CBOR map has before its keys `repo` and `did`.
 * A message that is cut short mostly lacks its end only, and then the one repo that it is about can be replayed.
 */
function didsIn(bytes: Uint8Array): string[] {
  const latin1 = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('latin1')
  const dids = new Set<string>()
  for (const { index, 0: key } of latin1.matchAll(/drepox|cdidx/g)) {
    const start = index + key.length + 1
    const did = latin1.slice(start, start + latin1.charCodeAt(start - 1))
    if (isValidDid(did)) dids.add(did)
  }
  return [...dids]
}

function isMap(value: unknown): value is Record<string, unknown> {
  return value !== null && typeof value === 'object' && !Array.isArray(value)
}

function text(value: unknown): string {
  return typeof value === 'string' ? value : ''
}

/** The number of the frame in the relay's stream, where the message is one. */
export function seqOf(message: Message): number | undefined {
  if (message.kind === 'frame') return message.frame.seq
  return message.kind === 'other' ? message.seq : undefined
}
