import { fork } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'

export interface ScopedRequest {
  accounts: number
  /** Frames of each account; all others send the same one again and again. */
  rounds: number
}
export interface ScopedReady {
  port: number
  wanted: string
  frames: number
  /** Of all frames, with their headers. */
  bytes: number
  lastSeq: number
}

export interface ScopedFirehose extends Omit<ScopedReady, 'port'>, AsyncDisposable {
  service: string
  plcUrl: string
  /** Of the wanted account. */
  ownFrames: number
}

const SERVER = fileURLToPath(new URL('./server.ts', import.meta.url))

export async function startScopedFirehose(request: ScopedRequest): Promise<ScopedFirehose> {
  const child = fork(SERVER, { stdio: ['ignore', 'ignore', 'inherit', 'ipc'] })
  child.send(request)
  const [{ port, ...ready }] = (await Promise.race([
    once(child, 'message'),
    once(child, 'exit').then(() => {
      throw new Error('The process of the firehose has ended.')
    }),
  ])) as [ScopedReady]
  return {
    ...ready,
    service: `ws://127.0.0.1:${port}`,
    plcUrl: `http://127.0.0.1:${port}`,
    ownFrames: request.rounds,
    async [Symbol.asyncDispose]() {
      if (child.exitCode !== null) return
      const exited = once(child, 'exit')
      child.disconnect()
      await exited
    },
  }
}
