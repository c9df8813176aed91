import type { SnapshotTable } from '../backup/snapshot.ts'
import type { ExactRow } from '../database/exact.ts'
import { canonicalInstant } from '../database/meaning.ts'
import type { ClassifiedRow } from './classified-row.ts'
import { bornAt } from './column-defaults.ts'
import { type Evidence, recordUriOf } from './evidence.ts'

type Finding = Pick<ClassifiedRow, 'class' | 'policy' | 'reason'>

const EXPLAINED: Finding = { class: 'explained', policy: 'newer-than-backup' }

/**
 * Tells rows that came after the backup from rows that nothing accounts for. Tables are asked about parents first,
 * because a row that shows no age of its own is as new as the row it hangs on.
 */
export class NewerRows {
  readonly #evidence: Evidence
  /** By table, rows of production that came or changed after the backup. */
  readonly #rows = new Map<string, ExactRow[]>()
  /** By table, the youngest row of the snapshot, in seconds since 1970. */
  readonly #youngest = new Map<string, number>()
  /** Per foreign key, the values under which rows hang on newer ones. */
  readonly #parentKeys = new Map<string, Set<string>>()

  constructor(evidence: Evidence) {
    this.#evidence = evidence
    for (const { table, rows } of evidence.snapshot.tables) {
      const columns = evidence.catalog.birthColumns(table)
      for (const row of rows) {
        const seconds = bornAt(row, columns)
        if (seconds !== undefined && seconds > (this.#youngest.get(table) ?? Number.NEGATIVE_INFINITY))
          this.#youngest.set(table, seconds)
      }
    }
  }

  /** The class of a row that the snapshot has not. */
  explain({ table }: SnapshotTable, row: ExactRow): Finding {
    const { appview, states, records, catalog } = this.#evidence
    const uri = recordUriOf(appview, table, row)
    const state = uri === undefined ? undefined : states.get(uri)
    if (uri !== undefined && state !== undefined) {
      if (state.deleted) return { class: 'extra', reason: 'its record was deleted' }
      const record = records.get(uri)
      // The same record had made its rows when the backup was taken: one more is not newer, it is wrong.
      if (record === undefined || 'refusal' in record || record.cid !== state.cid) return EXPLAINED
      return { class: 'extra', reason: 'its record is as old as the backup, which has no such row' }
    }
    const columns = catalog.birthColumns(table)
    if (uri === undefined && columns.length === 0) {
      if (this.#hangsOnNewer(table, row)) return EXPLAINED
      return { class: 'extra', reason: 'nothing says when it came' }
    }
    const seconds = bornAt(row, columns)
    if (seconds !== undefined && seconds > this.#backupAgeOf(table)) return EXPLAINED
    return { class: 'extra', reason: 'it is as old as the backup, which does not have it' }
  }

  /** Remembers the newer rows of a table that has been classified. */
  add(table: string, classified: readonly ClassifiedRow[]): void {
    const rows = classified
      .filter(({ policy }) => policy === 'newer-than-backup' || policy === 'kept-newer')
      .flatMap(({ production }) => (production === undefined ? [] : [production]))
    this.#rows.set(table, rows)
  }

  /** Later than this is newer than the backup; where the snapshot has no row of the table, its other tables tell. */
  #backupAgeOf(table: string): number {
    const extractedAt = Number(canonicalInstant(this.#evidence.snapshot.meta.extractedAt))
    const youngest = this.#youngest.get(table) ?? Math.max(...this.#youngest.values())
    return Number.isFinite(youngest) ? Math.min(youngest, extractedAt) : extractedAt
  }

  #hangsOnNewer(table: string, row: ExactRow): boolean {
    return this.#evidence.catalog.foreignKeys
      .filter((key) => key.child === table && key.parent !== table)
      .some((key) => {
        const name = `${key.child} ${key.name}`
        const known =
          this.#parentKeys.get(name) ??
          new Set((this.#rows.get(key.parent) ?? []).map((parent) => valuesOf(parent, key.parentColumns)))
        this.#parentKeys.set(name, known)
        return known.has(valuesOf(row, key.columns))
      })
  }
}

function valuesOf(row: ExactRow, columns: readonly string[]): string {
  return JSON.stringify(columns.map((column) => row[column] ?? null))
}
