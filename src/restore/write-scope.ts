import { ConfigError } from '../errors.ts'
import { type LostRecord, type RefusedRecord, recordNameOf } from '../pds/lost-record.ts'
import type { PlannedScope } from '../pds/plan.ts'

type SnapshotRecord = LostRecord | RefusedRecord

/** Which of the snapshot's records are to be written: these, and all of these collections. Neither given: all. */
export interface WriteScope {
  uris?: readonly string[]
  collections?: readonly string[]
}

export interface ScopedRecords {
  records: readonly SnapshotRecord[]
  /** Undefined: all of them. */
  scope?: PlannedScope
}

/** @throws ConfigError for a URI or collection of which the snapshot has no record: nothing is left out by a typo */
export function scoped(records: readonly SnapshotRecord[], { uris, collections }: WriteScope): ScopedRecords {
  if (uris === undefined && collections === undefined) return { records }
  if ([...(uris ?? []), ...(collections ?? [])].length === 0) {
    throw new ConfigError('The write is restricted to no record at all.', {
      hint: 'Name at least one record or collection, or leave the restriction out.',
    })
  }
  assertKnown(records, uris ?? [])
  const present = new Set(records.map(({ uri }) => collectionOf(uri)))
  for (const collection of collections ?? []) {
    if (present.has(collection)) continue
    throw new ConfigError(`The snapshot holds no record of the collection ${collection}.`, {
      hint: `It holds records of ${[...present].join(', ')}.`,
    })
  }
  const inScope = records.filter(({ uri }) => uris?.includes(uri) || collections?.includes(collectionOf(uri)))
  const leftOut = records.length - inScope.length
  return { records: inScope, scope: { ...(uris && { uris }), ...(collections && { collections }), leftOut } }
}

/** @throws ConfigError for a URI that is not of a record of the snapshot */
export function assertKnown(records: readonly SnapshotRecord[], uris: readonly string[]): void {
  const known = new Set(records.map(({ uri }) => uri))
  for (const uri of uris) {
    if (known.has(uri)) continue
    throw new ConfigError(`The snapshot holds no record ${uri}.`, {
      uri,
      hint: 'Copy the URI as the plan prints it: at://DID/COLLECTION/KEY, with the DID and not the handle.',
    })
  }
}

function collectionOf(uri: string): string {
  return recordNameOf(uri)?.collection ?? ''
}
