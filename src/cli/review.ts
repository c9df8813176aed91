import type { Catalog } from '../database/catalog.ts'
import { ConfigError, messageOf, ReplayError } from '../errors.ts'
import type { AskedReconcile } from '../restore/consent.ts'
import { reviewedRows } from '../restore/review/reviewed-rows.ts'
import { writeReview } from '../restore/review/write-review.ts'
import type { CliContext } from './context.ts'
import { say } from './output.ts'

/** @throws ConfigError when the folder cannot be written to */
export async function writeReviewOf(
  folder: string,
  { appview }: Pick<CliContext, 'appview'>,
  {
    prepared,
    parts: { snapshot, catalog },
  }: Pick<AskedReconcile, 'prepared'> & {
    parts: Pick<AskedReconcile['parts'], 'snapshot'> & { catalog: Catalog }
  },
): Promise<void> {
  const rows = reviewedRows(prepared, { snapshot, appview, catalog })
  const { csv, sql, rowCount } = await writeReview(folder, rows).catch((cause: unknown) => {
    if (cause instanceof ReplayError) throw cause
    throw new ConfigError(`The review cannot be written to ${folder}: ${messageOf(cause)}`, {
      hint: 'Name a folder that you may write to.',
      cause,
    })
  })
  say(`${rowCount} rows to review: ${csv} and ${sql}`)
}
