import { hash } from 'node:crypto'
import { type Cid, isCid, isPlainObject } from '@atproto/lex'
import { isValidNsid, isValidRecordKey } from '@atproto/syntax'
import { decodeBlock } from './dag-cbor.ts'
import { type RawEntry, type RawNode, readRawNode } from './mst-bytes.ts'
import { brokenRepo } from './repo-errors.ts'

export interface MstEntry {
  /** `collection/rkey`. */
  key: string
  /** CID of the record. */
  value: Cid
  /** Subtree between this entry and the next. */
  right: Cid | null
}

export interface MstNode {
  /** Subtree before the first entry. */
  left: Cid | null
  entries: readonly MstEntry[]
}

/**
 * The layer a key belongs to: the number of leading zeros of its SHA-256, in pairs of bits. The shape of a tree
 * follows from its keys alone, and with it the root CID.
 */
export function layerOf(key: string): number {
  let layer = 0
  for (const byte of hash('sha256', key, 'buffer')) {
    if (byte === 0) {
      layer += 4
      continue
    }
    return layer + Math.floor(Math.clz32(byte << 24) / 2)
  }
  return layer
}

/** @throws {@link VerificationError} when `path` is not `collection/rkey` */
export function splitPath(path: string): { collection: string; rkey: string } {
  const slash = path.indexOf('/')
  const collection = path.slice(0, slash)
  const rkey = path.slice(slash + 1)
  if (slash < 0 || !isValidNsid(collection) || !isValidRecordKey(rkey)) {
    throw brokenRepo(`${JSON.stringify(path)} is not the path of a record`)
  }
  return { collection, rkey }
}

/**
 * Decodes a node and checks what can be seen in it alone: types, valid paths, ascending keys, shortest encoding.
 *
 * @throws {@link VerificationError}
 */
export function decodeNode(bytes: Uint8Array): MstNode {
  const { left, entries: raw } = readRawNode(bytes) ?? decodeRawNode(bytes)
  const entries: MstEntry[] = []
  let last = ''
  for (const { prefixLength, suffix, value, right } of raw) {
    const key = last.slice(0, prefixLength) + suffix
    splitPath(key)
    checkAscending(last, key)
    if (prefixLength !== commonPrefixLength(last, key)) {
      throw brokenRepo(`The MST entry ${key} does not share the whole prefix with the entry before it`)
    }
    entries.push({ key, value, right })
    last = key
  }
  return { left, entries }
}

/** By a real decoder, which says what is wrong. Exported as the oracle of the fast one. */
export function decodeRawNode(bytes: Uint8Array): RawNode {
  const node = decodeBlock(bytes, 'MST node')
  const { l, e, ...rest } = node
  if (!Array.isArray(e) || Object.keys(rest).length > 0) throw brokenRepo('An MST node has the wrong fields')
  return { left: subtree(l), entries: e.map(decodeRawEntry) }
}

function decodeRawEntry(item: unknown): RawEntry {
  if (!isPlainObject(item)) throw brokenRepo('An MST entry is not a map')
  const { p, k, v, t, ...rest } = item
  if (typeof p !== 'number' || !(k instanceof Uint8Array) || Object.keys(rest).length > 0) {
    throw brokenRepo('An MST entry has the wrong fields')
  }
  const suffix = Buffer.from(k.buffer, k.byteOffset, k.length).toString('latin1')
  if (!isCid(v, { flavor: 'cbor' })) throw brokenRepo(`The MST entry ${suffix} names no record`)
  return { prefixLength: p, suffix, value: v, right: subtree(t) }
}

/** Paths are ASCII, so that comparing them as strings is comparing their bytes. */
export function checkAscending(last: string, key: string): void {
  if (key === last) throw brokenRepo(`The MST holds the key ${key} twice`)
  if (key < last) throw brokenRepo(`The MST is out of order: ${key} comes after ${last}`)
}

function subtree(value: unknown): Cid | null {
  if (value === null) return null
  if (!isCid(value, { flavor: 'cbor' }))
    throw brokenRepo('An MST node points to a subtree by something that is no CID')
  return value
}

function commonPrefixLength(a: string, b: string): number {
  const limit = Math.min(a.length, b.length)
  let length = 0
  while (length < limit && a.charCodeAt(length) === b.charCodeAt(length)) length++
  return length
}
