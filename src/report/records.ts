import { AtUri } from '@atproto/syntax'
import type { RecordState } from '../database/record-state.ts'
import type { LostRecord, RefusedRecord } from '../pds/lost-record.ts'
import type { VerifiedRepo } from '../repo/verified-repo.ts'
import type { Report, ReportRecord } from './report.ts'

type RecordsReport = Report['records']

/**
 * The account's lost records, against its repo and against what the index has of them.
 *
 * @param kept URIs of records that the write plan left as their author has them now
 */
export function compareRecords(
  records: readonly (LostRecord | RefusedRecord)[],
  repo: Pick<VerifiedRepo, 'get'>,
  states: ReadonlyMap<string, RecordState>,
  kept: ReadonlySet<string> = new Set(),
): RecordsReport {
  const items = records.map((record) =>
    compareRecord(record, repo, states.get(record.uri), kept.has(record.uri)),
  )
  const countOf = (test: (item: ReportRecord) => boolean) => items.filter(test).length
  return {
    expected: records.length,
    equal: countOf((item) => item.class === 'equal'),
    explained: countOf((item) => item.class === 'explained'),
    different: countOf((item) => item.class === 'different'),
    missing: countOf((item) => item.class === 'missing'),
    identicalCid: countOf(
      ({ repoCid, originalCid, cid }) => repoCid !== undefined && repoCid === (originalCid ?? cid),
    ),
    proven: countOf((item) => item.proof === 'proven'),
    selfConsistent: countOf((item) => item.proof === 'self-consistent'),
    items,
  }
}

function compareRecord(
  record: LostRecord | RefusedRecord,
  repo: Pick<VerifiedRepo, 'get'>,
  state: RecordState | undefined,
  isKept: boolean,
): ReportRecord {
  const { uri, originalCid } = record
  const { collection, rkey } = new AtUri(uri)
  const repoCid = repo.get(collection, rkey)?.cid.toString()
  const indexedCid = state === undefined || state.deleted ? undefined : (state.cid ?? undefined)
  const known = {
    uri,
    ...('refusal' in record ? {} : { cid: record.cid, proof: record.proof }),
    ...(originalCid === undefined ? {} : { originalCid }),
    ...(repoCid === undefined ? {} : { repoCid }),
    ...(indexedCid === undefined ? {} : { indexedCid }),
  }
  const judged = judge(record, repoCid, indexedCid)
  if (isKept && judged.class === 'different' && indexedCid === repoCid) {
    return {
      ...known,
      class: 'explained',
      policy: 'kept-newer',
      reason: 'its author has changed it since the backup',
    }
  }
  return { ...known, ...judged }
}

function judge(
  record: LostRecord | RefusedRecord,
  repoCid: string | undefined,
  indexedCid: string | undefined,
): Pick<ReportRecord, 'class' | 'reason'> {
  const refusal = 'refusal' in record ? `refused (${record.refusal}): ${record.reason}` : undefined
  if (repoCid === undefined) return { class: 'missing', reason: refusal ?? 'not in the repo' }
  const wanted = 'refusal' in record ? undefined : record.cid
  if (repoCid !== wanted && repoCid !== record.originalCid)
    return { class: 'different', reason: refusal ?? 'the repo holds another record under this key' }
  if (indexedCid === repoCid) return { class: 'equal' }
  const reason = indexedCid === undefined ? 'not indexed' : 'the index has another version of it'
  return { class: 'different', reason }
}
