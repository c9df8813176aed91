/**
 * A relay and a PLC directory in a process of their own: sends prepared frames to whoever subscribes, as fast as they
 * are taken, and stays connected. Runs until its parent lets go of it.
 */

import { once } from 'node:events'
import type { IncomingMessage } from 'node:http'
import { type Frame, XrpcStreamServer } from '@atproto/xrpc-server'
import { createDirectory, listen } from '../firehose/directory.ts'
import { firehoseInput } from './frames.ts'
import type { FirehoseReady, FirehoseRequest } from './server-process.ts'

async function serve({ accounts, commitsEach }: FirehoseRequest): Promise<FirehoseReady> {
  const { messages, didDocuments } = await firehoseInput(accounts, commitsEach)
  const http = createDirectory(didDocuments)
  new XrpcStreamServer({
    server: http,
    async *handler(_request: IncomingMessage, signal: AbortSignal) {
      // The server only asks a frame for its bytes.
      for (const bytes of messages) yield { toBytes: () => bytes } as unknown as Frame
      await once(signal, 'abort')
    },
  })
  const port = await listen(http)
  const bytes = messages.reduce((sum, message) => sum + message.length, 0)
  return { port, frames: messages.length, bytes }
}

process.on('message', async (request: FirehoseRequest) => {
  process.send?.(await serve(request))
})
process.on('disconnect', () => process.exit(0))
