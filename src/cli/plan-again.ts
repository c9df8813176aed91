import type { NotWritten } from '../restore/context.ts'
import { type PreparedWrite, type PrepareWriteOptions, prepareWrite } from '../restore/write.ts'
import type { CliContext } from './context.ts'
import { lastWriteOf, writeFolderOf } from './write-folder.ts'
import { writePlanOptions } from './write-plan.ts'

/** What became of the snapshot's records, for the commands that come after a write. */
export interface WrittenRecords extends PreparedWrite {
  /** What the write itself could not or would not write, beside what is in the plan. */
  notWritten: readonly NotWritten[]
}

/**
 * The plan of the write once more, as the last `write` of this snapshot was told to make it. What is still missing
 * then could not be written.
 */
export async function planAgain(
  context: CliContext,
  step: Pick<PrepareWriteOptions, 'snapshot' | 'catalog'>,
): Promise<WrittenRecords> {
  const last = await lastWriteOf(writeFolderOf(context, step.snapshot))
  const flags = last?.flags ?? { onConflict: 'overwrite', missingBlobs: 'refuse-record' }
  // A policy that ends the write says nothing of what came of it.
  const missingBlobs = flags.missingBlobs === 'fail' ? 'refuse-record' : flags.missingBlobs
  const planned = await writePlanOptions(context, step.snapshot.did, { ...flags, missingBlobs })
  const prepared = await prepareWrite(context, { ...step, ...planned })
  return { ...prepared, notWritten: last?.notWritten ?? [] }
}
