import type { RecordState } from '../database/record-state.ts'
import { type LostRecord, type RefusedRecord, recordNameOf } from '../pds/lost-record.ts'
import type { VerifiedRepo } from '../repo/verified-repo.ts'
import { type RecordRefusal, type RefusedRecords, refusalsOf, refusalText } from './refused.ts'
import type { Report, ReportRecord } from './report.ts'

type RecordsReport = Report['records']

/**
 * The account's lost records, against its repo and against what the index has of them.
 *
 * @param kept URIs of records that the write plan left as their author has them now
 * @param later records that the writer refused, and why
 */
export function compareRecords(
  records: readonly (LostRecord | RefusedRecord)[],
  repo: Pick<VerifiedRepo, 'get'>,
  states: ReadonlyMap<string, RecordState>,
  kept: ReadonlySet<string> = new Set(),
  later: RefusedRecords = new Map(),
): RecordsReport {
  const refusals = refusalsOf(records, later)
  const items = records.map((record) => {
    const { uri } = record
    return compareRecord(record, {
      repo,
      state: states.get(uri),
      isKept: kept.has(uri),
      refused: refusals.get(uri),
    })
  })
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
  {
    repo,
    state,
    isKept,
    refused,
  }: {
    repo: Pick<VerifiedRepo, 'get'>
    state: RecordState | undefined
    isKept: boolean
    refused: RecordRefusal | undefined
  },
): ReportRecord {
  const { uri, originalCid } = record
  const name = recordNameOf(uri)
  const repoCid = name === undefined ? undefined : repo.get(name.collection, name.rkey)?.cid.toString()
  const indexedCid = state === undefined || state.deleted ? undefined : (state.cid ?? undefined)
  const known = {
    uri,
    ...('refusal' in record ? {} : rebuiltFrom(record)),
    ...(originalCid === undefined ? {} : { originalCid }),
    ...(repoCid === undefined ? {} : { repoCid }),
    ...(indexedCid === undefined ? {} : { indexedCid }),
  }
  const judged = judge(record, { repoCid, indexedCid, refused })
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

function rebuiltFrom({
  cid,
  proof,
  provenBy,
  differs,
  doubt,
}: LostRecord): Pick<ReportRecord, 'cid' | 'proof' | 'provenBy' | 'differs' | 'doubt'> {
  return { cid, proof, ...(provenBy && { provenBy }), ...(differs && { differs }), ...(doubt && { doubt }) }
}

function judge(
  record: LostRecord | RefusedRecord,
  {
    repoCid,
    indexedCid,
    refused,
  }: { repoCid: string | undefined; indexedCid: string | undefined; refused: RecordRefusal | undefined },
): Pick<ReportRecord, 'class' | 'refusal' | 'reason'> {
  const because = (reason: string) =>
    refused === undefined ? { reason } : { refusal: refused.refusal, reason: refusalText(refused) }
  if (repoCid === undefined) return { class: 'missing', ...because('not in the repo') }
  const wanted = 'refusal' in record ? undefined : record.cid
  if (repoCid !== wanted && repoCid !== record.originalCid)
    return { class: 'different', ...because('the repo holds another record under this key') }
  if (indexedCid === repoCid) return { class: 'equal' }
  const reason = indexedCid === undefined ? 'not indexed' : 'the index has another version of it'
  return { class: 'different', reason }
}
