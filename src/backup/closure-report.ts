import type { Catalog, ForeignKey } from '../database/catalog.ts'
import type { AppView } from '../events.ts'
import type { BlastRadius } from './closure.ts'
import type { ClosureCounts, EdgeCount, TableCount } from './count-closure.ts'
import { derivationOf } from './derivation.ts'
import type { Edge } from './edges.ts'
import { isNewTable } from './new-tables.ts'

/** What a delete of an account's records takes, as `closure --json` prints it. */
export interface ClosureReport {
  /** Name of the appview's description. */
  appview: string
  /** The account whose rows were counted, and the backup's name; absent when none was asked for. */
  did?: string
  backup?: string
  /** Parents before children. */
  tables: readonly ClosureReportTable[]
  /** Foreign keys that refuse the delete while rows that stay refer to rows that go. */
  blocking: readonly ClosureReportEdge[]
  /** Virtual references whose rows stay and then name nothing. */
  hanging: readonly ClosureReportEdge[]
  /** Not followed: references from tables that a restore does not touch. */
  untouchable: readonly ClosureReportEdge[]
  /** Not followed: foreign keys from or over schemas that the API does not expose. */
  outside: readonly ForeignKey[]
  /** Rows above need rows of these schemas, which cannot be read. */
  outsideParents: readonly ForeignKey[]
  /** What could not be counted, and why, in words. */
  uncounted: readonly string[]
}

export interface ClosureReportTable {
  table: string
  /** Steps to the nearest root; 0 for a root. */
  depth: number
  action: 'root' | 'deleted' | 'emptied'
  via: readonly Edge[]
  /** `yes`: a replay gives every row back. `partly`: those of the account's own records. `no`: only the backup has them. */
  derivable: 'yes' | 'partly' | 'no'
  /** Why, in words. */
  why: string
  /** Whose handlers write it. */
  collections: readonly string[]
  /** Columns that no handler and no generation rule gives back; all of a table that is not derivable. */
  onlyInBackup: readonly string[]
  /** Triggers elsewhere that write it, as `trigger on table`. */
  writtenBy: readonly string[]
  /** Named nowhere in the description of the appview. */
  isNew: boolean
  /** Rows of the account; absent when none was asked for, null when the table could not be counted. */
  rows?: TableCount | null
}

export interface ClosureReportEdge extends Edge {
  /** Rows that refer by it to rows of the account that go. */
  referringCount?: number
  /** Of these, the ones that do not go themselves. */
  stayingCount?: number
}

/** Rows of one account, as the backup has them. */
export interface Counted {
  did: string
  backup: string
  counts: ClosureCounts
}

type ReportedCatalog = Pick<Catalog, 'table' | 'tables' | 'triggersOf'>

/** @param counted absent: the schema alone is described */
export function closureReport(
  catalog: ReportedCatalog,
  appview: AppView,
  radius: BlastRadius,
  counted?: Counted,
): ClosureReport {
  const withCounts = (edges: readonly Edge[], counts: readonly EdgeCount[] = []): ClosureReportEdge[] =>
    edges.map((one) => {
      const { edge, ...rows } = counts.find((count) => count.edge === one) ?? { edge: one }
      return { ...edge, ...rows }
    })
  return {
    appview: appview.name,
    ...(counted && { did: counted.did, backup: counted.backup }),
    tables: radius.tables.map(({ table, depth, action, edges }) => ({
      table,
      depth,
      action,
      via: edges,
      ...sourceOf(catalog, appview, table),
      isNew: isNewTable(appview, table),
      ...(counted && { rows: counted.counts.tables.get(table) ?? null }),
    })),
    blocking: withCounts(radius.blocking, counted?.counts.blocking),
    hanging: withCounts(radius.hanging, counted?.counts.hanging),
    untouchable: radius.untouchable,
    outside: radius.outside,
    outsideParents: radius.outsideParents,
    uncounted: counted?.counts.uncounted ?? [],
  }
}

type Source = Pick<ClosureReportTable, 'derivable' | 'why' | 'collections' | 'onlyInBackup' | 'writtenBy'>

function sourceOf(catalog: ReportedCatalog, appview: AppView, table: string): Source {
  const derivation = derivationOf(appview, table)
  const writtenBy = writersOf(catalog, table)
  const onlyInBackup = catalog
    .table(table)
    .columns.filter(({ name, generated }) => !generated && !derivation?.columns.includes(name))
    .map(({ name }) => name)
  if (derivation === undefined) {
    const why =
      writtenBy.length === 0
        ? 'no handler writes it: the app itself made these rows'
        : `no handler writes it; triggers do: ${writtenBy.join(', ')}`
    return { derivable: 'no', why, collections: [], onlyInBackup, writtenBy }
  }
  const { collections, whose } = derivation
  const made = `made from ${collections.join(', ')}`
  return whose === 'own'
    ? { derivable: 'yes', why: `${made} of the account itself`, collections, onlyInBackup, writtenBy }
    : { derivable: 'partly', why: `${made} of any account`, collections, onlyInBackup, writtenBy }
}

function writersOf(catalog: ReportedCatalog, table: string): string[] {
  return catalog.tables.flatMap(({ name }) =>
    catalog
      .triggersOf(name)
      .filter((trigger) => trigger.fires && name !== table && trigger.writes.includes(table))
      .map((trigger) => `${trigger.name} on ${name}`),
  )
}
