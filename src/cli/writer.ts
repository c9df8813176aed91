import type { Config } from '../config.ts'
import {
  type InngestOptions,
  type WriteSummary as Written,
  writeLocally,
  writeThroughInngest,
} from '../inngest/index.ts'
import type { Writer, WriteSummary } from '../restore/context.ts'
import { type CliContext, sessionsOf } from './context.ts'

/** The engine that a command was told to write with. */
export function writerOf(
  context: CliContext,
  { engine, appPasswordFile }: { engine: 'inngest' | 'local'; appPasswordFile?: string },
): Writer {
  return async ({ did, run, records, onConflict, onProgress }) => {
    const job = {
      did,
      run,
      records,
      onConflict,
      onProgress: ({ recordsDone, recordCount }: { recordsDone: number; recordCount: number }) =>
        onProgress?.(recordsDone, recordCount),
    }
    const sessionProvider = sessionsOf(context.config, appPasswordFile)
    const summary =
      engine === 'local'
        ? await writeLocally({ ...job, sessionProvider, network: context.network })
        : await writeThroughInngest({ ...job, inngest: inngestOptions(context.config) })
    return summaryOf(did, summary)
  }
}

/** Where Inngest is and with which keys, as configured. */
export function inngestOptions(config: Config): InngestOptions {
  const baseUrl = config.get('inngestUrl')
  const eventKey = config.get('inngestEventKey')
  const signingKey = config.get('inngestSigningKey')
  return {
    ...(config.isOn('inngestDev') ? { isDev: true } : {}),
    ...(baseUrl === undefined ? {} : { baseUrl }),
    ...(eventKey === undefined ? {} : { eventKey }),
    ...(signingKey === undefined ? {} : { signingKey }),
  }
}

function summaryOf(
  did: string,
  { success, recordsWritten, batchCount, notWritten, notWrittenOmitted }: Written,
): WriteSummary {
  const named = notWritten.map(({ collection, rkey, reason }) => ({
    uri: `at://${did}/${collection}/${rkey}`,
    reason,
  }))
  const rest = notWrittenOmitted > 0 ? [{ uri: `at://${did}`, reason: `and ${notWrittenOmitted} more` }] : []
  return { success, recordsWritten, batchCount, notWritten: [...named, ...rest] }
}
