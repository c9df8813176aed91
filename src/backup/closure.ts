import type { Catalog, ForeignKey } from '../database/catalog.ts'
import type { AppView } from '../events.ts'
import { type Edge, edgesOf } from './edges.ts'

/** A table that deleting root rows takes rows from or touches, and the references by which it does. */
export interface ClosureTable {
  table: string
  /** Empty for a root that nothing else reaches. */
  edges: readonly Edge[]
  /** Steps to the nearest root; 0 for a root. */
  depth: number
  /** `emptied`: no row goes, some lose a value. A table of which rows go may have such rows too: see its edges. */
  action: 'root' | 'deleted' | 'emptied'
}

/** What a delete of root rows does in this schema, and where it ends. */
export interface BlastRadius {
  /** Parents before children. */
  tables: readonly ClosureTable[]
  /** Foreign keys (`no action`, `restrict`) whose rows refuse the delete of rows above, unless they go with it. */
  blocking: readonly Edge[]
  /** Virtual references whose rows stay and then name nothing. */
  hanging: readonly Edge[]
  /** References from tables that the description says are not to be touched: known, not followed. */
  untouchable: readonly Edge[]
  /** Foreign keys by which the delete leaves schema public, or comes back into it: known, not followed. */
  outside: readonly ForeignKey[]
  /** Foreign keys by which rows above need rows of a schema that is not exposed. */
  outsideParents: readonly ForeignKey[]
}

type Schema = Pick<Catalog, 'foreignKeys' | 'table'> & Partial<Pick<Catalog, 'outsideKeys'>>
type Described = Pick<AppView, 'roots' | 'untouchableTables' | 'virtualReferences'>

/** The deleting ends with these, but their rows lose a value. */
const EMPTYING: readonly Edge['onDelete'][] = ['set null', 'set default']

/**
 * What a delete of root rows takes (`cascade`, followed further) or empties (`set null`, `set default`, not followed
 * further), parents before children. Untouchable tables are left out with all that is only reached through them.
 *
 * Keys that would refuse the delete (`no action`, `restrict`) lead nowhere: where one does, nothing was deleted.
 *
 * @throws ConfigError when the catalog lacks a root's table, or a virtual reference does not fit it
 */
export function closureOf(catalog: Schema, appview: Described): ClosureTable[] {
  return [...blastRadiusOf(catalog, appview).tables]
}

/** `closureOf`, and the references at which it ends. @throws as it does */
export function blastRadiusOf(catalog: Schema, appview: Described): BlastRadius {
  const edges = edgesOf(catalog, appview)
  const isTouched = (edge: Edge) => !appview.untouchableTables.includes(edge.child)
  const depthOf = new Map(appview.roots.map(({ table }) => [catalog.table(table).name, 0]))
  const reachedBy = new Map<string, Edge[]>()
  // A Map gives what is added while it is walked: this is the breadth-first queue, and each table is in it once.
  for (const [parent, depth] of depthOf) {
    for (const edge of edges.filter((candidate) => candidate.parent === parent && isTouched(candidate))) {
      const cascades = edge.onDelete === 'cascade'
      if (!cascades && !EMPTYING.includes(edge.onDelete)) continue
      reachedBy.set(edge.child, [...(reachedBy.get(edge.child) ?? []), edge])
      if (cascades && !depthOf.has(edge.child)) depthOf.set(edge.child, depth + 1)
    }
  }
  const emptiedAt = (table: string) =>
    1 + Math.min(...(reachedBy.get(table) ?? []).map(({ parent }) => depthOf.get(parent) ?? 0))
  const isRoot = (table: string) => appview.roots.some((root) => root.table === table)
  const names = [...new Set([...appview.roots.map(({ table }) => table), ...reachedBy.keys()])]
  const fromDeleted = edges.filter(({ parent }) => depthOf.has(parent))
  const outsideKeys = catalog.outsideKeys ?? []
  return {
    tables: parentsFirst(names, catalog.foreignKeys).map((table) => ({
      table,
      edges: reachedBy.get(table) ?? [],
      depth: depthOf.get(table) ?? emptiedAt(table),
      action: isRoot(table) ? 'root' : depthOf.has(table) ? 'deleted' : 'emptied',
    })),
    blocking: fromDeleted.filter((edge) => edge.kind === 'foreign-key' && refuses(edge)),
    hanging: fromDeleted.filter((edge) => edge.kind === 'virtual' && refuses(edge)),
    untouchable: fromDeleted.filter((edge) => !isTouched(edge) && !refuses(edge)),
    outside: outsideReached(outsideKeys, [...depthOf.keys()]),
    outsideParents: outsideKeys.filter(
      ({ childSchema, child, parentSchema }) =>
        childSchema === 'public' && parentSchema !== 'public' && names.includes(child),
    ),
  }
}

/**
 * Orders tables so that each comes after the ones it refers to; otherwise they stay as given. A cycle is cut where it
 * can be closed later: at a reference that is emptied on delete, so may be empty at first, or is checked at the end.
 * Where a cycle has no such reference no order is right: the table that is met first comes last of it.
 */
export function parentsFirst(
  tables: readonly string[],
  edges: readonly (Pick<Edge, 'child' | 'parent'> & Partial<Pick<Edge, 'onDelete' | 'initiallyDeferred'>>)[],
): string[] {
  const wanted = new Set(tables)
  const binding = edges.filter((edge) => !(canWait(edge) && isReached(edges, edge.parent, edge.child)))
  const met = new Set<string>()
  const ordered: string[] = []
  const visit = (table: string): void => {
    if (met.has(table) || !wanted.has(table)) return
    met.add(table)
    for (const key of binding) if (key.child === table) visit(key.parent)
    ordered.push(table)
  }
  for (const table of tables) visit(table)
  return ordered
}

function canWait({
  onDelete,
  initiallyDeferred,
}: Partial<Pick<Edge, 'onDelete' | 'initiallyDeferred'>>): boolean {
  return initiallyDeferred === true || (onDelete !== undefined && EMPTYING.includes(onDelete))
}

/** Whether going up from a table leads to another. */
function isReached(edges: readonly Pick<Edge, 'child' | 'parent'>[], from: string, to: string): boolean {
  const above = new Set([from])
  for (const table of above) for (const edge of edges) if (edge.child === table) above.add(edge.parent)
  return above.has(to)
}

function refuses({ onDelete }: Edge): boolean {
  return onDelete === 'no action' || onDelete === 'restrict'
}

/** From the tables given, over tables of other schemas, to where a delete would come back into public. */
function outsideReached(keys: readonly ForeignKey[], deleted: readonly string[]): ForeignKey[] {
  const reached = new Set(deleted.map((table) => `public.${table}`))
  const found = new Set<ForeignKey>()
  for (const parent of reached) {
    for (const key of keys) {
      if (`${key.parentSchema}.${key.parent}` !== parent) continue
      found.add(key)
      if (key.onDelete === 'cascade' && key.childSchema !== 'public')
        reached.add(`${key.childSchema}.${key.child}`)
    }
  }
  return [...found]
}
