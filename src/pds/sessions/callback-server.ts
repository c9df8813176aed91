import { once } from 'node:events'
import { createServer, type ServerResponse } from 'node:http'

/** The address on this machine that the account's PDS sends the browser back to. */
export interface CallbackServer extends AsyncDisposable {
  redirectUri: string
  /**
   * The parameters that the browser comes back with. What does not name a state that `isOurs` knows is turned away:
   * any page in the browser may call this address.
   *
   * @throws the signal's reason
   */
  callback(isOurs: (state: string) => boolean, signal: AbortSignal): Promise<URLSearchParams>
}

const PATH = '/callback'

/** On a free port of 127.0.0.1: OAuth servers take no other name for a loopback client (RFC 8252, 8.3). */
export async function startCallbackServer(): Promise<CallbackServer> {
  const server = createServer()
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  if (address === null || typeof address === 'string') throw new TypeError('A TCP server has a port.')
  const origin = `http://127.0.0.1:${address.port}`
  return {
    redirectUri: `${origin}${PATH}`,
    callback: (isOurs, signal) =>
      new Promise((resolve, reject) => {
        signal.throwIfAborted()
        signal.addEventListener('abort', () => reject(signal.reason), { once: true })
        server.on('request', ({ url = '/', method }, response) => {
          const { pathname, searchParams } = new URL(url, origin)
          if (method !== 'GET' || pathname !== PATH) return answer(response, 404, 'There is nothing here.')
          if (!isOurs(searchParams.get('state') ?? ''))
            return answer(response, 400, 'This belongs to no login that is under way.')
          answer(
            response,
            200,
            searchParams.has('error')
              ? 'You declined. You can close this page.'
              : 'Thank you. You can close this page; firehose-replay says in its terminal how it went.',
          )
          resolve(searchParams)
        })
      }),
    async [Symbol.asyncDispose]() {
      const closed = once(server, 'close')
      server.close()
      server.closeIdleConnections()
      // The browser may keep its connection open; its answer has long been sent.
      setTimeout(() => server.closeAllConnections(), 200).unref()
      await closed
    },
  }
}

function answer(response: ServerResponse, status: number, text: string): void {
  response.writeHead(status, {
    'content-type': 'text/plain; charset=utf-8',
    'cache-control': 'no-store',
    'referrer-policy': 'no-referrer',
    connection: 'close',
  })
  response.end(`${text}\n`)
}
