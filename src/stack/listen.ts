import { once } from 'node:events'
import type { Server } from 'node:net'
import type { Cleanup } from './cleanup.ts'

/** Listens on a free port of 127.0.0.1 until `cleanup` runs, which also cuts open connections. Returns the port. */
export async function listenOnLoopback(server: Server, cleanup: Cleanup): Promise<number> {
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  cleanup.defer(() => closeServer(server))
  const address = server.address()
  if (address === null || typeof address === 'string') throw new Error('A TCP server has no port.')
  return address.port
}

async function closeServer(server: Server): Promise<void> {
  const closed = once(server, 'close')
  server.close()
  // Keep-alive connections of clients would hold the server open for as long as they please.
  if ('closeAllConnections' in server && typeof server.closeAllConnections === 'function') {
    server.closeAllConnections()
  }
  await closed
}
