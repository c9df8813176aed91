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

/** Keys of a subtree lie strictly between these. */
export interface Bounds {
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
export function layerOfRoot(node: MstNode): number | null {
  const [first] = node.entries
  if (first !== undefined) return layerOf(first.key)
  if (node.left !== null) throw brokenRepo('The root of the MST holds no key, only a subtree')
  return null
}

/**
 * Layers bound the depth: each step goes down one, and below 0 there is nothing. So no cycle can be walked for
 * long, and none can exist unless SHA-256 breaks.
 */
function checkNode(node: MstNode, layer: number, bounds: Bounds): void {
  checkNotBelowLowest(node.left, layer)
  for (const { key, right } of node.entries) {
    checkLayer(key, layer)
    checkNotBelowLowest(right, layer)
  }
  checkBounds(node, bounds)
}

export function checkNotBelowLowest(subtree: Cid | null, layer: number): void {
  if (layer === 0 && subtree !== null) throw brokenRepo('The MST goes on below its lowest layer')
}

export function checkLayer(key: string, layer: number): void {
  const own = layerOf(key)
  if (own !== layer)
    throw brokenRepo(`The MST holds ${key} on layer ${layer}, but it belongs on layer ${own}`)
}

/** Of a node that has been decoded, whose keys ascend therefore. Only the tree of no records has an empty node. */
export function checkBounds({ left, entries }: MstNode, { lower, upper }: Bounds): void {
  const [first] = entries
  const last = entries.at(-1)
  if (first === undefined && left === null) throw brokenRepo('The MST holds an empty node below its root')
  if (first !== undefined) checkAscending(lower, first.key)
  if (last !== undefined && upper !== null) checkAscending(last.key, upper)
}

export function readNode(blocks: Blocks, cid: Cid): MstNode {
  const bytes = blocks.get(cid)
  if (bytes === undefined) {
    const text = cid.toString()
    throw new MissingBlockError(`The MST node ${text} was not sent`, { cid: text })
  }
  return decodeNode(bytes)
}
