export { newAttempt, type WriteAttempt } from './attempt.ts'
export { createInngest, type InngestOptions } from './client.ts'
export type { FailedRun } from './failed-run.ts'
export { createFunctions, type FunctionsOptions } from './functions.ts'
export type { ReadinessCheck } from './readiness.ts'
export {
  parseWriteEvent,
  parseWriteRequest,
  type RequestReference,
  WRITE_RECORDS_EVENT,
  type WriteEventData,
  type WriteRecordsEvent,
  type WriteRequest,
  writeEventSchema,
  writeRecordsEvent,
  writeRequestSchema,
} from './request.ts'
export { digestOf, type RequestStore, referenceTo } from './request-store.ts'
export { type InngestWrite, writeThroughInngest } from './send.ts'
export { type ServedFunctions, type ServeOptions, serveFunctions } from './serve.ts'
export { databaseRequests } from './stored-requests.ts'
export { type WriteSummary, writeSummarySchema } from './summary.ts'
export type { WriteJob, WriteProgress } from './write-job.ts'
export { type LocalWrite, writeLocally } from './write-locally.ts'
export { createWriteRecords, WRITE_RECORDS_ID, type WriteRecordsOptions } from './write-records.ts'
export type { Network } from './write-tools.ts'
