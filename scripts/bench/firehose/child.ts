import { fork } from 'node:child_process'
import { once } from 'node:events'

export interface Child<Ready> extends AsyncDisposable {
  ready: Ready
}

/** A script in a process of its own, which answers `request` once it serves, and ends when its parent lets go. */
export async function startChild<Ready>(script: string, request: object): Promise<Child<Ready>> {
  const child = fork(script, { stdio: ['ignore', 'ignore', 'inherit', 'ipc'] })
  child.send(request)
  const [ready] = (await Promise.race([
    once(child, 'message'),
    once(child, 'exit').then(() => {
      throw new Error('The process of the firehose has ended.')
    }),
  ])) as [Ready]
  return {
    ready,
    async [Symbol.asyncDispose]() {
      if (child.exitCode !== null) return
      const exited = once(child, 'exit')
      child.disconnect()
      await exited
    },
  }
}
