import { collectGarbage } from '../garbage.ts'
import { type Benchmark, benchResult, median, rounded } from '../result.ts'
import { alternate } from '../rounds.ts'
import { startStackProcess } from '../stack-process.ts'
import { firehoseWithUpserts, hardParts, ourReplay, type Parts, type ReplayBench } from './contenders.ts'
import { publishDocuments } from './input.ts'
import { replayLargeRepo } from './memory.ts'

const RECORDS = 5000
const ROUNDS = 3
/** Of the replay whose memory is measured: 100 MB, which do not fit what is kept in memory. */
const LARGE_RECORDS = 50_000

interface Measured {
  recordsPerSecond: number
  parts?: Parts
}

/** An account's repo into empty tables: fifteen times the usual consumer, and 0.8 of what its parts allow. */
export const replay: Benchmark = {
  name: 'replay',
  async run(say) {
    const stack = await startStackProcess()
    try {
      const account = await stack.createAccount('author.test')
      await publishDocuments(account, RECORDS)
      const bench: ReplayBench = { stack, account, records: RECORDS }
      const emptied = async (): Promise<ReplayBench> => {
        await stack.execute(
          'truncate documents, publications, tag_counts, record_state, parked_events cascade',
        )
        await Promise.all([stack.settle(), collectGarbage()])
        return bench
      }
      const results = await alternate<Measured, 'baseline' | 'ours' | 'limit'>(
        [
          {
            name: 'baseline',
            run: async () => ({ recordsPerSecond: await firehoseWithUpserts(await emptied()) }),
          },
          { name: 'ours', run: async () => ({ recordsPerSecond: await ourReplay(await emptied()) }) },
          {
            name: 'limit',
            run: async () => {
              const parts = await hardParts(await emptied())
              return { recordsPerSecond: rateOf(parts), parts }
            },
          },
        ],
        ROUNDS,
        (name, round, { recordsPerSecond }) =>
          say(
            `${round === 0 ? 'warm-up' : `round ${round}`}: ${name} ${rounded(recordsPerSecond)} records/s`,
          ),
      )
      await emptied()
      const large = await replayLargeRepo(stack, LARGE_RECORDS)
      say(`${LARGE_RECORDS} records: at most ${megabytes(large.peakMemoryBytes)} MB of memory`)
      if (large.applied !== LARGE_RECORDS) throw new Error('Not all records of the large repo were applied.')
      const rates = (measured: readonly Measured[]) =>
        measured.map(({ recordsPerSecond }) => recordsPerSecond)
      return benchResult({
        name: 'replay',
        unit: 'records/s',
        rates: {
          ours: median(rates(results.ours)),
          baseline: median(rates(results.baseline)),
          limit: median(rates(results.limit)),
        },
        goal: { ratioToBaseline: 15, ratioToLimit: 0.8 },
        details: {
          records: RECORDS,
          rounds: ROUNDS,
          ours: rates(results.ours).map(rounded),
          baseline: rates(results.baseline).map(rounded),
          limit: rates(results.limit).map(rounded),
          limitMs: {
            verification: partOf(results.limit, 'verificationMs'),
            lexicons: partOf(results.limit, 'lexiconMs'),
            bulkApply: partOf(results.limit, 'applyMs'),
          },
          large: {
            records: LARGE_RECORDS,
            seconds: rounded(large.seconds),
            peakMemoryMegabytes: megabytes(large.peakMemoryBytes),
          },
        },
      })
    } finally {
      await stack[Symbol.asyncDispose]()
    }
  },
}

/** As one thread would do them, one after the other. */
function rateOf({ verificationMs, lexiconMs, applyMs }: Parts): number {
  return (RECORDS / (verificationMs + lexiconMs + applyMs)) * 1000
}

function partOf(results: readonly Measured[], part: keyof Parts): number {
  return rounded(median(results.map(({ parts }) => parts?.[part] ?? Number.NaN)))
}

function megabytes(bytes: number): number {
  return Math.round(bytes / 1e6)
}
