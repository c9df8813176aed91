import { once } from 'node:events'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { Inngest, InngestFunction } from 'inngest'
import { serve } from 'inngest/node'
import { UnavailableError } from '../errors.ts'

export interface ServeOptions {
  inngest: Inngest.Any
  functions: readonly InngestFunction.Any[]
  /** @defaultValue 0: a free one */
  port?: number
  /** Address to listen on. @defaultValue '127.0.0.1' */
  host?: string
}

export interface ServedFunctions extends AsyncDisposable {
  /** Where Inngest calls the functions, ending in /api/inngest. */
  url: string
}

const SERVE_PATH = '/api/inngest'

/**
 * Inngest sends at most 4 MiB, and beyond that lets the SDK fetch the rest; the SDK reads a body whole before it
 * looks at the signature.
 */
const MAX_BODY_BYTES = 8 * 1024 ** 2

/** How long calls under way may go on at the end. A step that is cut off is run again by Inngest. */
const GRACE_MS = 5_000

/**
 * Serves functions to Inngest, and GET /healthz. Unless the client is in development mode only requests that are
 * signed with the signing key are answered, those that ask for registration included.
 *
 * @throws UnavailableError when the port cannot be had
 */
export async function serveFunctions(options: ServeOptions): Promise<ServedFunctions> {
  const { inngest, functions, port = 0, host = '127.0.0.1' } = options
  const inngestHandler = serve({
    client: inngest,
    functions,
    servePath: SERVE_PATH,
    enableUnauthedSync: false,
  })
  const server = createServer((request, response) => {
    const path = request.url?.split('?', 1)[0]
    if (path === '/healthz' && request.method === 'GET') return answer(response, 200, 'ok')
    if (path !== SERVE_PATH) return answer(response, 404, 'not found')
    const refusal = refusalOf(request)
    if (refusal !== undefined)
      return answer(response, refusal, 'a body of known and moderate length is needed')
    return inngestHandler(request, response)
  })
  const url = await listen(server, port, host)
  return { url, [Symbol.asyncDispose]: () => close(server) }
}

function refusalOf({ headers }: IncomingMessage): number | undefined {
  if (headers['transfer-encoding'] !== undefined) return 411
  return Number(headers['content-length'] ?? 0) > MAX_BODY_BYTES ? 413 : undefined
}

function answer(response: ServerResponse, status: number, text: string): void {
  const connection = status < 400 ? {} : { connection: 'close' }
  response.writeHead(status, { 'content-type': 'text/plain', ...connection }).end(`${text}\n`)
}

async function listen(server: Server, port: number, host: string): Promise<string> {
  server.listen(port, host)
  try {
    await once(server, 'listening')
  } catch (cause) {
    throw new UnavailableError(`Port ${port} of ${host} cannot be listened on.`, {
      hint: 'Look what else uses it, or choose another port.',
      cause,
    })
  }
  const address = server.address()
  if (address === null || typeof address === 'string') throw new Error('A TCP server has no port.')
  const name = address.family === 'IPv6' ? `[${address.address}]` : address.address
  return `http://${name}:${address.port}${SERVE_PATH}`
}

async function close(server: Server): Promise<void> {
  if (!server.listening) return
  const closed = once(server, 'close')
  server.close()
  const timer = setTimeout(() => server.closeAllConnections(), GRACE_MS)
  await closed
  clearTimeout(timer)
}
