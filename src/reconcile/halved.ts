import { isTooMuch } from '../database/failure.ts'
import { retrying } from '../database/retry.ts'
import { DatabaseError } from '../errors.ts'

/** One more time may meet a quieter database; after that, fewer rows are what helps. */
const MAX_ATTEMPTS_TOO_MUCH = 2

/**
 * Hands rows to the database in one call; those that it refuses together, or cannot finish in time, are halved until
 * the row that it refuses stands alone and costs only itself. Deadlocks and serialisation failures are tried again.
 * The answers of all calls, in the order of the rows.
 *
 * @param refused the answer for a single row that the database refused for good
 * @throws UnavailableError when the database stays away; ConfigError when it does not know our functions or our key
 */
export async function halved<Row, Answer>(
  rows: readonly Row[],
  call: (rows: readonly Row[]) => Promise<Answer>,
  refused: (row: Row, error: DatabaseError) => Answer,
): Promise<Answer[]> {
  try {
    const giveUpOn = (error: unknown, attempt: number) =>
      rows.length > 1 && attempt >= MAX_ATTEMPTS_TOO_MUCH && isTooMuch(error)
    return [await retrying(() => call(rows), { giveUpOn })]
  } catch (error) {
    if (!(error instanceof DatabaseError) && !isTooMuch(error)) throw error
    const [only] = rows
    if (only === undefined) throw error
    if (rows.length === 1) {
      if (!(error instanceof DatabaseError)) throw error
      return [refused(only, error)]
    }
    const middle = rows.length >> 1
    return [
      ...(await halved(rows.slice(0, middle), call, refused)),
      ...(await halved(rows.slice(middle), call, refused)),
    ]
  }
}
