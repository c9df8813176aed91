import { fork } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'

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
  const child = fork(SERVER, { stdio: ['ignore', 'ignore', 'inherit', 'ipc'] })
  child.send(request)
  const [ready] = (await Promise.race([
    once(child, 'message'),
    once(child, 'exit').then(() => {
      throw new Error('The process of the firehose has ended.')
    }),
  ])) as [FirehoseReady]
  return {
    service: `ws://127.0.0.1:${ready.port}`,
    plcUrl: `http://127.0.0.1:${ready.port}`,
    frames: ready.frames,
    frameBytes: Math.round(ready.bytes / ready.frames),
    async [Symbol.asyncDispose]() {
      if (child.exitCode !== null) return
      const exited = once(child, 'exit')
      child.disconnect()
      await exited
    },
  }
}
