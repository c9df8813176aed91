import { AtUri } from '@atproto/syntax'
import type { RecordState } from '../database/record-state.ts'
import type { LostRecord, RefusedRecord } from '../pds/lost-record.ts'
import type { VerifiedRepo } from '../repo/verified-repo.ts'
import type { Report, ReportRecord } from './report.ts'

type RecordsReport = Report['records']

/** The account's lost records, against its repo and against what the index has of them. */
export function compareRecords(
  records: readonly (LostRecord | RefusedRecord)[],
  repo: Pick<VerifiedRepo, 'get'>,
  states: ReadonlyMap<string, RecordState>,
): RecordsReport {
  const items = records.map((record) => compareRecord(record, repo, states.get(record.uri)))
  const countOf = (test: (item: ReportRecord) => boolean) => items.filter(test).length
  return {
    expected: records.length,
    equal: countOf((item) => item.class === 'equal'),
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
  return { ...known, ...judge(record, repoCid, indexedCid) }
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
