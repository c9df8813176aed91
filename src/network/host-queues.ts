import PQueue from 'p-queue'

/** Bounds how much is asked of each host at once; hosts do not wait for one another. */
export interface HostQueues {
  /** Runs `task` when there is room at the host of `url`; rejects as the task does. */
  run<Result>(url: string, task: () => Promise<Result>): Promise<Result>
}

/** @param concurrency requests at one time to one host. @defaultValue 4 */
export function createHostQueues({ concurrency = 4 }: { concurrency?: number } = {}): HostQueues {
  const queues = new Map<string, PQueue>()
  return {
    async run(url, task) {
      const { host } = new URL(url)
      const queue = queues.get(host) ?? new PQueue({ concurrency })
      queues.set(host, queue)
      try {
        return await queue.add(task)
      } finally {
        if (queue.size === 0 && queue.pending === 0) queues.delete(host)
      }
    },
  }
}

/** Bounds how much runs at once, whichever hosts it asks: what the machine's own connections and sockets bear. */
export function createLimit(concurrency: number): <Result>(task: () => Promise<Result>) => Promise<Result> {
  const queue = new PQueue({ concurrency })
  return (task) => queue.add(task)
}
