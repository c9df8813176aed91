import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import type { Account, StackOptions } from '../../src/stack/index.ts'

/** What a benchmark needs to know of a stack that runs elsewhere. */
export interface RemoteStack {
  plcUrl: string
  production: { url: string; serviceKey: string; databaseUrl: string }
  createAccount(handle: string): Promise<Account>
  /** Runs a statement in production, as superuser. */
  execute(sql: string): Promise<void>
  /** Lets the servers finish and tidy up what came before, so that nobody pays for another's garbage. */
  settle(): Promise<void>
}

/** Asked of the process, and answered in the same order. */
export type StackRequest =
  | { kind: 'start'; options: StackOptions }
  | { kind: 'account'; handle: string }
  | { kind: 'execute'; sql: string }
  | { kind: 'settle' }
export type StackAnswer =
  | { kind: 'started'; stack: Omit<RemoteStack, 'createAccount' | 'execute' | 'settle'> }
  | { kind: 'settled' }
  | { kind: 'executed' }
  | { kind: 'account'; account: Account }
  | { kind: 'failed'; message: string }

const SERVER = fileURLToPath(new URL('./stack-server.ts', import.meta.url))

/** The embedded stack in a process of its own, so that servers and what is measured do not share a thread. */
export async function startStackProcess(options: StackOptions = {}): Promise<RemoteStack & AsyncDisposable> {
  const child = fork(SERVER, { stdio: ['ignore', 'ignore', 'inherit', 'ipc'] })
  const started = await ask(child, { kind: 'start', options })
  if (started.kind !== 'started') throw new Error('The stack did not start.')
  return {
    ...started.stack,
    async createAccount(handle) {
      const answer = await ask(child, { kind: 'account', handle })
      if (answer.kind !== 'account') throw new Error('The stack made no account.')
      return answer.account
    },
    async execute(sql) {
      await ask(child, { kind: 'execute', sql })
    },
    async settle() {
      await ask(child, { kind: 'settle' })
    },
    async [Symbol.asyncDispose]() {
      if (child.exitCode !== null) return
      const exited = once(child, 'exit')
      child.disconnect()
      await exited
    },
  }
}

async function ask(child: ChildProcess, request: StackRequest): Promise<StackAnswer> {
  child.send(request)
  const settled = new AbortController()
  const { signal } = settled
  const gone = once(child, 'exit', { signal }).then(() => {
    throw new Error('The process of the stack has ended.')
  })
  try {
    const [answer] = (await Promise.race([once(child, 'message', { signal }), gone])) as [StackAnswer]
    if (answer.kind === 'failed') throw new Error(answer.message)
    return answer
  } finally {
    gone.catch(() => undefined)
    settled.abort()
  }
}
