import { MemoryCache } from '@atproto/identity'
import { collectGarbage } from '../garbage.ts'
import { type Benchmark, benchResult, median, rounded } from '../result.ts'
import { alternate } from '../rounds.ts'
import { filteredFirehose, ourReplay, readingSocket, tcpSocket } from './contenders.ts'
import { startScopedFirehose } from './server-process.ts'

const ACCOUNTS = 1000
const FRAMES_EACH = 1000
/** Of the Firehose in the warm-up, which is dropped: a million frames take it more than a minute. */
const WARM_UP_FRAMES = 50_000
const AUTHENTICATED_FRAMES = 5000
const ROUNDS = 3

type Name = 'baseline' | 'ours' | 'limit' | 'authenticated' | 'tcp'

/** One account among a thousand: twelve times a Firehose that filters, and 0.7 of a socket that only reads. */
export const scoped: Benchmark = {
  name: 'scoped',
  async run(say) {
    const firehose = await startScopedFirehose({ accounts: ACCOUNTS, rounds: FRAMES_EACH })
    const cache = new MemoryCache()
    const theirs = (frames: number, isAuthenticated: boolean) =>
      filteredFirehose(firehose, { frames, isAuthenticated, cache })
    const measures: Record<Name, (round: number) => Promise<number>> = {
      baseline: (round) => theirs(round === 0 ? WARM_UP_FRAMES : firehose.frames, false),
      ours: () => ourReplay(firehose),
      limit: () => readingSocket(firehose),
      authenticated: () => theirs(AUTHENTICATED_FRAMES, true),
      tcp: () => tcpSocket(firehose),
    }
    try {
      const names = Object.keys(measures) as Name[]
      const results = await alternate<number, Name>(
        names.map((name) => ({
          name,
          run: async (round) => {
            await collectGarbage()
            return measures[name](round)
          },
        })),
        ROUNDS,
        (name, round, rate) =>
          say(`${round === 0 ? 'warm-up' : `round ${round}`}: ${name} ${rounded(rate)} frames/s`),
      )
      const { baseline, ours, limit } = results
      return benchResult({
        name: 'scoped',
        unit: 'frames/s',
        rates: { ours: median(ours), baseline: median(baseline), limit: median(limit) },
        goal: { ratioToBaseline: 12, ratioToLimit: 0.7 },
        details: {
          accounts: ACCOUNTS,
          frames: firehose.frames,
          frameBytes: Math.round(firehose.bytes / firehose.frames),
          authenticatedFrames: AUTHENTICATED_FRAMES,
          rounds: ROUNDS,
          rates: Object.fromEntries(names.map((name) => [name, results[name].map(rounded)])),
        },
      })
    } finally {
      await firehose[Symbol.asyncDispose]()
    }
  },
}
