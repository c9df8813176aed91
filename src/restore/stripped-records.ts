import { readMarks } from '../database/marks.ts'
import type { JsonObject } from '../events.ts'
import { blobRefsOf } from '../pds/blobs/refs.ts'
import { type LostRecord, type RefusedRecord, recordNameOf } from '../pds/lost-record.ts'
import { lexToJson, recordFromBytes } from '../repo/record.ts'
import type { RepoRecord, VerifiedRepo } from '../repo/verified-repo.ts'
import type { RestoreContext } from './context.ts'

type Records = readonly (LostRecord | RefusedRecord)[]

/**
 * Records that go without the blobs that cannot be had, as an earlier restore wrote them, where one did and no more
 * blobs can be had by now. Since then nobody knows the CID of the record that was lost, so that rebuilding it anew may
 * give another one of the same meaning: each run would write it again.
 *
 * @param before the same records before any blob was taken out
 */
export async function asWrittenBefore(
  { production }: Pick<RestoreContext, 'production'>,
  { did, before, records, repo }: { did: string; before: Records; records: Records; repo: VerifiedRepo },
): Promise<Records> {
  const wasStripped = (record: LostRecord | RefusedRecord, index: number): record is LostRecord =>
    'record' in record && record !== before[index]
  if (!records.some(wasStripped)) return records
  const marks = await readMarks(production, did)
  const restored = new Set(marks.map(({ uri, cid }) => `${uri} ${cid}`))
  return records.map((record, index) => {
    const name = recordNameOf(record.uri)
    const live = name && repo.get(name.collection, name.rkey)
    if (live === undefined || !wasStripped(record, index)) return record
    return restored.has(`${record.uri} ${live.cid.toString()}`) ? asLive(record, live) : record
  })
}

function asLive(lost: LostRecord, { cid, bytes }: RepoRecord): LostRecord {
  const record = lexToJson(recordFromBytes(bytes)) as JsonObject
  const isSame = blobCids(record).join() === blobCids(lost.record).join()
  return isSame ? { ...lost, record, cid: cid.toString(), bytes: bytes.length } : lost
}

function blobCids(record: JsonObject): string[] {
  return blobRefsOf(record)
    .map(({ cid }) => cid)
    .sort()
}
