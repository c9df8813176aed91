/** What stands between a process and its database, and kills it at one of its calls. */

import { createServer, type IncomingMessage } from 'node:http'
import { assemble } from '../../src/stack/cleanup.ts'
import { listenOnLoopback } from '../../src/stack/listen.ts'
import type { Death } from './mortal-database.ts'

export interface KillGateway extends AsyncDisposable {
  url: string
  /** What becomes of the next process. Resolves when its call has come, and where it is sent, has been answered. */
  arm(death: Death, kill: () => void): Promise<void>
  /** From now on everything passes. */
  disarm(): void
  /** Resolves when the database is done with what was sent to it. */
  settled(): Promise<void>
}

/** Calls that write: our functions, and the cursor. What a process reads when it starts is not counted. */
const isWrite = ({ method }: IncomingMessage): boolean => method === 'POST'

export function startKillGateway(databaseUrl: string): Promise<KillGateway> {
  return assemble(async (cleanup) => {
    let armed: { death: Death; kill: () => void; done: () => void } | undefined
    let calls = 0
    let isClosed = false
    const underWay = new Set<Promise<unknown>>()
    const server = createServer(async (request, response) => {
      const chunks: Buffer[] = []
      for await (const chunk of request) chunks.push(chunk)
      const dying = isWrite(request) && ++calls === armed?.death.call ? armed : undefined
      if (dying !== undefined) isClosed = true
      const answering = isClosed && !dying?.death.isSent ? undefined : forward(databaseUrl, request, chunks)
      if (answering !== undefined) underWay.add(answering)
      const answer = await answering?.catch((error: unknown) => {
        response.destroy(error instanceof Error ? error : new Error(String(error)))
      })
      if (dying !== undefined) {
        dying.kill()
        dying.done()
      }
      // The dead are not answered.
      if (answer === undefined || answer === null || dying !== undefined) return
      response.writeHead(answer.status, answer.headers).end(answer.body)
    })
    const port = await listenOnLoopback(server, cleanup)
    return {
      url: `http://localhost:${port}`,
      arm(death: Death, kill: () => void) {
        const { promise, resolve } = Promise.withResolvers<void>()
        armed = { death, kill, done: resolve }
        calls = 0
        isClosed = false
        return promise
      },
      disarm() {
        armed = undefined
        isClosed = false
      },
      async settled() {
        await Promise.allSettled(underWay)
        underWay.clear()
      },
    }
  })
}

interface Answer {
  status: number
  headers: Record<string, string>
  body: Buffer
}

/** Of an answer, what supabase-js looks at. */
const PASSED = ['content-type', 'content-range', 'preference-applied']

async function forward(
  databaseUrl: string,
  { url = '', method = 'GET', headers }: IncomingMessage,
  chunks: readonly Buffer[],
): Promise<Answer> {
  const sent = new Headers()
  for (const [name, value] of Object.entries(headers)) {
    if (typeof value === 'string' && !['host', 'connection', 'content-length'].includes(name))
      sent.set(name, value)
  }
  const body = Buffer.concat(chunks)
  const answer = await fetch(new URL(url, databaseUrl), {
    method,
    headers: sent,
    ...(body.length === 0 ? {} : { body }),
  })
  const passed = PASSED.flatMap((name) => {
    const value = answer.headers.get(name)
    return value === null ? [] : [[name, value] as const]
  })
  return {
    status: answer.status,
    headers: Object.fromEntries(passed),
    body: Buffer.from(await answer.arrayBuffer()),
  }
}
