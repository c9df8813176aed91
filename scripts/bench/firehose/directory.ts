import { once } from 'node:events'
import { createServer, type Server } from 'node:http'

/** A PLC directory, on whose port a firehose can be served too. @param didDocuments by DID */
export function createDirectory(didDocuments: Readonly<Record<string, object>>): Server {
  return createServer((request, response) => {
    const document = didDocuments[decodeURIComponent(request.url?.slice(1) ?? '')]
    response.writeHead(document === undefined ? 404 : 200, { 'content-type': 'application/json' })
    response.end(JSON.stringify(document ?? {}))
  })
}

/** @returns the port of this machine that it listens on */
export async function listen(server: Server): Promise<number> {
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  if (address === null || typeof address === 'string') throw new Error('A TCP server has no port.')
  return address.port
}
