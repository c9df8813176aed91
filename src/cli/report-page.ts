import { writeFile } from 'node:fs/promises'
import { Option } from 'commander'
import { ConfigError, messageOf } from '../errors.ts'
import { renderHtml } from '../report/html/page.ts'
import type { Report } from '../report/report.ts'
import { say } from './output.ts'

export function htmlOption(): Option {
  return new Option('--html <file>', 'write the report as one page for a browser, too')
}

/**
 * Writes the page, readable by its owner only: it names other accounts.
 *
 * @throws ConfigError when the file cannot be written
 */
export async function writeReportPage(file: string, report: Report): Promise<void> {
  try {
    await writeFile(file, renderHtml(report), { mode: 0o600 })
  } catch (cause) {
    throw new ConfigError(`The page ${file} cannot be written: ${messageOf(cause)}`, {
      hint: 'Name a file in a folder that exists and that you may write to.',
      cause,
    })
  }
  say(`the report as a page: ${file}`)
}
