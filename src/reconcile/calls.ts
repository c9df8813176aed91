import { z } from 'zod'
import { rowId } from '../backup/snapshot.ts'
import type { Database } from '../database/client.ts'
import type { ExactRow } from '../database/exact.ts'
import { isTooMuch } from '../database/failure.ts'
import { retrying } from '../database/retry.ts'
import { type DatabaseError, VerificationError } from '../errors.ts'
import { ROW_OUTCOMES, type RowOutcome } from '../events.ts'
import { halved } from './halved.ts'
import { listed, rowOf, type SentRow } from './sent-rows.ts'

const FOREIGN_KEY_VIOLATION = '23503'
/** Of a unique key, and of an exclusion constraint. */
const KEY_TAKEN = ['23505', '23P01']

const text = z.string().nullable()
const decided = z.object({
  id: z.string(),
  outcome: z.enum(ROW_OUTCOMES),
  detail: z.string().optional(),
  /** The key of the row that holds a unique key, in the order of the table's key. */
  holder: z.array(text).optional(),
})
const column = z.object({ table: z.string(), column: z.string() })
const insertAnswer = z.object({
  restored: z.number(),
  /** Those that were not restored. */
  rows: z.array(decided),
  observed: z.array(column),
  altered: z.array(z.object({ id: z.string(), row: z.record(z.string(), text) })),
  made: z.array(z.object({ table: z.string(), row: z.record(z.string(), text) })),
  stuck: z.array(z.string()),
})
const foreseeAnswer = z.object({ rows: z.array(decided) })
const rowsAnswer = z.object({ rows: z.array(z.object({ id: z.string(), row: z.array(text) })) })
const observeAnswer = z.object({ observed: z.array(column), tried: z.number() })
const setAnswer = z.object({
  rows: z.array(
    z.object({
      id: z.string(),
      outcome: z.enum([
        'set',
        'unchanged',
        'kept',
        'missing',
        'blocked',
        'conflict',
        'failed',
        'trigger-kept',
      ]),
      columns: z.array(z.string()).optional(),
      detail: z.string().optional(),
    }),
  ),
})

/** What became of each row, and what happened by itself. See `firehose_replay_restore`. */
export type Inserted = Omit<z.infer<typeof insertAnswer>, 'restored'>
export type SetRow = z.infer<typeof setAnswer>['rows'][number]
export type Foreseen = z.infer<typeof decided>
export type Observed = z.infer<typeof observeAnswer>

function named<T extends { id: string }>(answers: readonly T[], rows: readonly { id: string }[]): T[] {
  return answers.map((answer) => ({ ...answer, id: rowOf(answer, rows).id }))
}

/** @param shape what the rows have in common: see `firehose_replay_restore` */
export async function insertRows(
  database: Database,
  shape: { columns: readonly string[] },
  rows: readonly SentRow[],
): Promise<Inserted> {
  const answers = await halved(
    rows,
    async (some) => {
      const batch = { ...shape, ...listed(some, shape.columns) }
      const answer = insertAnswer.parse(await database.call('firehose_replay_restore', batch))
      const altered = named(answer.altered, some)
      return { ...answer, rows: withRestored(answer, some), altered }
    },
    ({ id }, error): Inserted => ({
      rows: [{ id, outcome: outcomeOfRefusal(error), detail: error.message }],
      observed: [],
      altered: [],
      made: [],
      stuck: [],
    }),
  )
  const [only] = answers
  if (only !== undefined && answers.length === 1) return only
  return {
    rows: answers.flatMap((answer) => answer.rows),
    observed: answers.flatMap((answer) => answer.observed),
    altered: answers.flatMap((answer) => answer.altered),
    made: answers.flatMap((answer) => answer.made),
    stuck: answers.flatMap((answer) => answer.stuck),
  }
}

/** An outcome for every row: the database names those that were not restored, and counts the others. */
function withRestored(
  { restored, rows }: Pick<z.infer<typeof insertAnswer>, 'restored' | 'rows'>,
  sent: readonly SentRow[],
): Inserted['rows'] {
  const others = new Map(named(rows, sent).map((row) => [row.id, row]))
  if (restored + others.size !== sent.length)
    throw new TypeError(`of ${sent.length} rows ${restored} were restored and ${others.size} were not`)
  return sent.map(({ id }) => others.get(id) ?? { id, outcome: 'restored' })
}

/**
 * A row that the set value names may have gone since the plan: that blocks it, like one that is inserted.
 *
 * @param shape what the rows have in common: see `firehose_replay_set_columns`
 */
export async function setRows(
  database: Database,
  shape: object,
  rows: readonly { id: string }[],
): Promise<SetRow[]> {
  const answers = await halved(
    rows,
    async (some) =>
      setAnswer.parse(await database.call('firehose_replay_set_columns', { ...shape, rows: some })).rows,
    ({ id }, error): SetRow[] => [{ id, outcome: outcomeOfRefusal(error), detail: error.message }],
  )
  return answers.flat()
}

/** The rows of these that would not be inserted now. Nothing is written. See `firehose_replay_foresee`. */
export async function foresee(
  database: Database,
  shape: { columns: readonly string[] },
  rows: readonly SentRow[],
): Promise<Foreseen[]> {
  const answers = await halved(
    rows,
    async (some) => {
      const batch = { ...shape, ...listed(some, shape.columns) }
      return named(foreseeAnswer.parse(await database.call('firehose_replay_foresee', batch)).rows, some)
    },
    ({ id }, error): Foreseen[] => [{ id, outcome: 'failed', detail: error.message }],
  )
  return answers.flat()
}

/** Of these rows, those that are there by their key, with every column as text. See `firehose_replay_rows`. */
export async function readRows<Asked extends { row: ExactRow }>(
  database: Database,
  { table, key, columns }: { table: string; key: readonly string[]; columns: readonly string[] },
  rows: readonly Asked[],
): Promise<{ asked: Asked; row: ExactRow }[]> {
  const answers = await halved(
    rows,
    async (some) => {
      const batch = { table, key, columns, ...listed(some, key) }
      const answer = rowsAnswer.parse(await database.call('firehose_replay_rows', batch))
      return answer.rows.map((found) => ({
        asked: rowOf(found, some),
        row: Object.fromEntries(columns.map((name, index) => [name, found.row[index] ?? null])),
      }))
    },
    ({ row }, error) => {
      throw new VerificationError(
        `Row ${rowId(row, key)} of "${table}" cannot be looked up: ${error.message}`,
        {
          table,
          hint: 'Its key is not one that production takes: check that the snapshot is of this database.',
          cause: error,
        },
      )
    },
  )
  return answers.flat()
}

/** What triggers keep in the rows that these hang on, by doing and taking back. See `firehose_replay_observe`. */
export async function observe(
  database: Database,
  shape: object,
  rows: readonly SentRow[],
): Promise<Observed> {
  return retrying(
    async () => observeAnswer.parse(await database.call('firehose_replay_observe', { ...shape, rows })),
    { giveUpOn: isTooMuch },
  )
}

/** Records in one call; about 150 bytes each. */
const RECORDS_PER_CALL = 4000

/**
 * Has the index know records as deleted at a revision of the repo that does not have them: an event from before it,
 * the incident's own delete on its way among them, takes no row any more. A tombstone keeps the CID that it has.
 */
export async function setAbsent(database: Database, uris: readonly string[], rev: string): Promise<void> {
  for (let start = 0; start < uris.length; start += RECORDS_PER_CALL) {
    const some = uris.slice(start, start + RECORDS_PER_CALL)
    const records = some.map((uri) => ({ uri, rev, cid: null, deleted: true }))
    await retrying(() => database.call('firehose_replay_apply', { records, derives: [], steps: [] }))
  }
}

/** Lets in what waits for rows of these tables. */
export async function sweep(database: Database, tables: readonly string[]): Promise<void> {
  await retrying(() => database.call('firehose_replay_sweep', { tables }))
}

function outcomeOfRefusal({ code }: DatabaseError): Extract<RowOutcome, 'blocked' | 'conflict' | 'failed'> {
  if (code === FOREIGN_KEY_VIOLATION) return 'blocked'
  return KEY_TAKEN.includes(code) ? 'conflict' : 'failed'
}
