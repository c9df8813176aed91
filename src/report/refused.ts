import type { Refusal } from '../events.ts'
import { type LostRecord, type RefusedRecord, recordNameOf } from '../pds/lost-record.ts'
import type { VerifiedRepo } from '../repo/verified-repo.ts'

export interface RecordRefusal {
  refusal: Refusal
  reason: string
}

/** By URI, records that were not written back, and why: by the write plan, or by the writer later. */
export type RefusedRecords = ReadonlyMap<string, RecordRefusal>

/** What was refused from the start, and what the writer refused of the others. */
export function refusalsOf(
  records: readonly (LostRecord | RefusedRecord)[],
  later: RefusedRecords = new Map(),
): RefusedRecords {
  const refusals = new Map(later)
  for (const record of records) {
    if ('refusal' in record) refusals.set(record.uri, { refusal: record.refusal, reason: record.reason })
  }
  return refusals
}

/** Those of them that are not in the repo: a row of such a record rests on the backup alone. */
export function withoutRecord(refusals: RefusedRecords, repo: Pick<VerifiedRepo, 'get'>): RefusedRecords {
  return new Map([...refusals].filter(([uri, { refusal }]) => refusal !== 'conflict' && !isThere(uri, repo)))
}

/** URIs of the lost records that the repo does not have, and that nobody has refused. */
export function missingRecords(
  records: readonly (LostRecord | RefusedRecord)[],
  refusals: RefusedRecords,
  repo: Pick<VerifiedRepo, 'get'>,
): Set<string> {
  const uris = records.map(({ uri }) => uri)
  return new Set(uris.filter((uri) => !refusals.has(uri) && !isThere(uri, repo)))
}

function isThere(uri: string, repo: Pick<VerifiedRepo, 'get'>): boolean {
  const name = recordNameOf(uri)
  return name !== undefined && repo.get(name.collection, name.rkey) !== undefined
}

/** In the words of a reason. */
export function refusalText({ refusal, reason }: RecordRefusal): string {
  return `refused (${refusal}): ${reason}`
}
