import type { Cid } from '@atproto/lex'
import type { Blocks } from './car.ts'
import { cidOfBlock, encodeBlock } from './dag-cbor.ts'
import { checkAscending, decodeNode, layerOf, type MstNode } from './mst-node.ts'
import { brokenRepo, MissingBlockError } from './repo-errors.ts'

const EMPTY_TREE = cidOfBlock(encodeBlock({ e: [], l: null }))

/** Whether this is the root of the tree of a repository without records: the node that holds nothing. */
export function isEmptyTree(root: Cid): boolean {
  return root.equals(EMPTY_TREE)
}

/**
 * All records of a tree in key order. The tree is accepted only in its canonical form (the one form that its keys
 * allow): keys ascend over the whole tree, each node lies on the layer its keys hash to, every node is there.
 * @atproto/repo checks none of this and drops records of a tree that is out of order.
 *
 * @throws {@link VerificationError}, while walking; {@link MissingBlockError} for a node that is not in `blocks`
 */
export function* walkMst(blocks: Blocks, root: Cid): Generator<[key: string, value: Cid]> {
  const node = readNode(blocks, root)
  const layer = layerOfRoot(node)
  if (layer !== null) yield* walkNode(blocks, node, layer, { last: '' })
}

/**
 * The record under a key, or null when the tree has none, reading only the nodes on the way down to the layer that
 * the key hashes to. Below that layer the key has no place, so nothing below needs to be in `blocks`: after a
 * delete, hosts leave out subtrees there that the delete did not change.
 *
 * @throws {@link VerificationError}; {@link MissingBlockError} for a node on the way that is not in `blocks`
 */
export function findInMst(blocks: Blocks, root: Cid, key: string): Cid | null {
  const keyLayer = layerOf(key)
  let node = readNode(blocks, root)
  let layer = layerOfRoot(node)
  const bounds: Bounds = { lower: '', upper: null }
  while (layer !== null && layer >= keyLayer) {
    checkNode(node, layer, bounds)
    const next = node.entries.findIndex((entry) => entry.key >= key)
    const after = next === -1 ? undefined : node.entries[next]
    if (after?.key === key) return after.value
    const before = next === -1 ? node.entries.at(-1) : node.entries[next - 1]
    const child = before === undefined ? node.left : before.right
    if (child === null || layer === keyLayer) return null
    bounds.lower = before?.key ?? bounds.lower
    bounds.upper = after?.key ?? bounds.upper
    node = readNode(blocks, child)
    layer -= 1
  }
  return null
}

/** Keys of a subtree lie strictly between these. */
interface Bounds {
  lower: string
  upper: string | null
}

function* walkNode(
  blocks: Blocks,
  node: MstNode,
  layer: number,
  position: { last: string },
): Generator<[key: string, value: Cid]> {
  checkNode(node, layer, { lower: position.last, upper: null })
  if (node.left !== null) yield* walkNode(blocks, readNode(blocks, node.left), layer - 1, position)
  for (const { key, value, right } of node.entries) {
    checkAscending(position.last, key)
    position.last = key
    yield [key, value]
    if (right !== null) yield* walkNode(blocks, readNode(blocks, right), layer - 1, position)
  }
}

/** null for the tree of an empty repository. */
function layerOfRoot(node: MstNode): number | null {
  const [first] = node.entries
  if (first !== undefined) return layerOf(first.key)
  if (node.left !== null) throw brokenRepo('The root of the MST holds no key, only a subtree')
  return null
}

/**
 * Layers bound the depth: each step goes down one, and below 0 there is nothing. So no cycle can be walked for
 * long, and none can exist unless SHA-256 breaks.
 */
function checkNode(node: MstNode, layer: number, { lower, upper }: Bounds): void {
  const isEmpty = node.entries.length === 0
  if (isEmpty && node.left === null) throw brokenRepo('The MST holds an empty node below its root')
  if (layer === 0 && (node.left !== null || node.entries.some((entry) => entry.right !== null))) {
    throw brokenRepo('The MST goes on below its lowest layer')
  }
  for (const { key } of node.entries) {
    const own = layerOf(key)
    if (own !== layer)
      throw brokenRepo(`The MST holds ${key} on layer ${layer}, but it belongs on layer ${own}`)
  }
  const [first] = node.entries
  const last = node.entries.at(-1)
  if (first !== undefined) checkAscending(lower, first.key)
  if (last !== undefined && upper !== null) checkAscending(last.key, upper)
}

function readNode(blocks: Blocks, cid: Cid): MstNode {
  const bytes = blocks.get(cid)
  if (bytes === undefined) {
    const text = cid.toString()
    throw new MissingBlockError(`The MST node ${text} was not sent`, { cid: text })
  }
  return decodeNode(bytes)
}
