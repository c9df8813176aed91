import type { SnapshotTable } from '../backup/snapshot.ts'
import type { ReconcileInput } from './input.ts'

/**
 * The snapshot's tables, parents before children. Of those whose parents are there, first the ones that keep side
 * effects from firing twice, and last the ones with triggers: what these fill is there by then, as it was.
 */
export function inOrder({
  snapshot,
  appview,
  catalog,
}: Pick<ReconcileInput, 'snapshot' | 'appview' | 'catalog'>): SnapshotTable[] {
  const placeOf = ({ table }: SnapshotTable): number =>
    appview.guardTables.includes(table) ? 0 : catalog.table(table).triggers.length === 0 ? 1 : 2
  const waiting = new Set(snapshot.tables)
  const isReady = ({ table }: SnapshotTable): boolean => {
    const names = new Set([...waiting].map((other) => other.table))
    return catalog.foreignKeys.every(
      (key) => key.child !== table || key.parent === table || !names.has(key.parent),
    )
  }
  const ordered: SnapshotTable[] = []
  while (waiting.size > 0) {
    const ready = [...waiting].filter(isReady).sort((a, b) => placeOf(a) - placeOf(b))
    // In a cycle none is: the snapshot's own order decides.
    const next = ready[0] ?? [...waiting][0]
    if (next === undefined) break
    ordered.push(next)
    waiting.delete(next)
  }
  return ordered
}
