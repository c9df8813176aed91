/** com.atproto.repo.applyWrites takes no more operations than this (reference PDS, `applyWrites.ts`). */
export const MAX_WRITES = 200

/**
 * Length of the operations in one request. The reference PDS takes bodies of 1,000,000 bytes; the rest is for what
 * is around them (repo, swapCommit). Hosts before pds 0.4.226 take 150 KB and answer 413: see `writeRecords`.
 */
export const MAX_REQUEST_BYTES = 999_000

/** Of the blocks that one commit adds (reference PDS, `actor-store/repo/transactor.ts`). */
const MAX_COMMIT_BYTES = 2_000_000

/**
 * What an operation adds to a commit besides its record: the nodes of the tree above it. About 1,200 bytes were
 * measured in a repo of 4,000 records; a tree grows by a level with each fourfold.
 */
export const TREE_BYTES = 4_000

export interface Sized {
  /** Length of its operation as JSON, in bytes. */
  jsonBytes: number
  /** Length of its record's block, in bytes. Undefined: the items do not go into a commit. */
  blockBytes?: number
}

export interface Ceilings {
  maxItems: number
  /** Of the operations' JSON, commas not counted. */
  maxBytes: number
  maxCommitBytes: number
}

export const CEILINGS: Ceilings = {
  maxItems: MAX_WRITES,
  maxBytes: MAX_REQUEST_BYTES,
  maxCommitBytes: MAX_COMMIT_BYTES,
}

/** How many of the first items make a batch that keeps every ceiling; at least one, be it as large as it may. */
export function countThatFits(items: readonly Sized[], ceilings: Ceilings = CEILINGS, from = 0): number {
  let jsonBytes = 0
  let commitBytes = 0
  let count = 0
  for (let index = from; index < items.length && count < ceilings.maxItems; index++) {
    const item = items[index]
    if (item === undefined) break
    jsonBytes += item.jsonBytes
    if (item.blockBytes !== undefined) commitBytes += item.blockBytes + TREE_BYTES
    if (count > 0 && (jsonBytes > ceilings.maxBytes || commitBytes > ceilings.maxCommitBytes)) break
    count++
  }
  return Math.max(1, count)
}

/** Cuts into runs that keep the limits, in order; one item above a byte limit stands alone. */
export function packBatches<T extends Sized>(
  items: readonly T[],
  maxBytes = MAX_REQUEST_BYTES,
  maxItems = MAX_WRITES,
): T[][] {
  const ceilings = { ...CEILINGS, maxItems, maxBytes }
  const batches: T[][] = []
  for (let start = 0; start < items.length; ) {
    const count = countThatFits(items, ceilings, start)
    batches.push(items.slice(start, start + count))
    start += count
  }
  return batches
}
