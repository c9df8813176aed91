import { once } from 'node:events'
import { createServer } from 'node:net'

/**
 * A TCP port that is free at this moment. Another process may take it before it is used; the servers that can ask
 * for port 0 do that instead.
 */
export async function freePort(): Promise<number> {
  const server = createServer().listen(0)
  await once(server, 'listening')
  const address = server.address()
  server.close()
  await once(server, 'close')
  if (address === null || typeof address === 'string') throw new Error('A TCP server has no port.')
  return address.port
}
