/** The incident: a system outside the appview deletes an account's records at its PDS. */

import type { Stack } from './index.ts'
import { deleteStored, listStored, type StoredRecord } from './scenario/repo.ts'
import type { Scenario } from './scenario/scenario.ts'

const COLLECTIONS = ['site.standard.publication', 'site.standard.document']

export type DeletedRecord = StoredRecord

/**
 * Deletes everything that the author published under site.standard, with the author's own session. The older
 * collections are untouched. The rows go when the index hears of it: see `waitUntilGone`.
 *
 * @returns what was deleted, with the CIDs that it had
 */
export async function deleteRecords(stack: Stack, { author }: Scenario): Promise<DeletedRecord[]> {
  const lost: DeletedRecord[] = []
  for (const collection of COLLECTIONS) lost.push(...(await listStored(stack, author, collection)))
  await deleteStored(stack, author, lost)
  return lost
}
