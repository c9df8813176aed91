/** Command lines that need no process of their own: one after the other in one that has loaded the modules. */

import { type ChildProcess, spawn } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { join } from 'node:path'
import type { Readable } from 'node:stream'
import type { Answer, Asked } from './command-host.ts'

const HOST = join(import.meta.dirname, 'command-host.ts')

export interface Ended {
  code: number | null
  stdout: string
  stderr: string
}

interface Host extends ChildProcess {
  stdout: Readable
  stderr: Readable
}

let host: Host | undefined
let last: Promise<unknown> = Promise.resolve()

/**
 * What a process of the command line would have ended with. Its stdin is no terminal. Signals, and what a process
 * does when it starts, are for `startCommand`.
 */
export function runWarm(asked: Omit<Asked, 'end'>): Promise<Ended> {
  const ended = last.then(() => runOn(openHost(), { ...asked, end: `\n${randomUUID()}\n` }))
  last = ended.catch(() => undefined)
  return ended
}

/** Ends with the test file's process: then its channel closes. */
function openHost(): Host {
  if (host !== undefined && host.exitCode === null && host.signalCode === null) return host
  const { PATH, HOME } = process.env
  const child = spawn(process.execPath, [HOST], {
    env: { PATH, HOME },
    stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
  }) as Host
  child.stdout.setEncoding('utf8')
  child.stderr.setEncoding('utf8')
  host = child
  return child
}

function dismiss(child: Host): void {
  child.kill()
  host = undefined
}

async function runOn(child: Host, asked: Asked): Promise<Ended> {
  const listening = new AbortController()
  const { signal } = listening
  const died = once(child, 'close', { signal }).then(([code]) => ({
    code: code as number | null,
    isLast: true,
  }))
  const answered = once(child, 'message', { signal }).then(([answer]) => answer as Answer)
  const outputs = [child.stdout, child.stderr].map((stream) => readUntil(stream, asked.end, died))
  try {
    child.send(asked)
    const { code, isLast } = await Promise.race([answered, died])
    const [stdout = '', stderr = ''] = await Promise.all(outputs)
    if (isLast) dismiss(child)
    return { code, stdout, stderr }
  } finally {
    listening.abort()
    await Promise.allSettled([died, answered])
  }
}

/** What `stream` gives before `end`, or all of it where its process dies first. */
async function readUntil(stream: Readable, end: string, died: Promise<unknown>): Promise<string> {
  let text = ''
  const { promise, resolve } = Promise.withResolvers<void>()
  const take = (chunk: string): void => {
    text += chunk
    if (text.endsWith(end)) resolve()
  }
  stream.on('data', take)
  await Promise.race([promise, died])
  stream.off('data', take)
  return text.endsWith(end) ? text.slice(0, -end.length) : text
}
