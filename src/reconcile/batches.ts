import type { ExactRow } from '../database/exact.ts'

/** Rows in one transaction: a tenth of a second, and with triggers well under the 8 that a statement has. */
export const ROWS_PER_BATCH = 2000
/** What one call carries at most, unless a single row is larger: gateways take a few MB, and so does a statement. */
const BYTES_PER_BATCH = 1_000_000

/** Cuts items into batches by number and size, in their order. Only one batch is held at a time. */
export function* inBatches<T>(items: Iterable<T>, bytesOf: (item: T) => number): Generator<T[]> {
  let batch: T[] = []
  let bytes = 0
  for (const item of items) {
    const more = bytesOf(item)
    if (batch.length > 0 && (batch.length >= ROWS_PER_BATCH || bytes + more > BYTES_PER_BATCH)) {
      yield batch
      batch = []
      bytes = 0
    }
    batch.push(item)
    bytes += more
  }
  if (batch.length > 0) yield batch
}

/** About what a row takes in a call: its characters. */
export function sizeOf(row: ExactRow): number {
  let size = 0
  for (const value of Object.values(row)) size += value?.length ?? 0
  return size
}

/**
 * Does one thing after another, the next being under way before the last is done: what a client prepares and what a
 * database does take turns otherwise. Results in order.
 *
 * @param limit how many are under way at once
 */
export async function overlapped<T, R>(
  items: Iterable<T>,
  limit: number,
  act: (item: T) => Promise<R>,
  onResult: (result: R) => void,
): Promise<void> {
  const open: Promise<R>[] = []
  try {
    for (const item of items) {
      const started = act(item)
      // Awaited in its turn; until then a failure must not count as one that nobody looks at.
      started.catch(() => undefined)
      open.push(started)
      const first = open.length >= limit ? open.shift() : undefined
      if (first !== undefined) onResult(await first)
    }
    for (let first = open.shift(); first !== undefined; first = open.shift()) onResult(await first)
  } finally {
    // What is under way is waited for: nothing writes on behind the back of who was told that it failed.
    await Promise.allSettled(open)
  }
}
