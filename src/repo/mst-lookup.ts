import type { Cid } from '@atproto/lex'
import { type Blocks, digestOf } from './car.ts'
import { type Bounds, checkBounds, checkLayer, checkNotBelowLowest, layerOfRoot, readNode } from './mst.ts'
import { layerOf, type MstEntry, type MstNode } from './mst-node.ts'

/**
 * Looks records up in one tree, reading each node once however many keys are asked for: a frame of the firehose may
 * hold hundreds of ops whose paths lead through the same node of tens of thousands of entries.
 */
export class MstLookup {
  readonly #blocks: Blocks
  readonly #root: Cid
  readonly #nodes = new Map<string, MstNode>()

  constructor(blocks: Blocks, root: Cid) {
    this.#blocks = blocks
    this.#root = root
  }

  /**
   * The record under a key, or null when the tree has none, reading only the nodes on the way down to the layer that
   * the key hashes to. Below that layer the key has no place, so nothing below needs to be in `blocks`: after a
   * delete, hosts leave out subtrees there that the delete did not change.
   *
   * Of each node on the way the order of all keys is checked, but the layer only of the two between which the way
   * goes on: they decide where the key must be, and hashing all the others would prove nothing about it.
   *
   * @throws {@link VerificationError}; {@link MissingBlockError} for a node on the way that is not in `blocks`
   */
  find(key: string): Cid | null {
    const keyLayer = layerOf(key)
    let node = this.#read(this.#root)
    let layer = layerOfRoot(node)
    const bounds: Bounds = { lower: '', upper: null }
    while (layer !== null && layer >= keyLayer) {
      checkBounds(node, bounds)
      const next = indexOfKey(node.entries, key)
      const before = node.entries[next - 1]
      const after = node.entries[next]
      if (before !== undefined) checkLayer(before.key, layer)
      if (after !== undefined) checkLayer(after.key, layer)
      if (after?.key === key) return after.value
      const child = before === undefined ? node.left : before.right
      checkNotBelowLowest(child, layer)
      if (child === null || layer === keyLayer) return null
      bounds.lower = before?.key ?? bounds.lower
      bounds.upper = after?.key ?? bounds.upper
      node = this.#read(child)
      layer -= 1
    }
    return null
  }

  #read(cid: Cid): MstNode {
    const digest = digestOf(cid)
    const known = this.#nodes.get(digest)
    if (known !== undefined) return known
    const node = readNode(this.#blocks, cid)
    this.#nodes.set(digest, node)
    return node
  }
}

/** Of the first entry that is not before the key, by halving: their order was checked when they were decoded. */
function indexOfKey(entries: readonly MstEntry[], key: string): number {
  let low = 0
  let high = entries.length
  while (low < high) {
    const middle = (low + high) >>> 1
    const entry = entries[middle]
    if (entry !== undefined && entry.key < key) low = middle + 1
    else high = middle
  }
  return low
}
