import { fileURLToPath } from 'node:url'
import { startChild } from '../firehose/child.ts'

export interface FirehoseRequest {
  accounts: number
  commitsEach: number
}
export interface FirehoseReady {
  port: number
  frames: number
  bytes: number
}

export interface RemoteFirehose extends AsyncDisposable {
  service: string
  plcUrl: string
  frames: number
  frameBytes: number
}

const SERVER = fileURLToPath(new URL('./server.ts', import.meta.url))

export async function startFirehoseProcess(request: FirehoseRequest): Promise<RemoteFirehose> {
  const { ready, [Symbol.asyncDispose]: dispose } = await startChild<FirehoseReady>(SERVER, request)
  return {
    service: `ws://127.0.0.1:${ready.port}`,
    plcUrl: `http://127.0.0.1:${ready.port}`,
    frames: ready.frames,
    frameBytes: Math.round(ready.bytes / ready.frames),
    [Symbol.asyncDispose]: dispose,
  }
}
