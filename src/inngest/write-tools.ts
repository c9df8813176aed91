import { SessionError } from '../errors.ts'
import type { Identity } from '../network/identity.ts'
import type { Xrpc } from '../network/xrpc.ts'
import type { BlobSupplier } from '../pds/blobs/supply.ts'
import type { Session } from '../pds/session.ts'
import type { WriteResult } from '../pds/write.ts'
import type { KeptBudgets } from './kept-budgets.ts'
import type { KeptSessions } from './kept-sessions.ts'
import type { BatchPlan } from './plan-batches.ts'
import type { WriteRequest } from './request.ts'

/** Runs the named parts of the work; Inngest's remembers their results across calls, so these are plain JSON. */
export interface Steps {
  run<T extends object>(id: string, body: () => Promise<T>): Promise<T>
  /** Between two steps; `untilMs` is in milliseconds since 1970, and may be a day away. */
  waitUntil(id: string, untilMs: number): Promise<void>
}

export interface Network {
  identity: Identity
  xrpc: Xrpc
}

/** What is to be written. Steps load it when they need it: between them it may be gone from memory. */
export interface WriteSource {
  did: string
  load(): Promise<WriteRequest>
}

export interface WriteTools {
  sessions: KeptSessions
  budgets: KeptBudgets
  network: Network
  /** Where missing blobs come from. @defaultValue none are uploaded */
  blobs?: BlobSupplier
  /** A step begins no further upload or batch after this; one that is begun is finished. Infinity: all in one step. */
  stepBudgetMs: number
  /** In milliseconds since 1970. @defaultValue Date.now */
  now?: () => number
  onPlan?: (plan: BatchPlan) => void
  /** Told after each commit. */
  onCommit?: (recordCount: number) => void
  /** Told when the rate limit asks for a wait, and how many points the next call needs. */
  onWait?: (wait: Wait) => void
}

export type Wait = NonNullable<WriteResult['wait']>

/** A session that turned out to be dead is not given to the next step. */
export async function withSession<T>(
  did: string,
  { sessions }: WriteTools,
  use: (session: Session) => Promise<T>,
): Promise<T> {
  try {
    return await use(await sessions.open(did))
  } catch (error) {
    if (error instanceof SessionError) sessions.drop(did)
    throw error
  }
}
