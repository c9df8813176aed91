import { z } from 'zod'
import { EXIT, type ExitCode } from '../errors.ts'
import { COMPARISON_CLASSES, PROOFS, REFUSALS, ROW_OUTCOMES, VERDICTS, type Verdict } from '../events.ts'
import { PROOF_SOURCES } from '../pds/original-cid.ts'

/** Raised with every change that an older reader would misread. */
export const REPORT_FORMAT = 1

/**
 * Why a difference does not count against a restore. Closed list:
 * - kept-newer: the row was changed since the backup, and the newer value stays;
 * - withdrawn: its author deleted the record, or someone the row, since the backup;
 * - trigger-kept: a trigger of the appview computes these columns;
 * - newer-than-backup: a row more than the backup had, and it came later;
 * - changed-by-others: a row that a restore never writes has another value now;
 * - blob-missing: the row is as it was and rests on the backup alone, for its record could not be written without a blob;
 * - record-refused: the same, where the record was refused for another reason;
 * - record-missing: the same, where the record has not been written yet, as after `reconcile --include-derived`.
 *
 * A row of the last three is explained; its record is missing all the same, and counts.
 */
export const POLICIES = [
  'kept-newer',
  'withdrawn',
  'trigger-kept',
  'newer-than-backup',
  'changed-by-others',
  'blob-missing',
  'record-refused',
  'record-missing',
] as const
export type Policy = (typeof POLICIES)[number]

const count = z.number().int().nonnegative()

const rowShape = z.strictObject({
  /** Key of the row as JSON; sensitive columns in it as keyed hashes. */
  id: z.string(),
  class: z.enum(COMPARISON_CLASSES),
  policy: z.enum(POLICIES).optional(),
  /** Values as the databases print them; long ones cut to where they differ, sensitive ones as keyed hashes. */
  columns: z
    .array(
      z.strictObject({
        name: z.string(),
        backup: z.string().nullable(),
        production: z.string().nullable(),
      }),
    )
    .optional(),
  reason: z.string().optional(),
})

const tableShape = z.strictObject({
  table: z.string(),
  /** Rows in the snapshot: the sum of equal, explained, different and missing. */
  expected: count,
  equal: count,
  explained: count,
  different: count,
  missing: count,
  /** Rows of production that the snapshot has not and that no policy explains. */
  extra: count,
  /** How many rows each policy explains; newer-than-backup are rows more, all others make up `explained`. */
  policies: z.partialRecord(z.enum(POLICIES), count),
  /** Rows that are not equal, those that count against the verdict first. */
  rows: z.array(rowShape),
  /** Rows that are not equal and were left out of `rows` for their number. */
  rowsOmitted: count,
})

const recordShape = z.strictObject({
  uri: z.string(),
  class: z.enum(['equal', 'explained', 'different', 'missing']),
  policy: z.enum(POLICIES).optional(),
  /** CID of the record as rebuilt from the snapshot; absent where it could not be. */
  cid: z.string().optional(),
  /** CID of the lost record, as known from outside the snapshot. */
  originalCid: z.string().optional(),
  /** CID in the repo now. */
  repoCid: z.string().optional(),
  /** CID that the index has of it. */
  indexedCid: z.string().optional(),
  proof: z.enum(PROOFS).optional(),
  /** Of what is proven: what told the CID of the lost record. */
  provenBy: z.enum(PROOF_SOURCES).optional(),
  /** Of what is different: why it is not the record that was lost. */
  differs: z.string().optional(),
  /** Of what is self-consistent: why it may be another record than the one that was lost. */
  doubt: z.string().optional(),
  /** Why it was not written back, where it was refused; `reason` has the words. */
  refusal: z.enum(REFUSALS).optional(),
  reason: z.string().optional(),
})

const recordsShape = z.strictObject({
  /** Records of the snapshot: the sum of equal, explained, different and missing. */
  expected: count,
  equal: count,
  /** Records that were kept as their author has them now. */
  explained: count,
  different: count,
  missing: count,
  /** Records whose CID in the repo is that of the lost one; where that is unknown, the snapshot's. */
  identicalCid: count,
  proven: count,
  selfConsistent: count,
  items: z.array(recordShape),
})

const untouchedTableShape = z.strictObject({
  table: z.string(),
  /** Rows that the snapshot's rows refer to: the sum of equal, changed and missing. */
  expected: count,
  equal: count,
  /** Explained by changed-by-others: a restore never writes these tables. */
  changed: count,
  missing: count,
  rows: z.array(rowShape),
  rowsOmitted: count,
})

const untouchedShape = z.strictObject({
  tables: z.array(untouchedTableShape),
  /** Whether the untouchable tables hold what they held when the restore began. */
  sinceStart: z.enum(['same', 'changed', 'not compared']),
  /** Tables that do not. */
  changedTables: z.array(z.string()),
})

const runShape = z.strictObject({
  /** ISO 8601. */
  startedAt: z.string(),
  phases: z.array(
    z.strictObject({ phase: z.string(), startedAt: z.string(), seconds: z.number().nonnegative() }),
  ),
  tables: z.array(
    z.strictObject({
      table: z.string(),
      /** Of the snapshot's rows, those that were there when the restore began. */
      atStart: count,
      /** What the reconcile did with the snapshot's rows; the sum is their number. */
      outcomes: z.partialRecord(z.enum(ROW_OUTCOMES), count),
    }),
  ),
})

/** The JSON that `--json` prints: a contract. Unknown fields are refused. */
export const reportSchema = z.strictObject({
  format: z.literal(REPORT_FORMAT),
  did: z.string(),
  verdict: z.enum(VERDICTS),
  /** ISO 8601. */
  generatedAt: z.string(),
  /** Host of the backup's API. */
  backup: z.string(),
  /** Host of production's API. */
  production: z.string(),
  /** Rows of the snapshot that are records of the account. */
  roots: count,
  tables: z.array(tableShape),
  records: recordsShape,
  untouched: untouchedShape,
  /** Restored rows of other accounts' records that nobody has looked for. */
  unverified: count,
  notes: z.array(z.string()),
  /** Of the restore that ran before the comparison, if one did. */
  run: runShape.optional(),
})

export type Report = z.infer<typeof reportSchema>
export type ReportTable = Report['tables'][number]
export type ReportRow = ReportTable['rows'][number]
export type ReportRecord = Report['records']['items'][number]
export type ReportRun = NonNullable<Report['run']>
export type UntouchedTable = Report['untouched']['tables'][number]

type Judged = Omit<Report, 'verdict'>

/**
 * failed: nothing was shown, because the snapshot holds no record of the account or numbers do not add up.
 * incomplete: something of the snapshot is not as it was and no policy says why. complete: neither.
 */
export function verdictOf(report: Judged): Verdict {
  if (failureOf(report) !== undefined) return 'failed'
  const { records, untouched } = report
  const isComplete =
    report.tables.every((table) => table.different + table.missing + table.extra === 0) &&
    records.different + records.missing === 0 &&
    untouched.tables.every((table) => table.missing === 0) &&
    untouched.sinceStart !== 'changed'
  return isComplete ? 'complete' : 'incomplete'
}

/** Why the comparison shows nothing, in words; undefined when it does show something. */
export function failureOf(report: Judged): string | undefined {
  if (report.roots === 0)
    return 'the snapshot holds no record of this account, so there was nothing to compare'
  const wrong = report.tables.find((table) => !tableAddsUp(table))
  if (wrong !== undefined) return `the numbers of ${wrong.table} do not add up`
  const { expected, equal, explained, different, missing, items } = report.records
  if (expected !== equal + explained + different + missing || expected !== items.length)
    return 'the numbers of the records do not add up'
  if (expected !== report.roots)
    return `the snapshot holds ${report.roots} records, but ${expected} were compared`
  const lost = report.untouched.tables.find(
    (table) => table.expected !== table.equal + table.changed + table.missing,
  )
  return lost === undefined ? undefined : `the numbers of ${lost.table} do not add up`
}

function tableAddsUp(table: ReportTable): boolean {
  const { 'newer-than-backup': newer = 0, ...others } = table.policies
  const explained = Object.values(others).reduce((sum, rows) => sum + rows, 0)
  const listed = newer + explained + table.different + table.missing + table.extra
  return (
    table.expected === table.equal + table.explained + table.different + table.missing &&
    table.explained === explained &&
    table.rows.length + table.rowsOmitted === listed
  )
}

export function exitCodeOf(verdict: Verdict): ExitCode {
  return EXIT[verdict]
}
