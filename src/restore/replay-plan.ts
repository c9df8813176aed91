import { readRecordStates } from '../database/record-state.ts'
import type { EventSink, RecordEvent } from '../events.ts'
import { replayRepo } from '../firehose/replay.ts'
import { replayRelay } from '../firehose/replay-relay.ts'
import type { RestoreContext } from './context.ts'
import {
  type AbsentRecord,
  absentFrom,
  type Indexed,
  ranksAmong,
  readIndexed,
  restingOnBackup,
} from './prune.ts'
import { assertHandled, type ReplayAccountOptions } from './replay.ts'
import type { ReplayFromRelayOptions } from './replay-relay.ts'

/** What a replay would hand over, against what the index knows of these records. Nothing was written. */
export interface ReplayPlan {
  did: string
  /** Revision of the repo, or the last in the window; undefined where the window holds no commit. */
  rev?: string
  collections: Record<string, PlannedCollection>
  unreadable: { uri: string; reason: string }[]
  /** What `--prune` would ask to delete. Empty where it was not asked for. */
  prune: readonly AbsentRecord[]
  /** What it would leave: see `Replayed`. */
  onBackupAlone: readonly string[]
}

export interface PlannedCollection {
  /** The index has never seen it, or saw it deleted. */
  new: number
  /** The index has another CID. */
  changed: number
  /** The index has this CID. */
  same: number
  /** The index knows a later revision, which would stay. */
  stale: number
  deleted: number
}

/** @throws as `replayAccount`, of what it reads */
export async function planReplay(
  context: RestoreContext,
  did: string,
  options: Pick<ReplayAccountOptions, 'collections' | 'maxRepoBytes' | 'onProgress' | 'signal'> & {
    prune: boolean
  },
): Promise<ReplayPlan> {
  const { prune, collections, ...limits } = options
  assertHandled(context, collections)
  const rankOf = ranksAmong(context, collections)
  const indexed: Indexed = prune ? await readIndexed(context, did) : { records: new Map() }
  const counter = await openCounter(context, did)
  const { receipt, uris, unreadable } = await replayRepo({
    did,
    sink: counter.sink,
    rankOf,
    maxTopUps: 0,
    logger: context.logger,
    ...context.network,
    ...limits,
  })
  const { rev } = receipt
  return {
    did,
    rev,
    collections: counter.collections,
    unreadable,
    prune: absentFrom(indexed, { rev, uris }, rankOf),
    onBackupAlone: restingOnBackup(indexed, { uris }),
  }
}

/** The same of a relay's window. */
export async function planReplayFromRelay(
  context: RestoreContext,
  did: string,
  { collections, ...window }: ReplayFromRelayOptions,
): Promise<ReplayPlan> {
  assertHandled(context, collections)
  const rankOf = ranksAmong(context, collections)
  const counter = await openCounter(context, did)
  const { chain, unreadable } = await replayRelay({
    did,
    ...window,
    ...context.network,
    sink: counter.sink,
    isWanted: (collection) => rankOf(collection) !== undefined,
    logger: context.logger,
  })
  const plan = { did, collections: counter.collections, unreadable, prune: [], onBackupAlone: [] }
  return chain === undefined ? plan : { ...plan, rev: chain.rev }
}

async function openCounter(
  { production }: RestoreContext,
  did: string,
): Promise<{ sink: EventSink; collections: Record<string, PlannedCollection> }> {
  const states = await readRecordStates(production, did)
  const collections: Record<string, PlannedCollection> = {}
  const classOf = (event: RecordEvent): keyof PlannedCollection => {
    const state = states.get(event.uri.toString())
    if (state !== undefined && state.rev > event.rev) return 'stale'
    if (event.event === 'delete') return 'deleted'
    if (state === undefined || state.deleted) return 'new'
    return state.cid === event.cid.toString() ? 'same' : 'changed'
  }
  const sink: EventSink = {
    handle: async (event) => {
      const counts = collections[event.collection] ?? { new: 0, changed: 0, same: 0, stale: 0, deleted: 0 }
      counts[classOf(event)]++
      collections[event.collection] = counts
    },
    flush: async () => ({ cursor: undefined }),
  }
  return { sink, collections }
}
