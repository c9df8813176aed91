/** What can happen to a host's frames on their way. */

import type { Cid } from '@atproto/lex'
import { Frame, MessageFrame } from '@atproto/xrpc-server'
import { readCarBytes } from '../../src/repo/car.ts'
import { cidOfBlock } from '../../src/repo/dag-cbor.ts'
import type { FirehoseProxy } from './firehose-proxy.ts'

/** Changes the first byte of this text in a message. */
export const flip = (text: string) => (message: Buffer) => {
  const at = message.indexOf(text)
  const copy = Buffer.from(message)
  copy[at] = (copy[at] ?? 0) ^ 1
  return copy
}

export function replaced(message: Buffer, text: string, by: string): Buffer {
  return Buffer.from(message.toString('latin1').replaceAll(text, by), 'latin1')
}

/** The frame of a commit with one bit of the signature changed and all CIDs right: only the key can tell. */
export function wronglySigned(message: Buffer): Buffer {
  const { commit, blocks } = Frame.fromBytes(message).body as { commit: Cid; blocks: Uint8Array }
  const block = readCarBytes(blocks).blocks.get(commit)
  if (block === undefined) throw new Error('The frame has no commit.')
  const changed = Buffer.from(block)
  const at = changed.indexOf(SIGNATURE) + SIGNATURE.length
  changed[at + 40] = (changed[at + 40] ?? 0) ^ 1
  const copy = Buffer.from(message)
  changed.copy(copy, copy.indexOf(block))
  const cid = Buffer.from(cidOfBlock(changed).bytes)
  for (let found = copy.indexOf(commit.bytes); found !== -1; found = copy.indexOf(commit.bytes))
    cid.copy(copy, found)
  return copy
}

/** The key `sig` of a CBOR map, and the head of 64 bytes. */
const SIGNATURE = Buffer.from('csigX@', 'latin1')

/** The frame of a commit, said to be of another account whose DID is as long. */
export const ofAnother = (did: string) => (message: Buffer) => {
  const copy = Buffer.from(message)
  copy.write(did, copy.indexOf('drepox') + 'drepox'.length + 1, 'latin1')
  return copy
}

/** The same frame with a field that nobody knows, so that it has more bytes than this. */
export const largerThan = (bytes: number) => (message: Buffer) => {
  const frame = Frame.fromBytes(message)
  if (!frame.isMessage()) throw new Error('no message')
  const body = { ...(frame.body as object), padding: new Uint8Array(bytes) }
  return Buffer.from(new MessageFrame(body as never, { type: frame.type ?? '' }).toBytes())
}

/**
 * Changes the message that first has this text in it, whenever it comes: the commits after it may have the text in
 * their trees, too. @returns how often it has come
 */
export function spoil(
  proxy: FirehoseProxy,
  text: string,
  change: (message: Buffer) => Buffer | undefined,
): { count: number } {
  let first: Buffer | undefined
  const times = { count: 0 }
  proxy.change = (message) => {
    if (first === undefined && message.includes(text)) first = Buffer.from(message)
    if (first === undefined || !first.equals(message)) return message
    times.count++
    return change(message)
  }
  return times
}
