import { ConfigError, messageOf } from '../errors.ts'
import type {
  AppView,
  DerivedTable,
  Handler,
  HandlerResult,
  RecordUpsert,
  Row,
  RowMutation,
} from '../events.ts'
import type { FoldedEvent } from './fold.ts'
import { unstorableReason } from './storable.ts'

/** What apply is given: see `firehose_replay_apply` in supabase/migrations. */
export interface Batch {
  records: { uri: string; rev: string; cid: string | null; deleted: boolean }[]
  derives: readonly DerivedTable[]
  steps: Step[]
}

export interface Step {
  kind: RowMutation['kind'] | 'delete'
  spec: StepSpec
  rows: { of: string; row: Row }[]
  sets: { of: string; parent: Row; rows: readonly Row[] }[]
}

type StepSpec = Omit<DerivedTable, 'of'> & { of?: string; onlyIfAbsent?: boolean }

/** A record whose outcome is known without the database. */
export type Verdict =
  | { outcome: 'invalid' | 'skipped'; reason: string }
  /** `UNSTORABLE`: Postgres cannot hold its text. `HANDLER`: the handler itself failed on it. */
  | { outcome: 'dead-lettered'; code: 'UNSTORABLE' | 'HANDLER'; reason: string }

export interface BatchPlan {
  batch: Batch
  /** By URI. A record that is invalid or skipped is in the batch too, for its state, but brings no rows. */
  verdicts: Map<string, Verdict>
}

export type Handlers = ReadonlyMap<string, Handler>

/**
 * An appview's handlers by collection.
 *
 * @throws ConfigError when two handlers claim one collection: which of them runs would be chance
 */
export function handlersOf(appview: AppView): Handlers {
  const handlers = new Map<string, Handler>()
  for (const handler of appview.handlers) {
    if (handlers.has(handler.collection)) {
      throw new ConfigError(
        `The description of ${appview.name} has two handlers for ${handler.collection}.`,
        {
          hint: 'Leave one handler for each collection.',
        },
      )
    }
    const [own] = handler.derives
    if (own.key.length !== 1 || own.key[0] !== own.of) {
      throw new ConfigError(`The handler for ${handler.collection} does not key ${own.table} by ${own.of}.`, {
        hint: "The first table that a handler derives holds the record's own row, and its key is the column with the AT-URI.",
        table: own.table,
      })
    }
    handlers.set(handler.collection, handler)
  }
  return handlers
}

/**
 * Turns folded events into one batch for apply: deletes children first, then rows parents first.
 *
 * @param events one per record, see `foldEvents`; their collections have a handler
 */
export function planBatch(events: readonly FoldedEvent[], handlers: Handlers): BatchPlan {
  const verdicts = new Map<string, Verdict>()
  const steps = new StepList()
  const records: Batch['records'] = []
  for (const event of events) {
    const handler = handlers.get(event.collection)
    if (handler === undefined) continue
    const uri = event.uri.toString()
    const unstorable = unstorableReason([uri, event.rev])
    if (unstorable !== null) {
      verdicts.set(uri, { outcome: 'dead-lettered', code: 'UNSTORABLE', reason: unstorable })
      continue
    }
    if (event.event === 'delete') {
      records.push({ uri, rev: event.rev, cid: event.prev?.toString() ?? null, deleted: true })
      steps.delete(handler, uri)
      continue
    }
    const result = rowsOf(event, handler)
    if (result.outcome === 'rows') {
      for (const mutation of result.mutations) steps.add(handler.rank, uri, mutation)
    } else {
      verdicts.set(uri, result)
      // It stands for no row; what the record was before went with the delete in between.
      if (event.replacedDelete !== undefined) steps.delete(handler, uri)
    }
    // Of what becomes a dead letter the state is left alone, so that a retry is not stale.
    if (result.outcome !== 'dead-lettered') {
      records.push({ uri, rev: event.rev, cid: event.cid.toString(), deleted: false })
    } else if (event.replacedDelete !== undefined) {
      const { rev, prev } = event.replacedDelete
      records.push({ uri, rev, cid: prev?.toString() ?? null, deleted: true })
    }
  }
  return { batch: { records, derives: derivedTables(handlers), steps: steps.inOrder() }, verdicts }
}

function rowsOf(event: RecordUpsert, handler: Handler): HandlerResult | Verdict {
  const result = callHandler(event, handler)
  if (result.outcome !== 'rows') return result
  for (const mutation of result.mutations) {
    const reason = unstorableReason(mutation.kind === 'replace-children' ? mutation.rows : mutation.row)
    if (reason !== null) return { outcome: 'dead-lettered', code: 'UNSTORABLE', reason }
  }
  return result
}

/** A handler that fails on a record somebody made up must not stop everybody's ingestion. */
function callHandler(event: RecordUpsert, handler: Handler): HandlerResult | Verdict {
  try {
    return handler.rows(event)
  } catch (error) {
    const reason = `the handler failed: ${messageOf(error)}`
    return { outcome: 'dead-lettered', code: 'HANDLER', reason }
  }
}

function derivedTables(handlers: Handlers): DerivedTable[] {
  const byTable = new Map<string, DerivedTable>()
  for (const handler of handlers.values())
    for (const derived of handler.derives) byTable.set(derived.table, derived)
  return [...byTable.values()]
}

/** Collects mutations into one step per kind and table. */
class StepList {
  readonly #steps = new Map<string, { order: number; step: Step }>()

  delete(handler: Handler, uri: string): void {
    const own = handler.derives[0]
    // Children first: the cascade of a parent would otherwise take rows whose record is deleted in this very batch.
    this.#step(-handler.rank - 1, 'delete', own).rows.push({ of: uri, row: { [own.of]: uri } })
  }

  add(rank: number, uri: string, mutation: RowMutation): void {
    switch (mutation.kind) {
      case 'ensure': {
        const columns = Object.keys(mutation.row)
        const spec = { table: mutation.table, key: mutation.key, columns }
        this.#step(0, 'ensure', spec).rows.push({ of: uri, row: mutation.row })
        return
      }
      case 'upsert': {
        const spec = mutation.onlyIfAbsent === true ? { ...mutation.into, onlyIfAbsent: true } : mutation.into
        this.#step(2 * rank + 1, 'upsert', spec).rows.push({ of: uri, row: mutation.row })
        return
      }
      case 'replace-children': {
        const { parent, rows } = mutation
        this.#step(2 * rank + 2, 'replace-children', mutation.into).sets.push({ of: uri, parent, rows })
        return
      }
    }
  }

  inOrder(): Step[] {
    return [...this.#steps.values()].sort((a, b) => a.order - b.order).map(({ step }) => step)
  }

  #step(order: number, kind: Step['kind'], spec: StepSpec): Step {
    const name = `${order} ${kind} ${spec.table} ${spec.onlyIfAbsent === true}`
    const known = this.#steps.get(name)
    if (known !== undefined) return known.step
    const step: Step = { kind, spec, rows: [], sets: [] }
    this.#steps.set(name, { order, step })
    return step
  }
}
