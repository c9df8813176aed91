import { fileURLToPath } from 'node:url'
import type { NsidString } from '@atproto/syntax'
import { startChild } from '../firehose/child.ts'

export interface ReadersRequest {
  count: number
  hosts: number
  collection: NsidString
  /** The same in each repo. */
  record: Record<string, string>
}
export interface ReadersReady {
  plcUrl: string
  readers: readonly { did: string; uri: string }[]
}

const SERVER = fileURLToPath(new URL('./readers.ts', import.meta.url))

export async function startReadersProcess(request: ReadersRequest): Promise<ReadersReady & AsyncDisposable> {
  const { ready, [Symbol.asyncDispose]: dispose } = await startChild<ReadersReady>(SERVER, request)
  return { ...ready, [Symbol.asyncDispose]: dispose }
}
