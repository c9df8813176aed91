import { rowId, type Snapshot } from '../backup/snapshot.ts'
import type { Catalog } from '../database/catalog.ts'
import type { Database } from '../database/client.ts'
import type { ExactRow } from '../database/exact.ts'
import { type RecordState, readRecordStates } from '../database/record-state.ts'
import type { AppView } from '../events.ts'
import type { LostRecord, RefusedRecord } from '../pds/lost-record.ts'
import type { VerifiedRepo } from '../repo/verified-repo.ts'
import { readAtRest } from './at-rest.ts'
import { classifyTable } from './classify.ts'
import { type Evidence, outcomesOf, recordUriOf, triggerKeptSet } from './evidence.ts'
import { createMask, type Mask } from './mask.ts'
import { NewerRows } from './newer-rows.ts'
import {
  type Production,
  type RowsById,
  readAccountRows,
  readSameRows,
  readStatesOf,
} from './present-rows.ts'
import type { ReconciledTable, TriggerKeptColumn } from './reconciled.ts'
import { compareRecords } from './records.ts'
import { missingRecords, type RefusedRecords, refusalsOf, withoutRecord } from './refused.ts'
import { REPORT_FORMAT, type Report, verdictOf } from './report.ts'
import { tableReport } from './row-entries.ts'
import { compareUntouched, type UntouchedFingerprint } from './untouched.ts'

export interface CompareOptions {
  snapshot: Snapshot
  appview: AppView
  production: Database
  /** Of production. */
  catalog: Catalog
  /** The account's repo as its PDS has it now. */
  repo: VerifiedRepo
  /** Every record of the snapshot: one for each root row. */
  records: readonly (LostRecord | RefusedRecord)[]
  /** What the reconcile said, if one ran in this run: without it, nothing that differs is taken for a newer value. */
  reconciled?: readonly ReconciledTable[]
  /** Columns that the reconcile saw triggers keep. */
  triggerKept?: readonly TriggerKeptColumn[]
  /** URIs of records that the write plan keeps as their author has them now. */
  kept?: ReadonlySet<string>
  /** Sequences behind restored ids that the reconcile could not move. */
  stuckSequences?: readonly string[]
  /** What the writer refused of `records` that were not refused from the start, by URI. */
  refused?: RefusedRecords
  /** Of `fingerprintUntouched`, before the first write of this run. */
  untouchedBefore?: UntouchedFingerprint
}

/**
 * Puts every row and record of the snapshot, and every row more that production has of the account, in one class.
 * Reads only.
 *
 * @throws UnavailableError, DatabaseError (code `COUNT` when production is written all the while), ConfigError
 */
export async function compareAccount(options: CompareOptions): Promise<Report> {
  const { snapshot, appview, catalog, records, repo } = options
  const production: Production = { database: options.production, catalog, appview }
  const mask = createMask(appview)
  const present = await readPresent(production, snapshot)
  const states = await readStates(production, snapshot, present)
  const refusals = refusalsOf(records, options.refused)
  const evidence: Evidence = {
    snapshot,
    appview,
    catalog,
    states,
    records: new Map(records.map((record) => [record.uri, record])),
    refusals,
    withoutRecord: withoutRecord(refusals, repo),
    missingRecords: missingRecords(records, refusals, repo),
    outcomes: options.reconciled === undefined ? undefined : outcomesOf(options.reconciled),
    triggerKept: triggerKeptSet(options.triggerKept ?? []),
  }
  const tables = tableReports(present, evidence, mask)
  const judged: Omit<Report, 'verdict'> = {
    format: REPORT_FORMAT,
    did: snapshot.did,
    generatedAt: new Date().toISOString(),
    backup: snapshot.meta.from,
    production: options.production.name,
    roots: rootUris(snapshot, appview).size,
    tables,
    records: compareRecords(records, repo, states, options.kept, refusals),
    untouched: await compareUntouched(production, snapshot, mask, options.untouchedBefore),
    unverified: (options.reconciled ?? [])
      .flatMap(({ rows }) => rows)
      .filter((row) => row.unverified === true).length,
    notes: notesOf(options, tables),
  }
  return { ...judged, verdict: verdictOf(judged) }
}

async function readPresent(production: Production, snapshot: Snapshot): Promise<Map<string, RowsById>> {
  const present = await readAccountRows(production, snapshot.did)
  for (const { table, key, rows } of snapshot.tables) {
    const found: RowsById = present.get(table) ?? new Map()
    const absent = rows.filter((row) => !found.has(rowId(row, key)))
    for (const [id, row] of await readSameRows(production, { table, key, rows: absent })) found.set(id, row)
    present.set(table, found)
  }
  return present
}

/** Of the account's own records, and of those that rows are made from which only one side has. */
async function readStates(
  { database, appview }: Production,
  { did, tables }: Snapshot,
  present: ReadonlyMap<string, RowsById>,
): Promise<Map<string, RecordState>> {
  const uris: string[] = []
  for (const { table, key, rows } of tables) {
    const now: ReadonlyMap<string, ExactRow> = present.get(table) ?? new Map()
    const before = new Set(rows.map((row) => rowId(row, key)))
    const onlyBefore = rows.filter((row) => !now.has(rowId(row, key)))
    const onlyNow = [...now].filter(([id]) => !before.has(id)).map(([, row]) => row)
    for (const row of [...onlyBefore, ...onlyNow]) {
      const uri = recordUriOf(appview, table, row)
      if (uri !== undefined) uris.push(uri)
    }
  }
  const own = await readAtRest(() => readRecordStates(database, did))
  return new Map([...(await readStatesOf(database, uris)), ...own])
}

function tableReports(
  present: ReadonlyMap<string, RowsById>,
  evidence: Evidence,
  mask: Mask,
): Report['tables'] {
  const newer = new NewerRows(evidence)
  return evidence.snapshot.tables.map((table) =>
    tableReport(table, classifyTable(table, present.get(table.table) ?? new Map(), evidence, newer), mask),
  )
}

function rootUris({ did, tables }: Snapshot, { roots }: AppView): Set<string> {
  const uris = roots.flatMap((root) =>
    (tables.find(({ table }) => table === root.table)?.rows ?? []).map((row) => row[root.uriColumn] ?? ''),
  )
  return new Set(uris.filter((uri) => uri.startsWith(`at://${did}/`)))
}

const ON_BACKUP_ALONE = ['blob-missing', 'record-refused', 'record-missing'] as const

function notesOf(
  { records, reconciled, snapshot, catalog, stuckSequences = [] }: CompareOptions,
  tables: Report['tables'],
): string[] {
  const notes: string[] = []
  const alone = tables.reduce(
    (sum, { policies }) =>
      sum + ON_BACKUP_ALONE.reduce((count, policy) => count + (policies[policy] ?? 0), 0),
    0,
  )
  if (alone > 0)
    notes.push(
      `${alone} rows rest on the backup alone: they are as they were, but their records are missing.`,
    )
  if (reconciled === undefined)
    notes.push(
      'Compared without what a reconcile decided: values that were changed since the backup count as different.',
    )
  const different = records.filter((record) => 'proof' in record && record.proof === 'different').length
  if (different > 0)
    notes.push(
      `${different} records cannot be rebuilt with the CID that was lost: the appview stored them changed.`,
    )
  if (stuckSequences.length > 0)
    notes.push(
      `Behind ids that came back, and to be moved with setval before the next insert: ${stuckSequences.join(', ')}.`,
    )
  for (const { table, columns } of snapshot.tables) {
    const known = new Set(columns.map(({ name }) => name))
    const added = catalog.table(table).columns.filter(({ name }) => !known.has(name))
    if (added.length > 0)
      notes.push(
        `Not in the snapshot, so not compared: ${added.map(({ name }) => `${table}.${name}`).join(', ')}.`,
      )
  }
  return notes
}
