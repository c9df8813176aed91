import type { InngestFunction } from 'inngest'
import { createWriteRecords, type WriteRecordsOptions } from './write-records.ts'

export type FunctionsOptions = WriteRecordsOptions

/**
 * All functions of this project, to be mounted in an app of one's own with its own client, by the SDK's adapter for
 * whatever it runs on: `serve({ client: inngest, functions: createFunctions({ inngest, ... }) })` from `inngest/next`,
 * `inngest/hono`, `inngest/node`.
 */
export function createFunctions(options: FunctionsOptions): InngestFunction.Any[] {
  return [createWriteRecords(options)]
}
