import { derivedTable } from '../appview/derived.ts'
import { rowId, type Snapshot } from '../backup/snapshot.ts'
import { inLists, readExact } from '../database/exact.ts'
import { ConfigError } from '../errors.ts'
import type { RecordUpsert } from '../events.ts'
import { Indexer } from '../indexer/indexer.ts'
import type { ReconciledRow, ReconcileResult } from '../reconcile/apply.ts'
import { Consent } from '../reconcile/consent/consent.ts'
import type { ConsentDecision, ConsentDecisions } from '../reconcile/consent/decision.ts'
import { countStanding, recordsToAsk } from '../reconcile/consent/foreign-records.ts'
import { suspiciousShare, type WithdrawnShare } from '../reconcile/consent/withdrawn-share.ts'
import type { ReconcilePlan } from '../reconcile/plan.ts'
import {
  type PreparedReconcile,
  type PrepareReconcileOptions,
  prepareReconcile,
} from '../reconcile/reconcile.ts'
import type { RestoreContext } from './context.ts'
import { reconcileRows } from './reconcile-rows.ts'

/** What becomes of a row whose record nobody could be asked about. */
export const UNREACHABLE_POLICIES = ['restore', 'skip'] as const
export type UnreachablePolicy = (typeof UNREACHABLE_POLICIES)[number]

export interface ConsentPolicy {
  /** Rows of others come back unasked, and count as unverified. @defaultValue false */
  trustBackup?: boolean
  /** @defaultValue 'restore', counted as unverified */
  unreachable?: UnreachablePolicy
  /**
   * Asked before anything is written where suspiciously many records are withdrawn, which an outage looks like too.
   * @defaultValue no: the reconcile ends with a ConfigError
   */
  acceptWithdrawn?: (share: WithdrawnShare) => Promise<boolean>
  /** Ends the asking. */
  signal?: AbortSignal
  /** Of the asking: bounds, patience, how long an answer holds. */
  limits?: Partial<
    Omit<ConstructorParameters<typeof Consent>[0], 'snapshot' | 'appview' | 'network' | 'signal'>
  >
}

/** Of the records that were asked for: how many are what. */
export type ConsentCounts = Record<'asked' | ConsentDecision['consent'], number>

/** A reconcile that is planned, with everybody asked. */
export interface AskedReconcile {
  parts: PrepareReconcileOptions
  prepared: PreparedReconcile
  /** Undefined where nobody is asked. */
  consent: Consent | undefined
  counts: ConsentCounts
  /** Set where more is withdrawn than is likely: `assertAccepted` before going on. */
  share: WithdrawnShare | undefined
  /** Rows of others that are there. */
  standing: number
}

/** Plans, asks about the rows of others that the plan would bring back, and plans again by what they say. Reads only. */
export async function prepareWithConsent(
  { network, appview }: Pick<RestoreContext, 'network' | 'appview'>,
  parts: PrepareReconcileOptions,
  policy: ConsentPolicy = {},
  onProgress: (done: number, total: number) => void = () => undefined,
): Promise<AskedReconcile> {
  const unasked = await prepareReconcile(parts)
  const { snapshot } = parts
  const uris = policy.trustBackup ? new Set<string>() : recordsToAsk(unasked.plan, { snapshot, appview })
  const standing = countStanding(unasked.plan, { snapshot, appview })
  const { signal, limits } = policy
  const consent = policy.trustBackup
    ? undefined
    : new Consent({ ...limits, network, appview, snapshot, ...(signal && { signal }) })
  if (consent === undefined || uris.size === 0)
    return { parts, prepared: unasked, consent, counts: countsOf(new Map()), share: undefined, standing }
  const decisions = await consent.decide(uris, onProgress)
  const asked = { ...parts, consent: decisions, unreachable: policy.unreachable ?? 'restore' }
  return {
    parts: asked,
    prepared: await prepareReconcile(asked),
    consent,
    counts: countsOf(decisions),
    share: suspiciousShare(decisions, standing),
    standing,
  }
}

/** @throws ConfigError where suspiciously many records are withdrawn and nobody says that this is right */
export async function assertAccepted(
  { share, parts }: Pick<AskedReconcile, 'share' | 'parts'>,
  { acceptWithdrawn }: ConsentPolicy,
): Promise<void> {
  if (share === undefined || (await acceptWithdrawn?.(share))) return
  throw new ConfigError(withdrawnText(share), {
    did: parts.snapshot.did,
    hint: 'No row was brought back. If the accounts and hosts named are really gone, run the same command again with --accept-withdrawn; what was done before stays done.',
  })
}

/** An outage may begin between plan and insert, and what is not brought then would never be asked for again. */
function assertStillLikely(consent: Consent, { parts, standing }: AskedReconcile): void {
  const share = suspiciousShare(consent.decisions(), standing)
  if (share === undefined) return
  throw new ConfigError(withdrawnText(share), {
    did: parts.snapshot.did,
    hint: 'It was not so when this was planned. Rows that came before stay; run the same command again, which asks everybody anew.',
  })
}

/** For people: how many, and why, the most frequent reasons first. */
export function withdrawnText({ withdrawn, of, reasons }: WithdrawnShare): string {
  const percent = Math.round((withdrawn / of) * 100)
  const why = [...reasons]
    .sort(([, a], [, b]) => b - a)
    .slice(0, 5)
    .map(([reason, count]) => `${count}: ${reason}`)
  return `${withdrawn} of ${of} records of other accounts (${percent} %) are withdrawn, and an outage looks like that too (${why.join('; ')}).`
}

/**
 * Does what was planned. Who was asked too long ago is asked again before the rows are inserted; records that their
 * authors have changed go to their handlers instead, once the rows that they hang on are there.
 *
 * @throws ConfigError where suspiciously many are withdrawn by then, and were not when it was planned
 */
export async function reconcileAsked(
  context: Pick<RestoreContext, 'appview' | 'production' | 'openSink' | 'logger'>,
  asked: AskedReconcile,
  onProgress?: (done: number, total: number) => void,
): Promise<{ plan: ReconcilePlan; result: ReconcileResult; counts: ConsentCounts }> {
  const { parts, prepared, consent, share } = asked
  const progress = onProgress && { onProgress }
  if (consent === undefined)
    return { ...(await reconcileRows(parts, { prepared, ...progress })), counts: countsOf(new Map()) }
  const consentAgain = async (uris: Iterable<string>) => {
    const decisions = await consent.decide(uris)
    // Where it looked like an outage from the start, somebody has said that it is none.
    if (share === undefined) assertStillLikely(consent, asked)
    return decisions
  }
  const asking = { ...parts, consentAgain }
  const { plan, result } = await reconcileRows(asking, { prepared, ...progress })
  const changed = consent.changed()
  const counts = countsOf(consent.decisions())
  if (changed.length === 0) return { plan, result, counts }
  await handOn(context, changed)
  const isOpen = (table: string, id: string) => !prepared.current.get(table)?.has(id)
  return {
    plan,
    result: await withChanged(context, { snapshot: parts.snapshot, isOpen }, result, changed),
    counts,
  }
}

async function handOn(
  {
    appview,
    production,
    openSink,
    logger,
  }: Pick<RestoreContext, 'appview' | 'production' | 'openSink' | 'logger'>,
  events: readonly RecordUpsert[],
): Promise<void> {
  const sink = openSink?.() ?? new Indexer({ appview, database: production, logger })
  for (const event of events) await sink.handle(event)
  await sink.flush()
}

/**
 * What the tables have of a changed record now is what its author wants there.
 *
 * @param at isOpen: whether a row was absent when the plan was made
 */
async function withChanged(
  { appview, production }: Pick<RestoreContext, 'appview' | 'production'>,
  { snapshot, isOpen }: { snapshot: Snapshot; isOpen: (table: string, id: string) => boolean },
  result: ReconcileResult,
  changed: readonly RecordUpsert[],
): Promise<ReconcileResult> {
  const uris = new Set<string>(changed.map(({ uri }) => uri.toString()))
  const tables = result.tables.map(async (told) => {
    const { table, rows } = told
    const of = derivedTable(appview, table)?.of
    const source = snapshot.tables.find((candidate) => candidate.table === table)
    if (of === undefined || source === undefined) return told
    const ids = new Map(
      source.rows.flatMap((row) => {
        const uri = row[of]
        const id = rowId(row, source.key)
        return uri != null && uris.has(uri) && isOpen(table, id) ? [[id, uri] as const] : []
      }),
    )
    if (ids.size === 0) return told
    const there = new Set<string>()
    for (const list of inLists([...new Set(ids.values())])) {
      const found = await readExact(production, {
        table,
        columns: [...new Set([...source.key, of])],
        key: source.key,
        filters: [[of, list]],
      })
      for (const row of found) there.add(row[of] ?? '')
    }
    return {
      ...told,
      rows: rows.map((row) => {
        const uri = ids.get(row.id)
        return uri === undefined ? row : changedRow(row, there.has(uri))
      }),
    }
  })
  return { ...result, tables: await Promise.all(tables) }
}

function changedRow({ id }: ReconciledRow, isThere: boolean): ReconciledRow {
  const why = 'its author has changed the record since the backup'
  return isThere
    ? { id, outcome: 'kept', reason: `${why}: it is as its author has it now` }
    : { id, outcome: 'withdrawn', reason: `${why}, and what it says now has no row here` }
}

export function countsOf(decisions: ConsentDecisions): ConsentCounts {
  const counts: ConsentCounts = { asked: decisions.size, same: 0, changed: 0, withdrawn: 0, unreachable: 0 }
  for (const { consent } of decisions.values()) counts[consent]++
  return counts
}
