/**
 * The words of this project, as types (see the README, "Words"). A record event goes to an EventSink; the sink's
 * handlers turn it into row mutations; apply decides per record by rev and answers with one outcome each.
 */

import type { Cid, LexMap } from '@atproto/lex'
import type { AtUri } from '@atproto/syntax'

// ---------------------------------------------------------------- outcomes: closed lists, defined once

/** What became of a record to be written to the PDS. */
export const RECORD_OUTCOMES = ['created', 'same', 'overwritten', 'kept', 'refused', 'failed'] as const
export type RecordOutcome = (typeof RECORD_OUTCOMES)[number]

/** Why a record was refused before anything was written. */
export const REFUSALS = ['unencodable', 'blob-missing', 'too-large', 'conflict'] as const
export type Refusal = (typeof REFUSALS)[number]

/** What became of a record event. */
export const EVENT_OUTCOMES = [
  'applied',
  'unchanged',
  'stale',
  'parked',
  'invalid',
  'skipped',
  'dead-lettered',
] as const
export type EventOutcome = (typeof EVENT_OUTCOMES)[number]

/** What became of a row of the snapshot. */
export const ROW_OUTCOMES = [
  'restored',
  'filled',
  'unchanged',
  'kept',
  'derived',
  'withdrawn',
  'blocked',
  'conflict',
  'trigger-kept',
  'failed',
] as const
export type RowOutcome = (typeof ROW_OUTCOMES)[number]

/** Which class a row or record falls in when snapshot, PDS and tables are compared. */
export const COMPARISON_CLASSES = ['equal', 'explained', 'different', 'missing', 'extra'] as const
export type ComparisonClass = (typeof COMPARISON_CLASSES)[number]

/** How well a record's CID is known (design.md, "Original CID"). */
export const PROOFS = ['proven', 'self-consistent', 'different'] as const
export type Proof = (typeof PROOFS)[number]

export const VERDICTS = ['complete', 'incomplete', 'failed'] as const
export type Verdict = (typeof VERDICTS)[number]

// ---------------------------------------------------------------- JSON

/** A JSON value. Numbers that a double cannot hold are carried as their text (see database/exact). */
export type Json = string | number | boolean | null | Json[] | { [key: string]: Json }
export type JsonObject = { [key: string]: Json }

// ---------------------------------------------------------------- events

/** Where an event came from. Nothing downstream branches on it; it is there for logs and counts. */
export type EventSource = 'firehose' | 'relay' | 'repo'

interface EventBase {
  /** Sequence number at the source; 0 for a repo, which has none. */
  seq: number
  /** When the commit was sequenced, ISO 8601; for a repo, when it was fetched. */
  time: string
  /** CID of the signed commit that this state belongs to. */
  commit: Cid
  /** The commit's revision: a TID, compared as a string. */
  rev: string
  uri: AtUri
  did: string
  collection: string
  rkey: string
  /** CID that an update or a delete replaced, where the source says so (`prev` of Sync 1.1). */
  prev?: Cid
  source: EventSource
}

export type RecordUpsert = EventBase & { event: 'create' | 'update'; record: LexMap; cid: Cid }
export type RecordDelete = EventBase & { event: 'delete' }
/** A record event: what @atproto/sync calls a CommitEvt, with `prev` and `source`, without the block map. */
export type RecordEvent = RecordUpsert | RecordDelete

export type OutcomeCounts = Record<EventOutcome, number>

/** Everything up to and including `cursor` is durable, parked or a dead letter. Undefined: no event had a seq. */
export interface FlushResult {
  cursor: number | undefined
}

/** Where live consumer and replay deliver to, and all that they know of the indexer. */
export interface EventSink {
  /** Takes the event; resolves when there is room for the next. That is the backpressure. */
  handle(event: RecordEvent): Promise<void>
  /** Resolves when every event handled so far is durable. */
  flush(): Promise<FlushResult>
}

/** Proof that the index has reached a repo's revision: what `reconcile` waits for. */
export interface CatchUpReceipt {
  did: string
  rev: string
  /** CID of the commit, as text. */
  commit: string
}

// ---------------------------------------------------------------- handlers and their mutations

/** A row to be written: column name to value. jsonb columns take their JSON, everything else what Postgres reads. */
export type Row = JsonObject

/** Insert where no row has this key; never update what is there. */
export interface EnsureRow {
  kind: 'ensure'
  table: string
  key: readonly string[]
  row: Row
}

/**
 * A table whose rows are derived from records. Static, so that apply can park such rows when a cascade is about to
 * take them, and reconcile and compare know which columns a replay gives back.
 */
export interface DerivedTable {
  table: string
  /** The column that holds the AT-URI of the record that a row is derived from. */
  of: string
  key: readonly string[]
  /** The derived columns. The others keep their values on update and take their defaults on insert. */
  columns: readonly string[]
  /** Foreign key columns to leave NULL while the row they name is missing, instead of parking. */
  nullIfMissing?: readonly string[]
  /**
   * A further unique key that two records may compete for, and which of them wins it whatever the order they
   * came in: the record with the smaller or the greater rkey (then collection). The loser waits for the winner.
   */
  contested?: { columns: readonly string[]; winner: 'first' | 'last' }
}

/** A row that this record stands for. A missing parent row parks the mutation. */
export interface UpsertRow {
  kind: 'upsert'
  into: DerivedTable
  /** A value for each derived column. */
  row: Row
  /** Write only where the row is absent: somebody else keeps a fuller one. */
  onlyIfAbsent?: boolean
}

/** The child rows of one parent value are exactly `rows`: others are deleted. */
export interface ReplaceChildren {
  kind: 'replace-children'
  into: DerivedTable
  /** Columns and values that name the set, as `{ document: uri }`. */
  parent: Row
  rows: readonly Row[]
}

export type RowMutation = EnsureRow | UpsertRow | ReplaceChildren

export type HandlerResult =
  | { outcome: 'rows'; mutations: readonly RowMutation[] }
  | { outcome: 'invalid' | 'skipped'; reason: string }

/** One collection of an appview: pure functions from a record to its rows. No database, network, clock, random. */
export interface Handler {
  collection: string
  /** The tables it writes; the record's own row lives in the first, and is deleted with the record. */
  derives: readonly [DerivedTable, ...DerivedTable[]]
  /** Parents before children: 0 first. */
  rank: number
  /** The rows that this record stands for, as a function of the record alone. */
  rows(event: RecordUpsert): HandlerResult
  /**
   * A stored row back into the record it was made from: candidates, likeliest first. Several because what the
   * indexer filled in cannot be told from what the author wrote; the plan takes the one with the original CID.
   */
  toRecord?(row: JsonObject): RecordCandidates
  /**
   * What a row that was indexed anew must keep of the old one, where the appview stores more than the record says
   * (paid text that the repo has cut): the columns to set back, with their values. None: the record says it all.
   *
   * Such rows must be upserted with `onlyIfAbsent`: a plain upsert shortens them at every replay. Name a column only
   * where the indexed value is the shorter form of the old one. JSON numbers that no double holds are opaque.
   */
  mergeRow?(old: JsonObject, indexed: JsonObject): JsonObject
}

export type RecordCandidates =
  | {
      ok: true
      candidates: Iterable<JsonObject>
      /** Set where a candidate that is not proven must not be written: why not. */
      onlyIfProven?: string
      /** Why the record may have been another one than any candidate, where the row cannot tell. */
      mayDiffer?: string
    }
  /** The record cannot, or must not, be rebuilt from the row; `reason` says why. */
  | { ok: false; reason: string }

/** How the account's own rows are found: the roots of a restore. */
export interface Root {
  /** Name of the section in the snapshot. */
  section: string
  table: string
  /** Column whose AT-URI has the account's DID as its authority; also the key. */
  uriColumn: string
  /** Column that holds the record's JSON. */
  recordColumn: string
}

/** A reference that the schema does not declare as a foreign key. */
export interface VirtualReference {
  child: string
  /** A column of the child, or a path of keys into one that holds JSON: `['data', 'site', 'uri']`. */
  path: readonly [column: string, ...keys: string[]]
  parent: string
  parentColumn: string
  /** What the appview's own code does to such rows when the parent goes; a path into JSON is never set to null. */
  onDelete: 'cascade' | 'set null' | 'no action'
}

/** A unique key that the appview's own code keeps and the schema does not declare. */
export interface VirtualUniqueKey {
  table: string
  columns: readonly string[]
}

/** A description of an appview: all that this project knows about one. */
export interface AppView {
  name: string
  handlers: readonly Handler[]
  roots: readonly Root[]
  /** Section names of the snapshot for tables below the roots; tables not named go under `otherTables`. */
  sections: Readonly<Record<string, string>>
  /** Columns, as `table.column`, that are capabilities (who knows it may edit) or personal. */
  sensitiveColumns: readonly string[]
  /** Tables whose rows say who owns an account and may never be brought back by a restore, only be there. */
  untouchableTables: readonly string[]
  /** Tables to bring back before the others because they keep side effects from firing twice. */
  guardTables: readonly string[]
  /**
   * Tables below the roots whose rows are made from records of collections that no handler here takes; `of` is the
   * column that holds the record's AT-URI. Before such a row comes back its record is looked for, as for any other.
   */
  foreignRecords?: readonly { table: string; of: string }[]
  virtualReferences?: readonly VirtualReference[]
  virtualUniqueKeys?: readonly VirtualUniqueKey[]
  /**
   * Tables below the roots that whoever wrote this description has looked at, besides those that it names elsewhere.
   * Of every other one `doctor` says that it is new; a restore treats them all alike.
   */
  knownTables?: readonly string[]
  /**
   * What becomes of an account's records when its host says that it is gone or back: `delete` takes them away as if
   * each had been deleted; they return with the replay that follows when the account does. @defaultValue they stay
   */
  onAccount?(account: { did: string; active: boolean; status: string | undefined }): 'keep' | 'delete'
}

/** What `afterApplied` is told: a record that live ingestion made visible for the first time or changed. */
export interface AppliedRecord {
  uri: string
  did: string
  collection: string
  cid: string
  event: 'create' | 'update'
}
