import type { RecordToWrite } from '../../../src/pds/write.ts'
import { collectGarbage } from '../garbage.ts'
import { type Benchmark, benchResult, median, rounded } from '../result.ts'
import { alternate } from '../rounds.ts'
import { startStackProcess } from '../stack-process.ts'
import { bareApplyWrites, type Measured, putRecordLoop, restoredRecords } from './contenders.ts'
import { documents } from './input.ts'

const RECORDS = 2000
/** Of the loop, which needs no more: the other two warm up with all of them. */
const WARM_UP_RECORDS = 300
/** Garbage collection in the PDS makes single rounds differ by a tenth, as much as the goal leaves. */
const ROUNDS = 5

/** Writing an account's records back: goal 0.9 of what the host itself can do, and seven times the usual loop. */
export const write: Benchmark = {
  name: 'write',
  async run(say) {
    const stack = await startStackProcess()
    try {
      const account = async (round: number, name: string) => {
        const created = await stack.createAccount(`${name}-${round}.test`)
        await Promise.all([stack.settle(), collectGarbage()])
        return created
      }
      const input = documents(RECORDS)
      const warmUp = documents(WARM_UP_RECORDS)
      const results = await alternate<Measured, 'baseline' | 'ours' | 'limit'>(
        [
          {
            name: 'baseline',
            run: async (round) => putRecordLoop(await account(round, 'loop'), round === 0 ? warmUp : input),
          },
          {
            name: 'ours',
            run: async (round) => restoredRecords(await account(round, 'ours'), fresh(input), stack),
          },
          {
            name: 'limit',
            run: async (round) => bareApplyWrites(await account(round, 'bare'), input),
          },
        ],
        ROUNDS,
        (name, round, { recordsPerSecond }) =>
          say(
            `${round === 0 ? 'warm-up' : `round ${round}`}: ${name} ${rounded(recordsPerSecond)} records/s`,
          ),
      )
      const [record] = documents(1)
      return benchResult({
        name: 'write',
        unit: 'records/s',
        rates: {
          ours: rateOf(results.ours),
          baseline: rateOf(results.baseline),
          limit: rateOf(results.limit),
        },
        goal: { ratioToBaseline: 7, ratioToLimit: 0.9 },
        details: {
          records: RECORDS,
          recordBytes: Buffer.byteLength(JSON.stringify(record?.record)),
          rounds: ROUNDS,
          ours: spentIn(results.ours),
          baseline: spentIn(results.baseline),
          limit: spentIn(results.limit),
        },
      })
    } finally {
      await stack[Symbol.asyncDispose]()
    }
  },
}

/** Objects that nobody has encoded yet: `measure` remembers them. */
function fresh(records: readonly RecordToWrite[]): RecordToWrite[] {
  return structuredClone([...records])
}

function rateOf(results: readonly Measured[]): number {
  return median(results.map(({ recordsPerSecond }) => recordsPerSecond))
}

/** The same in every round. */
function spentIn(results: readonly Measured[]) {
  const [{ requests, commits, points } = { requests: 0, commits: 0, points: 0 }] = results
  return {
    requests,
    commits,
    points,
    rates: results.map(({ recordsPerSecond }) => rounded(recordsPerSecond)),
  }
}
