import { z } from 'zod'
import type { Database } from '../database/client.ts'
import type { ExactRow } from '../database/exact.ts'
import { retrying } from '../database/retry.ts'
import { ROW_OUTCOMES } from '../events.ts'
import { halved } from './halved.ts'

const FOREIGN_KEY_VIOLATION = '23503'

const insertAnswer = z.object({
  rows: z.array(z.object({ id: z.string(), outcome: z.enum(ROW_OUTCOMES), detail: z.string().optional() })),
  observed: z.array(z.object({ table: z.string(), column: z.string() })),
})
const setAnswer = z.object({
  rows: z.array(
    z.object({
      id: z.string(),
      outcome: z.enum(['set', 'unchanged', 'kept', 'missing', 'blocked', 'failed']),
      detail: z.string().optional(),
    }),
  ),
})

/** What became of each row, and the columns of other rows that changed by themselves. */
export type Inserted = z.infer<typeof insertAnswer>
export type SetRow = z.infer<typeof setAnswer>['rows'][number]

/** @param shape what the rows have in common: see `firehose_replay_restore` */
export async function insertRows(
  database: Database,
  shape: object,
  rows: readonly { id: string; row: ExactRow }[],
): Promise<Inserted> {
  const answers = await halved(
    rows,
    async (some) =>
      insertAnswer.parse(await database.call('firehose_replay_restore', { ...shape, rows: some })),
    ({ id }, { message }) => ({ rows: [{ id, outcome: 'failed' as const, detail: message }], observed: [] }),
  )
  return {
    rows: answers.flatMap((answer) => answer.rows),
    observed: answers.flatMap((answer) => answer.observed),
  }
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
    ({ id }, { code, message }): SetRow[] => [
      { id, outcome: code === FOREIGN_KEY_VIOLATION ? 'blocked' : 'failed', detail: message },
    ],
  )
  return answers.flat()
}

/** Lets in what waits for rows of these tables. */
export async function sweep(database: Database, tables: readonly string[]): Promise<void> {
  await retrying(() => database.call('firehose_replay_sweep', { tables }))
}
