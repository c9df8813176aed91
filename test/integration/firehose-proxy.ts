import { once } from 'node:events'
import { connect, createServer, type Socket } from 'node:net'

export interface FirehoseProxy extends AsyncDisposable {
  /** For `service`, in place of the PDS's own address. */
  url: string
  /** What is sent in place of a message; undefined: nothing. Messages pass unchanged by default. */
  change: (message: Buffer) => Buffer | undefined
  /** Query strings of the connections so far. */
  queries: string[]
  /** Breaks all connections; new ones are taken. */
  cut(): void
}

/**
 * A WebSocket proxy before a PDS. Messages of a server are not masked, so they can be changed on their way; calls of
 * other kinds pass.
 */
export async function startFirehoseProxy(pdsUrl: string): Promise<FirehoseProxy> {
  const { hostname, port } = new URL(pdsUrl)
  const sockets = new Set<Socket>()
  const server = createServer((client) => {
    const upstream = connect(Number(port), hostname)
    for (const socket of [client, upstream]) {
      sockets.add(socket)
      socket.on('close', () => sockets.delete(socket))
      socket.on('error', () => undefined)
    }
    client.on('close', () => upstream.destroy())
    upstream.on('close', () => client.destroy())
    client.once('data', (head: Buffer) => {
      const request = head.toString('latin1')
      if (!/^upgrade: *websocket/im.test(request)) {
        upstream.write(head)
        client.pipe(upstream)
        upstream.pipe(client)
        return
      }
      upstream.on('data', changed)
      proxy.queries.push(/\?(\S*)/.exec(request)?.[1] ?? '')
      // A compressed message could not be changed here.
      upstream.write(request.replace(/^sec-websocket-extensions:.*\r\n/im, ''), 'latin1')
      client.on('data', (chunk) => upstream.write(chunk))
    })
    const reader = new FrameReader()
    const changed = (chunk: Buffer): void => {
      for (const part of reader.push(chunk)) {
        const message = 'raw' in part ? undefined : proxy.change(part.message)
        if ('raw' in part) client.write(part.raw)
        else if (message !== undefined) client.write(framed(message))
      }
    }
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  if (address === null || typeof address === 'string') throw new Error('A TCP server has no port.')
  const cut = () => {
    for (const socket of sockets) socket.destroy()
  }
  const proxy: FirehoseProxy = {
    url: `ws://127.0.0.1:${address.port}`,
    change: (message) => message,
    queries: [],
    cut,
    async [Symbol.asyncDispose]() {
      const closed = once(server, 'close')
      server.close()
      cut()
      await closed
    },
  }
  return proxy
}

type Part = { raw: Buffer } | { message: Buffer }

/** Cuts what a server sends into the answer to the upgrade, control frames, and messages. */
class FrameReader {
  #rest = Buffer.alloc(0)
  #isUpgraded = false

  #take(length: number): Buffer {
    const taken = this.#rest.subarray(0, length)
    this.#rest = this.#rest.subarray(length)
    return taken
  }

  *push(chunk: Buffer): Generator<Part> {
    this.#rest = Buffer.concat([this.#rest, chunk])
    if (!this.#isUpgraded) {
      const end = this.#rest.indexOf('\r\n\r\n')
      if (end === -1) return
      this.#isUpgraded = true
      yield { raw: this.#take(end + 4) }
    }
    for (;;) {
      const header = headerOf(this.#rest)
      if (header === undefined || this.#rest.length < header.bytes + header.payloadBytes) return
      const frame = this.#take(header.bytes + header.payloadBytes)
      yield header.isMessage ? { message: frame.subarray(header.bytes) } : { raw: frame }
    }
  }
}

const BINARY = 2

function headerOf(bytes: Buffer): { bytes: number; payloadBytes: number; isMessage: boolean } | undefined {
  const [first, second] = bytes
  if (first === undefined || second === undefined) return undefined
  const isMessage = (first & 0x0f) === BINARY
  const length = second & 0x7f
  if (length < 126) return { bytes: 2, payloadBytes: length, isMessage }
  if (length === 126)
    return bytes.length < 4 ? undefined : { bytes: 4, payloadBytes: bytes.readUInt16BE(2), isMessage }
  return bytes.length < 10
    ? undefined
    : { bytes: 10, payloadBytes: Number(bytes.readBigUInt64BE(2)), isMessage }
}

function framed(message: Buffer): Buffer {
  const header = Buffer.alloc(10)
  header[0] = 0x80 | BINARY
  header[1] = 127
  header.writeBigUInt64BE(BigInt(message.length), 2)
  return Buffer.concat([header, message])
}
