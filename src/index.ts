/** The library's face. Everything that is not named here may change without notice. */

// biome-ignore-all assist/source/organizeImports: in the order in which a restore meets them.

// The words: outcomes, events, and what the description of an appview is made of.
export type {
  AppliedRecord,
  AppView,
  CatchUpReceipt,
  ComparisonClass,
  DerivedTable,
  EnsureRow,
  EventOutcome,
  EventSink,
  EventSource,
  FlushResult,
  Handler,
  HandlerResult,
  Json,
  JsonObject,
  OutcomeCounts,
  Proof,
  RecordCandidates,
  RecordDelete,
  RecordEvent,
  RecordOutcome,
  RecordUpsert,
  Refusal,
  ReplaceChildren,
  Root,
  Row,
  RowMutation,
  RowOutcome,
  UpsertRow,
  Verdict,
  VirtualReference,
  VirtualUniqueKey,
} from './events.ts'
export {
  COMPARISON_CLASSES,
  EVENT_OUTCOMES,
  PROOFS,
  RECORD_OUTCOMES,
  REFUSALS,
  ROW_OUTCOMES,
  VERDICTS,
} from './events.ts'

// Errors: whether trying again helps, what to do next, and the exit code.
export {
  ConfigError,
  DatabaseError,
  type ErrorContext,
  EXIT,
  type ExitCode,
  PdsError,
  ReplayError,
  RestoreError,
  SessionError,
  SnapshotError,
  shouldRetry,
  UnavailableError,
  VerificationError,
} from './errors.ts'

// Logging to stderr with secrets redacted, or not at all.
export { createLogger, type Logger, silentLogger } from './logger.ts'

// Version of this package.
export { version } from './version.ts'

// Descriptions of appviews.
export { leaflet } from './appview/leaflet/index.ts'

// A database, and what its schema says of itself.
export { type Database, type DatabaseOptions, openDatabase } from './database/client.ts'
export { type Catalog, type Column, type ForeignKey, readCatalog, type Table } from './database/catalog.ts'

// The network: accounts by DID and what their PDSes serve, with SSRF protection.
export { createFetch, type Fetch, type FetchOptions } from './network/fetch.ts'
export {
  type AccountIdentity,
  createIdentity,
  type Identity,
  type IdentityOptions,
} from './network/identity.ts'
export { createXrpc, type LatestCommit, type Xrpc, type XrpcOptions } from './network/xrpc.ts'

// What a delete of an account's rows takes, by the foreign keys and by the references that a description names.
export { type Edge, edgesOf } from './backup/edges.ts'
export { type BlastRadius, blastRadiusOf } from './backup/closure.ts'
export { type ClosureReport, closureReport } from './backup/closure-report.ts'
export { countClosure } from './backup/count-closure.ts'
export type { Trigger } from './database/triggers.ts'

// The snapshot: taken from the backup, written to a file, read and checked.
export { assertDifferent } from './backup/backup-check.ts'
export { type ExtractOptions, extract, extractTo } from './backup/extract.ts'
export type { LackingTable, Rows, Snapshot, SnapshotTable } from './backup/snapshot.ts'
export { readSnapshot, writeSnapshot } from './backup/snapshot-file.ts'

// Writing to the PDS: sessions, the plan, and what becomes of a record that was created again.
export { type AuthenticatedFetch, openSession, type Session, type SessionProvider } from './pds/session.ts'
export { appPasswordSessions } from './pds/sessions/app-password.ts'
export { oauthStoreSessions, type OAuthStoreOptions, type SharedLock } from './pds/sessions/appview-store.ts'
export { type LoggedIn, logIn, type LoginOptions } from './pds/sessions/login.ts'
export { type LoginFolder, loginFolder } from './pds/sessions/login-folder.ts'
export { type LoginSource, loggedInSessions } from './pds/sessions/logged-in.ts'
export type { OAuthNetwork } from './pds/sessions/oauth-client.ts'
export type { SessionNetwork } from './pds/sessions/session-network.ts'
export { CONFLICT_POLICIES, type ConflictPolicy, type PlannedRecord, type WritePlan } from './pds/plan.ts'
export type { PlannedScope } from './pds/plan.ts'
export type { KnownCids, ProofSource } from './pds/original-cid.ts'
export type { RecordToWrite } from './pds/write.ts'

// Blobs: where they may be had, and what becomes of a record that refers to one which cannot.
export type { BlobsOfWrite, MissingBlob } from './pds/blobs/plan.ts'
export { MISSING_BLOB_POLICIES, type MissingBlobPolicy } from './pds/blobs/policy.ts'
export type { BlobSource } from './pds/blobs/source.ts'
export { type BucketOptions, bucketSource } from './pds/blobs/bucket-source.ts'
export { folderSource } from './pds/blobs/folder-source.ts'
export { type BlobNetwork, urlSource } from './pds/blobs/http-source.ts'
export {
  type BlobSupplier,
  type BlobSupplierOptions,
  type BlobSupply,
  blobSupplier,
} from './pds/blobs/supply.ts'
export { createHostQueues, type HostQueues } from './network/host-queues.ts'

// Inngest: functions to mount in an app of one's own or to serve here, and the same steps in process.
export {
  createFunctions,
  createInngest,
  createWriteRecords,
  databaseRequests,
  type FailedRun,
  type FunctionsOptions,
  type InngestOptions,
  type InngestWrite,
  type LocalWrite,
  newAttempt,
  type ReadinessCheck,
  type RequestReference,
  type RequestStore,
  type ServedFunctions,
  type ServeOptions,
  serveFunctions,
  WRITE_RECORDS_EVENT,
  WRITE_RECORDS_ID,
  type WriteAttempt,
  type WriteEventData,
  type WriteJob,
  type WriteProgress,
  type WriteRecordsEvent,
  type WriteRecordsOptions,
  type WriteRequest,
  type WriteSummary,
  writeEventSchema,
  writeLocally,
  writeRecordsEvent,
  writeThroughInngest,
} from './inngest/index.ts'

// The indexer: takes events, applies their rows, keeps what cannot be applied.
export { Indexer, Indexer as IndexerSink, type IndexerOptions } from './indexer/indexer.ts'

// The firehose, live and replayed from a repo, into any EventSink; and a sink around a consumer of one's own.
export {
  type AccountStatus,
  type BrokenRepo,
  consumeFirehose,
  FRAME_OUTCOMES,
  type FrameOutcome,
  type Gap,
  type GapReason,
  type LiveOptions,
  type LiveStatus,
  newLiveStatus,
  type Unreadable,
} from './firehose/live.ts'
export { type ReplayOptions, type ReplayResult, replayRepo } from './firehose/replay.ts'
export {
  receiptOf,
  type RelayReplayOptions,
  type RelayReplayResult,
  replayRelay,
  type WindowGap,
} from './firehose/replay-relay.ts'
export type { ReplayTarget } from './firehose/target.ts'
export { handlerSink, toSyncEvent } from './firehose/sync-event.ts'

// Rows that no replay gives back: planned, then inserted where they are absent.
export {
  assertCaughtUp,
  type PreparedReconcile,
  type PrepareReconcileOptions,
  prepareReconcile,
} from './reconcile/reconcile.ts'
export type { RefusedRecords } from './reconcile/own-records.ts'
export type { ReconcilePlan } from './reconcile/plan.ts'
export type { ConsentDecision, ConsentDecisions } from './reconcile/consent/decision.ts'
export type { ReconcilePolicy } from './reconcile/input.ts'
export type { IncludeDerived } from './reconcile/included.ts'
export {
  type ApplyOptions,
  applyReconcile,
  overwrittenBy,
  type OverwrittenRow,
  type ReconcileResult,
} from './reconcile/apply.ts'

// The comparison of snapshot, repo and tables, and its verdict.
export { type CompareOptions, compareAccount } from './report/compare.ts'
export {
  exitCodeOf,
  type Report,
  type ReportRecord,
  type ReportRow,
  type ReportTable,
  reportSchema,
} from './report/report.ts'
export { type RenderOptions, renderReport } from './report/terminal.ts'
export { renderHtml } from './report/html/page.ts'

// One account: all phases in order, or one of them.
export type { RestoreContext, Writer } from './restore/context.ts'
export {
  PHASES,
  type Phase,
  type RestoreOptions,
  type RestoreResult,
  restoreAccount,
} from './restore/restore.ts'
export { executeWrite, type PreparedWrite, type PrepareWriteOptions, prepareWrite } from './restore/write.ts'
export type { WriteScope } from './restore/write-scope.ts'
export type { ReconcileParts } from './restore/reconcile-rows.ts'
export { type Replayed, replayAccount } from './restore/replay.ts'
export {
  assertAccepted,
  type ConsentCounts,
  type ConsentPolicy,
  prepareWithConsent,
  reconcileAsked,
  UNREACHABLE_POLICIES,
} from './restore/consent.ts'
export type { WithdrawnShare } from './reconcile/consent/withdrawn-share.ts'
