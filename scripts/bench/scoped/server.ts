/**
 * A relay and a PLC directory in a process of their own: sends prepared frames to whoever subscribes, as fast as they
 * are taken. One frame in as many as there are accounts is the wanted account's. Runs until its parent lets go of it.
 */

import { createHash } from 'node:crypto'
import type { Duplex } from 'node:stream'
import { createDirectory, listen } from '../firehose/directory.ts'
import { FIRST_SEQ, type PreparedFrame, scopedInput } from './frames.ts'
import type { ScopedReady, ScopedRequest } from './server-process.ts'

const ACCEPT_GUID = '258EAFA5-E914-47DA-95CA-C5AB0DC85B11'
/** Buffers that may be on their way while the next is being made. */
const ROTATING = 4

/** Frames as they go over the wire, one after the other, and where the seq of each is. */
interface Block {
  bytes: Buffer
  seqsAt: number[]
}

function blockOf(frames: readonly PreparedFrame[]): Block {
  const parts: Buffer[] = []
  const seqsAt: number[] = []
  let length = 0
  for (const { bytes, seqAt } of frames) {
    const header = Buffer.alloc(4)
    header[0] = 0x82
    header[1] = 126
    header.writeUInt16BE(bytes.length, 2)
    parts.push(header, bytes)
    seqsAt.push(length + 4 + seqAt)
    length += 4 + bytes.length
  }
  return { bytes: Buffer.concat(parts), seqsAt }
}

async function serve({ accounts, rounds }: ScopedRequest): Promise<ScopedReady> {
  const { wanted, own, others, didDocuments } = await scopedInput(accounts, rounds)
  const blocks = Array.from({ length: ROTATING }, () => blockOf(others))
  const ownBlocks = own.map((frame) => blockOf([frame]))
  const http = createDirectory(didDocuments)
  http.on('upgrade', (request, socket) => {
    const key = request.headers['sec-websocket-key'] ?? ''
    const accept = createHash('sha1').update(`${key}${ACCEPT_GUID}`).digest('base64')
    socket.write(
      `HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ${accept}\r\n\r\n`,
    )
    // Whoever has seen enough goes away without a word.
    socket.on('error', () => undefined)
    socket.on('data', () => undefined)
    void send(socket)
  })

  async function send(socket: Duplex): Promise<void> {
    let seq = FIRST_SEQ
    const sent = Array.from({ length: ROTATING }, () => Promise.resolve())
    for (const [round, ownBlock] of ownBlocks.entries()) {
      const turn = round % ROTATING
      const block = blocks[turn]
      await sent[turn]
      if (block === undefined || socket.destroyed) return
      for (const at of block.seqsAt) block.bytes.writeUInt32BE(++seq, at)
      for (const at of ownBlock.seqsAt) ownBlock.bytes.writeUInt32BE(++seq, at)
      socket.write(block.bytes)
      sent[turn] = new Promise((resolve) => socket.write(ownBlock.bytes, () => resolve()))
    }
  }

  const port = await listen(http)
  const frames = accounts * rounds
  const ownBytes = ownBlocks.reduce((sum, { bytes }) => sum + bytes.length, 0)
  const bytes = ownBytes + rounds * (blocks[0]?.bytes.length ?? 0)
  return { port, wanted, frames, bytes, lastSeq: FIRST_SEQ + frames }
}

process.on('message', async (request: ScopedRequest) => {
  process.send?.(await serve(request))
})
process.on('disconnect', () => process.exit(0))
