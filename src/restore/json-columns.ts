import type { SnapshotTable } from '../backup/snapshot.ts'

/** Names of the columns whose text is JSON. */
export function jsonColumns({ columns }: Pick<SnapshotTable, 'columns'>): Set<string> {
  return new Set(columns.filter(({ type }) => type === 'json' || type === 'jsonb').map(({ name }) => name))
}
