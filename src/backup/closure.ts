import type { Catalog, ForeignKey } from '../database/catalog.ts'
import type { AppView } from '../events.ts'

/** A table that deleting root rows takes rows from or touches, and the foreign keys by which it does. */
export interface ClosureTable {
  table: string
  /** Empty for a root that nothing else reaches. */
  edges: readonly ForeignKey[]
}

/** The deleting ends with these, but their rows lose a value. */
const EMPTYING: readonly ForeignKey['onDelete'][] = ['set null', 'set default']

/**
 * What a delete of root rows takes (`cascade`, followed further) or empties (`set null`, `set default`, not followed
 * further), parents before children. Untouchable tables are left out with all that is only reached through them.
 *
 * Keys that would refuse the delete (`no action`, `restrict`) lead nowhere: where one does, nothing was deleted.
 *
 * @throws ConfigError when the catalog lacks a root's table
 */
export function closureOf(
  catalog: Pick<Catalog, 'foreignKeys' | 'table'>,
  appview: Pick<AppView, 'roots' | 'untouchableTables'>,
): ClosureTable[] {
  const edgesOf = new Map<string, ForeignKey[]>()
  for (const { table } of appview.roots) edgesOf.set(catalog.table(table).name, [])
  // A Set gives what is added while it is walked: this is the breadth-first queue, and each table is in it once.
  const deletedFrom = new Set(edgesOf.keys())
  for (const parent of deletedFrom) {
    for (const key of catalog.foreignKeys) {
      const cascades = key.onDelete === 'cascade'
      if (key.parent !== parent || !(cascades || EMPTYING.includes(key.onDelete))) continue
      if (appview.untouchableTables.includes(key.child)) continue
      edgesOf.set(key.child, [...(edgesOf.get(key.child) ?? []), key])
      if (cascades) deletedFrom.add(key.child)
    }
  }
  return parentsFirst([...edgesOf.keys()], catalog.foreignKeys).map((table) => ({
    table,
    edges: edgesOf.get(table) ?? [],
  }))
}

/**
 * Orders tables so that each comes after the ones it refers to; otherwise they stay as given. In a cycle no order is
 * right: the table that is met first comes last of it.
 */
export function parentsFirst(tables: readonly string[], foreignKeys: readonly ForeignKey[]): string[] {
  const wanted = new Set(tables)
  const met = new Set<string>()
  const ordered: string[] = []
  const visit = (table: string): void => {
    if (met.has(table) || !wanted.has(table)) return
    met.add(table)
    for (const key of foreignKeys) if (key.child === table) visit(key.parent)
    ordered.push(table)
  }
  for (const table of tables) visit(table)
  return ordered
}
