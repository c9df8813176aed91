import { once } from 'node:events'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { Inngest, InngestFunction } from 'inngest'
import { serve } from 'inngest/node'
import { UnavailableError } from '../errors.ts'
import { type Logger, silentLogger } from '../logger.ts'
import { type ReadinessCheck, readinessOf, signingCheck } from './readiness.ts'

export interface ServeOptions {
  inngest: Inngest.Any
  functions: readonly InngestFunction.Any[]
  /** @defaultValue 0: a free one */
  port?: number
  /** Address to listen on. @defaultValue '127.0.0.1' */
  host?: string
  /** What /readyz looks at, beside whether calls can be checked by a signing key. @defaultValue nothing */
  readiness?: readonly ReadinessCheck[]
  /** Gets one line for each request that could not be read. @defaultValue none are logged */
  logger?: Logger
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
 * Serves functions to Inngest. Unless the client is in development mode only requests that are signed with the
 * signing key are answered, those that ask for registration included. Beside that GET /healthz (200 while the process
 * is alive) and GET /readyz (200 when the functions can do their work, 503 and one line of reason otherwise).
 *
 * @throws UnavailableError when the port cannot be had
 */
export async function serveFunctions(options: ServeOptions): Promise<ServedFunctions> {
  const { inngest, functions, port = 0, host = '127.0.0.1', readiness = [], logger = silentLogger } = options
  const inngestHandler = serve({
    client: inngest,
    functions,
    servePath: SERVE_PATH,
    enableUnauthedSync: false,
  })
  const whyNotReady = readinessOf([signingCheck(inngest), ...readiness])
  const route = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    const path = request.url?.split('?', 1)[0]
    if (path === '/healthz' && request.method === 'GET') return answer(response, 200, 'ok')
    if (path === '/readyz' && request.method === 'GET') {
      const reason = await whyNotReady()
      return answer(response, reason === undefined ? 200 : 503, reason ?? 'ready')
    }
    if (path !== SERVE_PATH) return answer(response, 404, 'not found')
    const refusal = refusalOf(request)
    if (refusal !== undefined)
      return answer(response, refusal, 'a body of known and moderate length is needed')
    await inngestHandler(request, response)
  }
  const server = createServer((request, response) => {
    // The SDK throws where it cannot read a request: cut off, no JSON, no address. That is before it looks at the
    // signature, so that anybody can bring it about.
    route(request, response).catch((error: unknown) => {
      // The name alone: the text of a syntax error quotes the body.
      const errorName = error instanceof Error ? error.name : 'none'
      logger.warn({ errorName, method: request.method }, 'A request could not be read.')
      refuse(response)
    })
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

function refuse(response: ServerResponse): void {
  if (response.headersSent) response.destroy()
  else answer(response, 400, 'the request could not be read')
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
