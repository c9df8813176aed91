import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import type { RemoteStack } from '../stack-process.ts'
import type { LargeReplayed, LargeReplayRequest } from './large-replay.ts'
import type { RepoReady, RepoRequest } from './repo-server.ts'

const DID = 'did:plc:benchlargeaccount2345678'

/** Replays a repository of so many documents of about 2 KB, in a process that does nothing else. */
export async function replayLargeRepo(stack: RemoteStack, records: number): Promise<LargeReplayed> {
  const server = start('./repo-server.ts')
  const worker = start('./large-replay.ts')
  try {
    const request: RepoRequest = { did: DID, records }
    const ready = await answerOf<RepoReady>(server, request)
    const { url, serviceKey } = stack.production
    const work: LargeReplayRequest = { did: DID, ...ready, production: { url, serviceKey } }
    return await answerOf<LargeReplayed>(worker, work)
  } finally {
    for (const child of [server, worker]) if (child.exitCode === null) child.disconnect()
  }
}

function start(script: string): ChildProcess {
  const path = fileURLToPath(new URL(script, import.meta.url))
  return fork(path, { stdio: ['ignore', 'ignore', 'inherit', 'ipc'] })
}

async function answerOf<T>(child: ChildProcess, request: object): Promise<T> {
  child.send(request)
  const [answer] = (await Promise.race([
    once(child, 'message'),
    once(child, 'exit').then(() => {
      throw new Error('A process of the benchmark has ended.')
    }),
  ])) as [T]
  return answer
}
