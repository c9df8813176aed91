import { nameOf, type Pending, pathOf, pendingOf, type RecordToWrite } from './pending.ts'
import { WriteRun } from './write-run.ts'
import { newWriteState, type WriteOptions, type WriteResult, type WrittenRecord } from './write-state.ts'

export type { RecordToWrite } from './pending.ts'
export type { Head, WriteOptions, WriteResult, WriteState, WriteWait, WrittenRecord } from './write-state.ts'

/**
 * Brings a repo to hold these records, in as few calls as the limits allow, and stops when the rate limit asks for a
 * wait, or when the time is over: the caller waits in its own way (for hours, durably) and calls again with `left` and
 * `state`.
 *
 * What a call may do is bounded by what it was planned on: it follows the commit that was read, or, where someone
 * else writes as well, creates only what is absent and replaces only the very record that was there. When that
 * fails, or the answer is lost, or the host says 500 (which is how it says "exists already"), the repo is read again
 * and only what is still missing is written: never a blind retry, never a second commit for what is there.
 *
 * A record that the host refuses, or fails in each time, costs that record and none of its neighbours: at most about
 * 2·log2(200) = 15 calls more (a few more where all that the host says is 500), and the points of fewer than 400
 * records sent in vain (600 where it may have been the moment): see `CallSizes`.
 *
 * @throws SessionError; UnavailableError when the host is down or keeps failing; PdsError when it refuses whatever it
 *   is sent: records alone, in a row and from all over the queue, for the same reason
 */
export async function writeRecords(
  records: readonly RecordToWrite[],
  options: WriteOptions,
): Promise<WriteResult> {
  const pending = new Map<string, Pending>()
  const refused: WrittenRecord[] = []
  for (const record of records) {
    const path = pathOf(record)
    if (pending.has(path)) {
      refused.push({ ...nameOf(record), outcome: 'refused', reason: 'given twice' })
      continue
    }
    const item = pendingOf(record)
    if ('reason' in item)
      refused.push({ ...nameOf(record), outcome: 'refused', refusal: 'unencodable', ...item })
    else pending.set(path, item)
  }
  const run = new WriteRun({ ...options, state: options.state ?? newWriteState() })
  const result = await run.write([...pending.values()])
  return { ...result, records: [...refused, ...result.records] }
}
