export interface Contender<T> {
  name: string
  /** One go; what it returns holds its own measure, so that preparing does not count. */
  run(round: number): Promise<T>
}

/**
 * A B C A B C: what changes on the machine meanwhile falls on all of them alike. Round 0 warms up and is dropped.
 *
 * @returns by name, one result for each round that counts
 */
export async function alternate<T, Name extends string>(
  contenders: readonly (Contender<T> & { name: Name })[],
  rounds: number,
  onResult: (name: Name, round: number, result: T) => void,
): Promise<Record<Name, T[]>> {
  const results = Object.fromEntries(contenders.map(({ name }) => [name, []])) as unknown as Record<Name, T[]>
  for (let round = 0; round <= rounds; round++) {
    for (const { name, run } of contenders) {
      const result = await run(round)
      if (round > 0) results[name].push(result)
      onResult(name, round, result)
    }
  }
  return results
}

export async function elapsedMs(work: () => Promise<unknown>): Promise<number> {
  const startMs = performance.now()
  await work()
  return performance.now() - startMs
}
