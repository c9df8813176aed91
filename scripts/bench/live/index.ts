import { collectGarbage } from '../garbage.ts'
import { type Benchmark, benchResult, median, rounded } from '../result.ts'
import { alternate } from '../rounds.ts'
import { startStackProcess } from '../stack-process.ts'
import { ourTables, ourVerification, theirTables, theirVerification } from './contenders.ts'
import { bareVerification, readMessages } from './limit.ts'
import { type RemoteFirehose, startFirehoseProcess } from './server-process.ts'

/**
 * Keys are looked up once an account, in real life too: the commits of each must outweigh that, and the whole the tenth
 * of a second in which connections are made.
 */
const INPUT = { accounts: 50, commitsEach: 100 }
const ROUNDS = 3
/** Of the whole way into the tables. */
const TABLES_GOAL = 10

/**
 * Live ingestion: frames/s verified and given to a handler that does nothing, beside @atproto/sync's Firehose; the
 * limit is decoding and checking the same frames in one thread, from memory. In the details the whole way into the
 * tables, beside the Firehose with one upsert for each event.
 */
export const live: Benchmark = {
  name: 'live',
  async run(say) {
    const firehose = await startFirehoseProcess(INPUT)
    try {
      const verification = await measureVerification(firehose, say)
      const tables = await measureTables(firehose, say)
      return benchResult({
        name: 'live',
        unit: 'frames/s',
        rates: {
          ours: median(verification.ours),
          baseline: median(verification.baseline),
          limit: median(verification.limit),
        },
        goal: { ratioToBaseline: 3, ratioToLimit: 0.8 },
        details: {
          frames: firehose.frames,
          frameBytes: firehose.frameBytes,
          accounts: INPUT.accounts,
          rounds: ROUNDS,
          rates: mapped(verification),
          intoTables: {
            unit: 'records/s',
            ours: rounded(median(tables.ours)),
            baseline: rounded(median(tables.baseline)),
            ratioToBaseline: rounded(median(tables.ours) / median(tables.baseline)),
            goal: { ratioToBaseline: TABLES_GOAL },
            until: 'the last row is durable',
            rates: mapped(tables),
          },
        },
      })
    } finally {
      await firehose[Symbol.asyncDispose]()
    }
  },
}

type Say = (line: string) => void

async function measureVerification(firehose: RemoteFirehose, say: Say) {
  const messages = await readMessages(firehose)
  const quiet = (run: () => Promise<number>) => async () => {
    await collectGarbage()
    return run()
  }
  return alternate<number, 'baseline' | 'ours' | 'limit'>(
    [
      { name: 'baseline', run: quiet(() => theirVerification(firehose)) },
      { name: 'ours', run: quiet(() => ourVerification(firehose)) },
      { name: 'limit', run: quiet(() => bareVerification(firehose, messages)) },
    ],
    ROUNDS,
    (name, round, rate) => say(`verification, ${roundName(round)}: ${name} ${rounded(rate)} frames/s`),
  )
}

async function measureTables(firehose: RemoteFirehose, say: Say) {
  const stack = await startStackProcess()
  try {
    return await alternate<number, 'baseline' | 'ours'>(
      [
        { name: 'baseline', run: () => theirTables(firehose, stack) },
        { name: 'ours', run: () => ourTables(firehose, stack) },
      ],
      ROUNDS,
      (name, round, rate) => say(`into tables, ${roundName(round)}: ${name} ${rounded(rate)} records/s`),
    )
  } finally {
    await stack[Symbol.asyncDispose]()
  }
}

const roundName = (round: number) => (round === 0 ? 'warm-up' : `round ${round}`)

function mapped(results: Record<string, number[]>): Record<string, number[]> {
  return Object.fromEntries(Object.entries(results).map(([name, rates]) => [name, rates.map(rounded)]))
}
