/**
 * An account loses everything and gets it back, on real parts, on this machine only.
 *
 *   npm run demo                 in words
 *   npm run demo -- --json       one JSON object on stdout
 */

import { parseArgs } from 'node:util'
import { startProgress } from '../src/cli/output.ts'
import { EXIT, messageOf } from '../src/errors.ts'
import { exitCodeOf } from '../src/report/report.ts'
import { renderReport } from '../src/report/terminal.ts'
import { runDemo } from './demo/run-demo.ts'

const USAGE = 'Usage: npm run demo -- [--json] [--documents N] [--readers N] [--schema february|august]'
const options = parseOptions()

const bars = new Map<string, ReturnType<typeof startProgress>>()
let current = ''

try {
  const { result, report } = await runDemo({
    documents: options.documents,
    readers: options.readers,
    schema: options.schema,
    say: options.json ? () => undefined : (line) => console.log(line),
    onProgress(label, done, total) {
      if (label !== current) bars.get(current)?.stop()
      current = label
      if (!bars.has(label)) bars.set(label, startProgress(label, options.json))
      bars.get(label)?.update(done, total)
      if (done === total) bars.get(label)?.stop()
    },
  })
  if (options.json) {
    console.log(JSON.stringify(result, null, 2))
  } else {
    console.log(
      `\n${renderReport(report, { color: process.stdout.isTTY && process.stdout.hasColors(), width: process.stdout.columns ?? 80 })}`,
    )
    console.log(
      `\nRecords with the CID they had: ${result.records.identicalCid} of ${result.records.expected}. Documents mailed twice: ${result.mailedTwice}.`,
    )
    console.log(
      `Took ${Math.round(Object.values(result.durationMs).reduce((sum, ms) => sum + ms, 0) / 100) / 10} seconds.`,
    )
  }
  const isQuiet = result.mailedTwice === 0 && result.records.identicalCid === result.records.expected
  process.exit(isQuiet ? exitCodeOf(result.verdict) : EXIT.incomplete)
} catch (error) {
  console.error(error)
  process.exit(EXIT.failed)
}

function parseOptions() {
  try {
    const { values } = parseArgs({
      options: {
        json: { type: 'boolean', default: false },
        documents: { type: 'string', default: '150' },
        readers: { type: 'string', default: '40' },
        schema: { type: 'string', default: 'august' },
      },
    })
    const [documents, readers] = [Number(values.documents), Number(values.readers)]
    const { schema } = values
    if (!Number.isInteger(documents) || documents < 10) throw new RangeError('--documents must be 10 or more')
    if (!Number.isInteger(readers) || readers < 3) throw new RangeError('--readers must be 3 or more')
    if (schema !== 'february' && schema !== 'august')
      throw new RangeError('--schema must be february or august')
    return { json: values.json, documents, readers, schema } as const
  } catch (error) {
    console.error(`error: ${messageOf(error)}\nhint: ${USAGE}`)
    process.exit(EXIT.usage)
  }
}
