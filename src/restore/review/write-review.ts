import { once } from 'node:events'
import { createWriteStream, type WriteStream } from 'node:fs'
import { access, constants, mkdir, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { finished } from 'node:stream/promises'
import { ConfigError, messageOf } from '../../errors.ts'
import { CSV_HEADER, csvLines } from './csv.ts'
import type { ReviewedRow } from './reviewed-row.ts'
import { statementOf } from './statement.ts'

export interface ReviewFiles {
  /** Every column that would get a value, for a spreadsheet. */
  csv: string
  /** Every row as a statement, for who reads SQL. */
  sql: string
  rowCount: number
}

const SQL_HEAD = `-- What a reconcile would insert and set, for a second pair of eyes. It does not run this file: it decides again for
-- each row in the transaction that writes it. Capabilities and personal values are shown as hashes (hmac:...).

`

/**
 * Makes sure that a review can be written, before anything is done that it is to be a review of.
 *
 * @param folder is made where it is missing
 * @throws ConfigError when it cannot be written to
 */
export async function openReviewFolder(folder: string): Promise<void> {
  try {
    await mkdir(folder, { recursive: true, mode: 0o700 })
    await access(folder, constants.W_OK)
  } catch (cause) {
    throw new ConfigError(`The review cannot be written to ${folder}: ${messageOf(cause)}`, {
      hint: 'Name a folder that you may write to.',
      cause,
    })
  }
}

/**
 * Writes the rows that a reconcile plan would insert or change, as CSV and as SQL, readable by their owner only.
 *
 * @param folder is made where it is missing; files of an earlier review are replaced
 * @throws ConfigError when it cannot be written to
 */
export async function writeReview(folder: string, rows: Iterable<ReviewedRow>): Promise<ReviewFiles> {
  await openReviewFolder(folder)
  const files = { csv: join(folder, 'reconcile.csv'), sql: join(folder, 'reconcile.sql') }
  // One that others may read would stay so.
  for (const file of [files.csv, files.sql]) await rm(file, { force: true })
  const csv = createWriteStream(files.csv, { mode: 0o600 })
  const sql = createWriteStream(files.sql, { mode: 0o600 })
  const written = Promise.all([finished(csv), finished(sql)])
  try {
    await put(csv, `${CSV_HEADER}\n`)
    await put(sql, SQL_HEAD)
    let rowCount = 0
    for (const row of rows) {
      await put(csv, `${csvLines(row).join('\n')}\n`)
      await put(sql, `${statementOf(row)}\n`)
      rowCount++
    }
    csv.end()
    sql.end()
    await written
    return { ...files, rowCount }
  } catch (error) {
    // The error that is thrown says why; the other file's end only follows from it.
    written.catch(() => undefined)
    csv.destroy()
    sql.destroy()
    throw error
  }
}

async function put(stream: WriteStream, text: string): Promise<void> {
  if (!stream.write(text)) await once(stream, 'drain')
}
