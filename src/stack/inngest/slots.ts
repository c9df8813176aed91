/**
 * Concurrency limits by key, first come first served. As on the server, a limit counts calls under way and not
 * runs: two runs of one key may take turns step by step, and a run that sleeps or waits for its retry holds nothing.
 */
export class Slots {
  #waiting = new Map<string, (() => void)[]>()
  #taken = new Map<string, number>()

  /** Runs `work` when fewer than `limit` others of that key are under way. */
  async hold<T>(key: string, limit: number, work: () => Promise<T>): Promise<T> {
    const taken = this.#taken.get(key) ?? 0
    if (taken < limit) this.#taken.set(key, taken + 1)
    // Whoever finishes hands its slot over, so the count stays.
    else await new Promise<void>((resolve) => this.#queue(key).push(resolve))
    try {
      return await work()
    } finally {
      this.#release(key)
    }
  }

  #queue(key: string): (() => void)[] {
    const queue = this.#waiting.get(key) ?? []
    this.#waiting.set(key, queue)
    return queue
  }

  #release(key: string): void {
    const next = this.#queue(key).shift()
    if (next !== undefined) {
      next()
      return
    }
    const taken = (this.#taken.get(key) ?? 1) - 1
    if (taken > 0) this.#taken.set(key, taken)
    else {
      this.#taken.delete(key)
      this.#waiting.delete(key)
    }
  }
}
