export { createInngest, type InngestOptions } from './client.ts'
export {
  parseWriteRequest,
  WRITE_RECORDS_EVENT,
  type WriteRequest,
  writeRequestSchema,
} from './request.ts'
export type { Network } from './run-write.ts'
export { type InngestWrite, writeThroughInngest } from './send.ts'
export { type ServedFunctions, type ServeOptions, serveFunctions } from './serve.ts'
export { type NotWritten, type WriteSummary, writeSummarySchema } from './summary.ts'
export type { WriteJob, WriteProgress } from './write-job.ts'
export { type LocalWrite, writeLocally } from './write-locally.ts'
export { createWriteRecords, WRITE_RECORDS_ID, type WriteRecordsOptions } from './write-records.ts'
