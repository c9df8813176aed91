/** `npm run bench -- NAME [--json]`: runs one benchmark, prints what it found, and keeps it beside the benchmarks. */

import { readFile, writeFile } from 'node:fs/promises'
import { parseArgs } from 'node:util'
import { ConfigError, EXIT, messageOf, ReplayError } from '../src/errors.ts'
import { live } from './bench/live/index.ts'
import { reconcile } from './bench/reconcile/index.ts'
import { replay } from './bench/replay/index.ts'
import { type Benchmark, meetsGoal, tableOf } from './bench/result.ts'
import { scoped } from './bench/scoped/index.ts'
import { write } from './bench/write/index.ts'

const BENCHMARKS: readonly Benchmark[] = [live, write, replay, scoped, reconcile]
const RESULTS = new URL('./bench/results.json', import.meta.url)

function parse(): { benchmark: Benchmark; json: boolean } {
  const usage = `Usage: npm run bench -- ${BENCHMARKS.map(({ name }) => name).join('|')} [--json]`
  try {
    const { values, positionals } = parseArgs({
      options: { json: { type: 'boolean', default: false } },
      allowPositionals: true,
    })
    const benchmark = BENCHMARKS.find(({ name }) => name === positionals[0])
    if (benchmark === undefined || positionals.length > 1) throw new Error('One benchmark is to be named.')
    return { benchmark, json: values.json }
  } catch (cause) {
    throw new ConfigError(messageOf(cause), { hint: usage, cause })
  }
}

/** One object by name, so that a run of one benchmark leaves the others' results. */
async function keep(name: string, result: object): Promise<void> {
  const results: Record<string, object> = JSON.parse(await readIfThere())
  const sorted = Object.entries({ ...results, [name]: result }).toSorted(([a], [b]) => a.localeCompare(b))
  await writeFile(RESULTS, `${JSON.stringify(Object.fromEntries(sorted), null, 2)}\n`)
}

async function readIfThere(): Promise<string> {
  try {
    return await readFile(RESULTS, 'utf8')
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return '{}'
    throw error
  }
}

async function main(): Promise<number> {
  const { benchmark, json } = parse()
  const result = await benchmark.run((line) => console.error(line))
  await keep(benchmark.name, result)
  console.log(json ? JSON.stringify(result) : tableOf(result))
  return meetsGoal(result) ? EXIT.complete : EXIT.incomplete
}

let exitCode: number
try {
  exitCode = await main()
} catch (error) {
  exitCode = error instanceof ReplayError ? error.exitCode : EXIT.failed
  console.error(error instanceof ReplayError ? `${error.message}\n${error.hint ?? ''}` : error)
}
process.exit(exitCode)
