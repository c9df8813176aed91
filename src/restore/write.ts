import type { Snapshot } from '../backup/snapshot.ts'
import type { Catalog } from '../database/catalog.ts'
import { removeMarks, setMarks } from '../database/marks.ts'
import { readRecordStates } from '../database/record-state.ts'
import { RestoreError, shouldRetry } from '../errors.ts'
import type { JsonObject } from '../events.ts'
import { asEvent } from '../pds/as-event.ts'
import { type BlobsOfWrite, blobsOfWrite, planBlobs } from '../pds/blobs/plan.ts'
import { applyMissingBlobs, type MissingBlobPolicy } from '../pds/blobs/policy.ts'
import type { BlobSupply } from '../pds/blobs/supply.ts'
import type { Budget } from '../pds/budget.ts'
import { type LostRecord, type RefusedRecord, recordNameOf } from '../pds/lost-record.ts'
import { type ConflictPolicy, isWritten, type PlanOptions, planWrite, type WritePlan } from '../pds/plan.ts'
import { fetchRepo, type LiveRepo } from '../pds/repo.ts'
import type { RefusedRecords } from '../reconcile/own-records.ts'
import { encodeRecord, lexToJson, recordFromBytes } from '../repo/record.ts'
import { assertAuthorActive } from './consent-author.ts'
import type { NotWritten, RestoreContext, Writer, WriterSummary } from './context.ts'
import { keptRecords } from './kept-records.ts'
import { lostRecordsOf } from './lost-records.ts'
import { asWrittenBefore } from './stripped-records.ts'
import { assertKnown, scoped, type WriteScope } from './write-scope.ts'

export interface PrepareWriteOptions {
  snapshot: Snapshot
  catalog: Catalog
  onConflict: ConflictPolicy
  /** @defaultValue all records of the snapshot */
  scope?: WriteScope
  /** URIs of records that are not to be overwritten, whatever `onConflict` says. One that is gone is created. */
  except?: readonly string[]
  /** What the account may still write: the way, the points and the estimate depend on it. @defaultValue as `planWrite` */
  budget?: Budget
  /** By URI, CIDs of records whose deletes a relay's window still has: beside the tombstones that the index keeps. */
  deleted?: ReadonlyMap<string, string>
  /** @defaultValue blobs are not looked for, and records that refer to any are planned as if all were there */
  blobs?: {
    supply: BlobSupply
    /** @defaultValue 'refuse-record' */
    policy?: MissingBlobPolicy
    onProgress?: (done: number, total: number) => void
  }
}

export interface PreparedWrite {
  /** Of the records in scope. */
  plan: WritePlan
  /** All records of the snapshot, those in scope as they are to be written: what a comparison expects. */
  records: readonly (LostRecord | RefusedRecord)[]
  repo: LiveRepo
  /** The records that would be overwritten, as they are now: kept before they go. */
  overwritten: { uri: string; cid: string; record: JsonObject }[]
}

/**
 * Turns the snapshot's root rows back into records and holds them against the live repo. Nothing is written.
 *
 * @throws ConfigError for a scope or an exemption that names what the snapshot does not hold; what
 *   `applyMissingBlobs` throws with policy `fail`; what `assertAuthorActive`, `fetchRepo` and `planBlobs` throw
 */
export async function prepareWrite(
  context: RestoreContext,
  {
    snapshot,
    catalog,
    onConflict,
    scope: wanted = {},
    except = [],
    budget,
    deleted,
    blobs,
  }: PrepareWriteOptions,
): Promise<PreparedWrite> {
  const { appview } = context
  await assertAuthorActive(snapshot.did, context.network)
  const repo = await fetchRepo(snapshot.did, context.network)
  const states = await readRecordStates(context.production, snapshot.did)
  const records = lostRecordsOf(snapshot, appview, { states, repo, ...(deleted && { deleted }) })
  assertKnown(records, except)
  const inScope = scoped(records, wanted)
  const kept = await keptRecords(context, { snapshot, catalog, records, repo })
  for (const uri of except) if (!kept.has(uri)) kept.set(uri, 'exempted by the operator')
  const uris = new Set(inScope.records.map(({ uri }) => uri))
  const planOf = (all: PreparedWrite['records'], options: PlanOptions = {}): WritePlan => {
    const planned = all.filter(({ uri }) => uris.has(uri))
    const { scope } = inScope
    return planWrite(planned, repo, onConflict, kept, {
      ...options,
      ...(scope && { scope }),
      ...(budget && { budget }),
    })
  }
  const settled = blobs && (await settleBlobs(context, { records, plan: planOf(records), repo }, blobs))
  const toWrite = settled?.records ?? records
  const plan = planOf(toWrite, {
    warningOf: (record) => lexiconWarning(record, appview),
    ...(settled && { blobs: settled.blobs }),
  })
  return { plan, records: toWrite, repo, overwritten: overwrittenBy(plan, repo) }
}

/** The records as they can be written with the blobs that can be had. Only those to be written are looked at. */
async function settleBlobs(
  context: RestoreContext,
  { records, plan, repo }: Pick<PreparedWrite, 'records' | 'plan' | 'repo'>,
  { supply, policy, onProgress }: NonNullable<PrepareWriteOptions['blobs']>,
): Promise<Pick<PreparedWrite, 'records'> & { blobs: BlobsOfWrite }> {
  const toWrite = recordsToWrite(records, plan)
  const blobPlan = await planBlobs(toWrite, { ...supply, ...(onProgress && { onProgress }) })
  const { appview } = context
  const possible = applyMissingBlobs(records, blobPlan, { appview, ...(policy && { policy }) })
  return {
    records: await asWrittenBefore(context, { did: plan.did, before: records, records: possible, repo }),
    blobs: blobsOfWrite(blobPlan),
  }
}

function recordsToWrite(records: PreparedWrite['records'], plan: WritePlan): LostRecord[] {
  const wanted = new Set(plan.records.filter(isWritten).map(({ uri }) => uri))
  return records.filter((record): record is LostRecord => 'record' in record && wanted.has(record.uri))
}

/** A record that breaks its lexicon goes back all the same: it was there before. */
function lexiconWarning(
  { uri, collection, record }: LostRecord,
  { handlers }: Pick<RestoreContext['appview'], 'handlers'>,
): string | undefined {
  const handler = handlers.find((candidate) => candidate.collection === collection)
  const result = handler?.rows(asEvent(uri, encodeRecord(record)))
  return result?.outcome === 'invalid' ? `breaks its lexicon: ${result.reason}` : undefined
}

function overwrittenBy(plan: WritePlan, repo: LiveRepo): PreparedWrite['overwritten'] {
  return plan.records.flatMap(({ uri, action }) => {
    const name = action === 'overwrite' ? recordNameOf(uri) : undefined
    const live = name && repo.get(name.collection, name.rkey)
    if (live === undefined) return []
    return [{ uri, cid: live.cid.toString(), record: lexToJson(recordFromBytes(live.bytes)) as JsonObject }]
  })
}

/**
 * Marks what is to be written, so that live ingestion stays silent about it, then has it written.
 *
 * @throws RestoreError before anything is written, where the plan says `fail` of a record that is in the way; what
 *   the writer throws
 */
export async function executeWrite(
  context: RestoreContext,
  writer: Writer,
  { plan, records }: PreparedWrite,
  {
    run,
    onConflict,
    onProgress,
  }: { run: string; onConflict: ConflictPolicy; onProgress?: (done: number, total: number) => void },
): Promise<WriterSummary> {
  const { did } = plan
  refuseConflicts(plan)
  const toWrite = recordsToWrite(records, plan)
  await setMarks(
    context.production,
    toWrite.map(({ uri, cid }) => ({ uri, cid, did, run })),
  )
  const refused = refusedByPlan(plan)
  if (toWrite.length === 0)
    return { success: refused.length === 0, recordsWritten: 0, batchCount: 0, notWritten: refused }
  const rankOf = ranksOf(context)
  const planned = new Map(plan.records.map((record) => [record.uri, record]))
  const ordered = [...toWrite].sort((a, b) => (rankOf(a.collection) ?? 0) - (rankOf(b.collection) ?? 0))
  try {
    const summary = await writer({
      did,
      run,
      records: ordered.map(({ uri, collection, rkey, record }) => ({
        collection,
        rkey,
        record,
        replaces: planned.get(uri)?.currentCid ?? null,
      })),
      onConflict,
      ...(onProgress === undefined ? {} : { onProgress }),
    })
    if (summary.recordsWritten < toWrite.length) await unmarkAbsent(context, did, toWrite)
    return {
      ...summary,
      success: summary.success && refused.length === 0,
      notWritten: [...refused, ...summary.notWritten],
    }
  } catch (error) {
    // One that may pass leaves the marks: what was sent may still arrive.
    if (!shouldRetry(error)) await unmarkAbsent(context, did, toWrite)
    throw error
  }
}

function refuseConflicts({ did, records }: WritePlan): void {
  const conflicts = records.filter(({ refusal }) => refusal === 'conflict')
  const [first] = conflicts
  if (first === undefined) return
  throw new RestoreError(
    `${conflicts.length} records were made again under lost keys, ${first.uri} among them.`,
    {
      did,
      uri: first.uri,
      hint: 'Nothing was written. Choose --on-conflict keep or overwrite; with --except URI a record stays as it is now.',
    },
  )
}

/** Records that a plan has refused. */
export function refusedByPlan({ records }: WritePlan): NotWritten[] {
  return records
    .filter(({ action }) => action === 'refuse')
    .map(({ uri, refusal, reason = 'refused' }) => ({
      uri,
      outcome: 'refused',
      ...(refusal && { refusal }),
      reason,
    }))
}

/** URIs of the records that the repo holds as they were written, and not as they were lost. */
export function writtenOtherwise(
  { records }: Pick<PreparedWrite, 'records'>,
  repo: Pick<LiveRepo, 'get'>,
): Set<string> {
  const written = records.filter(
    (record): record is LostRecord =>
      'record' in record &&
      record.proof === 'different' &&
      repo.get(record.collection, record.rkey)?.cid.toString() === record.cid,
  )
  return new Set(written.map(({ uri }) => uri))
}

/** Of what was not written, that which was refused: its rows come from the backup alone. */
export function refusedOf(notWritten: readonly NotWritten[]): RefusedRecords {
  return new Map(
    notWritten.flatMap(({ uri, refusal, reason }) => (refusal ? [[uri, { refusal, reason }] as const] : [])),
  )
}

/** What did not arrive is no longer waited for: a record that the PDS refuses must not hold up the others. */
async function unmarkAbsent(
  context: RestoreContext,
  did: string,
  sent: readonly LostRecord[],
): Promise<void> {
  const repo = await fetchRepo(did, context.network)
  const absent = sent.filter(
    ({ collection, rkey, cid }) => repo.get(collection, rkey)?.cid.toString() !== cid,
  )
  await removeMarks(context.production, did, absent)
}

/** The order of an appview's collections, parents first; undefined for those it does not index. */
export function ranksOf({
  appview,
}: Pick<RestoreContext, 'appview'>): (collection: string) => number | undefined {
  const ranks = new Map(appview.handlers.map((handler) => [handler.collection, handler.rank]))
  return (collection) => ranks.get(collection)
}
