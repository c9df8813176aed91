import { collectGarbage } from '../garbage.ts'
import { type Benchmark, benchResult, median, rounded } from '../result.ts'
import { alternate } from '../rounds.ts'
import { startStackProcess } from '../stack-process.ts'
import { copied, reconciled, upsertLoop } from './contenders.ts'
import { subscribers } from './input.ts'
import { proofsPerSecond } from './proofs.ts'

const ROWS = 20_000
/** Of the loop, which needs no more: the other two warm up with all of them. */
const WARM_UP_ROWS = 1000
const ROUNDS = 3

/** Other people's rows, back from the backup: goal 30 times one upsert per row, and 0.3 of COPY. */
export const reconcile: Benchmark = {
  name: 'reconcile',
  async run(say) {
    const stack = await startStackProcess()
    try {
      const input = await subscribers(stack, ROWS)
      try {
        const from = (act: (round: number) => Promise<number>, rowsOf = (_round: number) => ROWS) => ({
          async run(round: number) {
            await Promise.all([input.reset(), collectGarbage()])
            return (rowsOf(round) / (await act(round))) * 1000
          },
        })
        const loopRows = (round: number) => (round === 0 ? WARM_UP_ROWS : ROWS)
        const rates = await alternate<number, 'baseline' | 'ours' | 'limit' | 'planShown'>(
          [
            { name: 'baseline', ...from((round) => upsertLoop(input, loopRows(round)), loopRows) },
            { name: 'ours', ...from(() => reconciled(input)) },
            { name: 'planShown', ...from(() => reconciled(input, true)) },
            { name: 'limit', ...from(() => copied(input, stack)) },
          ],
          ROUNDS,
          (name, round, rate) =>
            say(`${round === 0 ? 'warm-up' : `round ${round}`}: ${name} ${rounded(rate)} rows/s`),
        )
        return benchResult({
          name: 'reconcile',
          unit: 'rows/s',
          rates: {
            ours: median(rates.ours),
            baseline: median(rates.baseline),
            limit: median(rates.limit),
          },
          goal: { ratioToBaseline: 30, ratioToLimit: 0.3 },
          details: {
            rows: ROWS,
            rounds: ROUNDS,
            rates: Object.fromEntries(
              Object.entries(rates).map(([name, values]) => [name, values.map(rounded)]),
            ),
            planShown: rounded(median(rates.planShown)),
            consent: await proofsPerSecond(),
          },
        })
      } finally {
        await input[Symbol.asyncDispose]()
      }
    } finally {
      await stack[Symbol.asyncDispose]()
    }
  },
}
