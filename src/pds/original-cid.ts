import type { JsonObject } from '../events.ts'
import { encodeFor } from '../repo/record.ts'
import { measure } from './measured.ts'
import type { RecordName } from './pending.ts'

/**
 * Where a CID is known from: the delete that took the record, another record that refers to it, or the repo itself.
 * Each proves a candidate that has this CID. A CID is a hash of 256 bits, so that one which equals a candidate's cannot
 * be guessed: whoever wrote the reference has had a record with exactly these bytes before them. They may have seen an
 * earlier version, which is why a tombstone goes before a reference.
 *
 * Nor does it say that they had it from the repo: who has read a text elsewhere can put its record together and refer to
 * that. With what is public anyway nothing is gained by it. What may not be is only proven by the delete or the repo:
 * see `lostRecordOf`.
 */
export const PROOF_SOURCES = ['tombstone', 'strong-reference', 'repo'] as const
export type ProofSource = (typeof PROOF_SOURCES)[number]

/** What is known of a record's CID from outside the snapshot. */
export interface KnownCids {
  /** Of the record that was deleted, by its tombstone. */
  deleted?: string
  /** Of the record that the repo holds under this key now: it may be another one. */
  live?: string
  /** By which other records refer to it: each of some version of it, if they tell the truth. */
  referenced?: ReadonlySet<string>
}

export interface FoundCandidate {
  record: JsonObject
  cid: string
  /** Whose CID it has; undefined: nobody's, and it is the likeliest. */
  by?: ProofSource
  /** Candidates whose CIDs were compared. */
  searched: number
  /** There were more, and they were not looked at. */
  isCutShort: boolean
}

/** A description of an appview may offer any number of candidates; Leaflet's offers 1,024 at most. */
const MAX_CANDIDATES = 2_048

/** Of encoded candidates of one record: half a second of encoding and hashing. */
const MAX_BYTES = 16 * 1024 * 1024

/**
 * The candidate that has a known CID, one that is certain before one that is only referred to; else the first, which
 * is the likeliest. No more candidates are made than are looked at.
 *
 * @returns or why the likeliest cannot be written; undefined without any candidate that is an object
 */
export function findOriginal(
  candidates: Iterable<unknown>,
  name: RecordName,
  known: KnownCids,
): FoundCandidate | { reason: string } | undefined {
  const sources = sourcesOf(known)
  const isCertain = known.deleted !== undefined || known.live !== undefined
  let likeliest: { record: JsonObject; cid: string } | undefined
  let referenced: { record: JsonObject; cid: string } | undefined
  let searched = 0
  let bytes = 0
  let isCutShort = false
  for (const record of candidates) {
    if (!isObject(record)) continue
    if (searched >= MAX_CANDIDATES || bytes >= MAX_BYTES) {
      isCutShort = true
      break
    }
    const encoded = likeliest === undefined ? firstOf(record, name) : encodeFor(record, name)
    if ('reason' in encoded) {
      if (likeliest === undefined) return encoded
      continue
    }
    const found = { record, cid: encoded.cid.toString() }
    likeliest ??= found
    if (sources.size === 0) break
    searched++
    bytes += encoded.bytes.length
    const by = sources.get(found.cid)
    if (by === undefined) continue
    if (by !== 'strong-reference' || !isCertain) return { ...found, by, searched, isCutShort }
    referenced ??= found
  }
  if (referenced !== undefined) return { ...referenced, by: 'strong-reference', searched, isCutShort }
  return likeliest && { ...likeliest, searched, isCutShort }
}

function sourcesOf({ deleted, live, referenced = new Set() }: KnownCids): Map<string, ProofSource> {
  const sources = new Map<string, ProofSource>()
  for (const cid of referenced) sources.set(cid, 'strong-reference')
  if (deleted !== undefined) sources.set(deleted, 'tombstone')
  if (live !== undefined) sources.set(live, 'repo')
  return sources
}

/** The one that is most often written: what it comes to is kept for the plan and the batches. */
function firstOf(
  record: JsonObject,
  name: RecordName,
): { cid: string; bytes: { length: number } } | { reason: string } {
  const measured = measure(record, name)
  return 'reason' in measured ? measured : { cid: measured.cid, bytes: { length: measured.blockBytes } }
}

function isObject(value: unknown): value is JsonObject {
  return value !== null && typeof value === 'object' && !Array.isArray(value)
}
