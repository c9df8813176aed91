import { type Snapshot, tableOf } from '../backup/snapshot.ts'
import type { AppView } from '../events.ts'

/** Which records' rows may come from the backup although the repo does not have them: all, these, or all but these. */
export interface IncludeDerived {
  uris?: readonly string[] | undefined
  except?: readonly string[] | undefined
}

/**
 * The records whose rows are to come from the backup: of the roots, for these are what a write brings back later. What
 * else the account has deleted, as a comment of its own, nobody will write again, so its rows stay away.
 */
export function includedRecords(
  { did, tables }: Pick<Snapshot, 'did' | 'tables'>,
  { roots }: Pick<AppView, 'roots'>,
  { uris, except }: IncludeDerived,
): Set<string> {
  const only = uris && new Set(uris)
  const without = new Set(except)
  const included = new Set<string>()
  for (const { table, uriColumn } of roots) {
    for (const row of tableOf({ tables }, table)?.rows ?? []) {
      const uri = row[uriColumn]
      if (uri?.startsWith(`at://${did}/`) && !without.has(uri) && (only?.has(uri) ?? true)) included.add(uri)
    }
  }
  return included
}
