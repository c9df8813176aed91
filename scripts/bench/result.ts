/** What a benchmark found: rates of the same work on the same input, in one run (README, "Benchmarks"). */
export interface BenchResult {
  name: string
  /** Of the three rates: more is better. */
  unit: string
  /** What this project does. Medians over the rounds, as the other two. */
  ours: number
  /** What a user would run instead, as they would write it. */
  baseline: number
  /** The hard part alone. */
  limit: number
  ratioToBaseline: number
  ratioToLimit: number
  goal: { ratioToBaseline: number; ratioToLimit: number }
  details: Record<string, unknown>
}

export interface Benchmark {
  name: string
  run(say: (line: string) => void): Promise<BenchResult>
}

export interface Rates {
  ours: number
  baseline: number
  limit: number
}

export function benchResult(
  input: Pick<BenchResult, 'name' | 'unit' | 'goal' | 'details'> & { rates: Rates },
): BenchResult {
  const { name, unit, goal, details, rates } = input
  const { ours, baseline, limit } = rates
  return {
    name,
    unit,
    ours: rounded(ours),
    baseline: rounded(baseline),
    limit: rounded(limit),
    ratioToBaseline: rounded(ours / baseline),
    ratioToLimit: rounded(ours / limit),
    goal,
    details,
  }
}

export function meetsGoal({ ratioToBaseline, ratioToLimit, goal }: BenchResult): boolean {
  return ratioToBaseline >= goal.ratioToBaseline && ratioToLimit >= goal.ratioToLimit
}

/** The same for people. */
export function tableOf(result: BenchResult): string {
  const { name, unit, ours, baseline, limit, ratioToBaseline, ratioToLimit, goal, details } = result
  const rows = [
    ['ours', ours, ''],
    ['baseline', baseline, `ours is ${ratioToBaseline} times that (goal ${goal.ratioToBaseline})`],
    ['limit', limit, `ours is ${ratioToLimit} times that (goal ${goal.ratioToLimit})`],
  ] as const
  const lines = rows.map(
    ([label, rate, note]) => `  ${label.padEnd(10)}${String(rate).padStart(10)}  ${note}`,
  )
  return [`${name}, ${unit}`, ...lines, JSON.stringify(details, null, 2)].join('\n')
}

/** Four digits: more would be noise. */
export function rounded(value: number): number {
  return Number(value.toPrecision(4))
}

export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b)
  const middle = sorted.length >> 1
  const upper = sorted[middle] ?? Number.NaN
  return sorted.length % 2 === 1 ? upper : (upper + (sorted[middle - 1] ?? Number.NaN)) / 2
}
