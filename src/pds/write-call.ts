import { XRPCError } from '@atproto/api'
import { PdsError, type UnavailableError } from '../errors.ts'
import { CEILINGS } from './batches.ts'
import { available, type RateLimit } from './budget.ts'
import { operationOf, type Pending } from './pending.ts'
import type { Session } from './session.ts'
import { nextCount, pointsOf, type Way } from './way.ts'
import type { Head, WriteState } from './write-state.ts'

/** One call that writes. */
export interface Call {
  way: Way
  items: Pending[]
  points: number
  /** The commit that an applyWrites is to follow; undefined: any. A putRecord swaps its own record instead. */
  swapCommit?: string
}

export interface CallChoice {
  state: WriteState
  /** What the plan chose. */
  way: Way
  /** At most this many records: see `CallSizes`. */
  maxItems: number
  nowMs: number
}

/** The call that the first records of the queue make; undefined: the rate limit leaves none now. */
export function nextCall(queue: readonly Pending[], choice: CallChoice): Call | undefined {
  const { isBusy, budget, maxRequestBytes, head } = choice.state
  const [first] = queue
  if (first === undefined) return undefined
  const way = wayOf(first, choice)
  const count = nextCount(isBusy ? untilOverwrite(queue) : queue, {
    way,
    points: available(budget, choice.nowMs),
    ceilings: { ...CEILINGS, maxItems: choice.maxItems, maxBytes: maxRequestBytes },
  })
  const items = queue.slice(0, count)
  if (items.length === 0) return undefined
  const points = items.reduce((sum, item) => sum + pointsOf(item, way), 0)
  return {
    way,
    items,
    points,
    ...(isBusy || head === undefined || way === 'putRecord' ? {} : { swapCommit: head.commit }),
  }
}

/** On a busy account an overwrite goes alone: others' commits cannot disturb a swap of one record. */
export function wayOf(item: Pending, { state, way }: Pick<CallChoice, 'state' | 'way'>): Way {
  return state.isBusy && !item.isCreate ? 'putRecord' : way
}

export interface CallAnswer {
  head?: Head
  limits?: RateLimit
  /** CIDs that the host gave the records, in their order; undefined: it did not say. */
  cids?: readonly string[]
}

/** @throws as the session's calls do */
export async function send(session: Session, { way, items, swapCommit }: Call): Promise<CallAnswer> {
  const [first] = items
  if (way === 'putRecord' && first !== undefined) {
    const { collection, rkey, record, currentCid = null } = first
    const { cid, ...answer } = await session.putRecord({ collection, rkey, record, swapRecord: currentCid })
    return { ...answerOf(answer), cids: [cid] }
  }
  const operations = items.map((item) => operationOf(item, item.isCreate))
  const { cids, ...answer } = await session.applyWrites(operations, swapCommit)
  return { ...answerOf(answer), ...(cids === undefined ? {} : { cids }) }
}

function answerOf({ commit, rev, limits }: Partial<Head> & { limits?: RateLimit }): CallAnswer {
  return {
    ...(commit === undefined || rev === undefined ? {} : { head: { commit, rev } }),
    ...(limits === undefined ? {} : { limits }),
  }
}

/** By its status: a proxy before the host names its error as it pleases. */
export function isTooLarge(error: unknown): error is PdsError {
  return error instanceof PdsError && error.cause instanceof XRPCError && error.cause.status === 413
}

/** The host took the call and failed in it: not a proxy before it, nor the network. */
export function isServerError({ cause }: UnavailableError): boolean {
  return cause instanceof XRPCError && cause.status === 500
}

function untilOverwrite(queue: readonly Pending[]): readonly Pending[] {
  const end = queue.findIndex(({ isCreate }) => !isCreate)
  return end < 1 ? queue : queue.slice(0, end)
}
