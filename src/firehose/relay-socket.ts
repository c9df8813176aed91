import { createHash, randomBytes } from 'node:crypto'
import { connect as connectTcp, type NetConnectOpts, type Socket } from 'node:net'
import { connect as connectTls } from 'node:tls'
import { ConfigError, messageOf, type ReplayError, UnavailableError } from '../errors.ts'

/** Of RFC 6455, section 1.3. */
const ACCEPT_GUID = '258EAFA5-E914-47DA-95CA-C5AB0DC85B11'
const HANDSHAKE_TIMEOUT_MS = 30_000
const MAX_HEAD_BYTES = 16 * 1024
/** What one read may bring. As much as stays in a core's own cache, where it is searched at once. */
const READ_BYTES = 64 * 1024
/** Pongs that may wait for a relay which does not read: it might ping for ever. */
const MAX_UNSENT_BYTES = 16 * 1024

export interface RelaySocketOptions {
  /** As `wss://relay.example`. */
  service: string
  path: string
  /**
   * Given what has come, in a buffer that is used again for what comes next: what is to be kept is copied. Returns
   * false when nothing more may come until `resume`. What it throws ends the connection, and is thrown by `wait`.
   */
  onBytes: (bytes: Buffer) => boolean
  /** How long the other side may take to agree to be a WebSocket, in milliseconds. @defaultValue 30000 */
  handshakeTimeoutMs?: number
  signal?: AbortSignal
}

/** A WebSocket connection. What comes over it goes to `onBytes`, as it comes; MessageFilter cuts it. */
export interface RelaySocket {
  /**
   * Resolves as soon as `wake` is called, and after `ms` otherwise: `silent` when nothing has come in that time.
   * `ended`: nothing will come any more.
   *
   * @throws UnavailableError when the connection breaks; what `onBytes` threw; the signal's reason
   */
  wait(ms: number): Promise<'woken' | 'passed' | 'silent' | 'ended'>
  wake(): void
  resume(): void
  ping(): void
  pong(payload: Buffer): void
  close(): void
}

/**
 * Opens a WebSocket without extensions. Our own because the clients at hand hand over message by message, with a copy
 * and an event for each, and what a replay drops is nearly everything. All reads share one buffer: with one for each,
 * as sockets do otherwise, memory management takes as long as the search.
 *
 * @throws UnavailableError: not reachable now. ConfigError: what answers is no firehose
 */
export async function openRelaySocket(options: RelaySocketOptions): Promise<RelaySocket> {
  options.signal?.throwIfAborted()
  const connection = new Connection(options)
  try {
    await connection.opened
    return connection
  } catch (error) {
    connection.close()
    throw error
  }
}

class Connection implements RelaySocket {
  /** Resolves when the other side has agreed to be a WebSocket. */
  readonly opened: Promise<void>
  readonly #url: URL
  readonly #options: RelaySocketOptions
  readonly #socket: Socket
  readonly #key = randomBytes(16).toString('base64')
  /** The answer to the handshake, while it is not whole. */
  #head: Buffer | undefined = Buffer.alloc(0)
  #settleOpened: (error?: unknown) => void = () => undefined
  #hasRead = false
  #isEnded = false
  #isWoken = false
  #error: unknown
  #notify: () => void = () => undefined

  constructor(options: RelaySocketOptions) {
    this.#options = options
    this.#url = new URL(options.path, options.service.replace(/^ws/, 'http'))
    this.opened = new Promise((resolve, reject) => {
      this.#settleOpened = (error) => (error === undefined ? resolve() : reject(error))
    })
    const { handshakeTimeoutMs = HANDSHAKE_TIMEOUT_MS } = options
    const timer = setTimeout(
      () => this.#fail(unreachable(this.#url.host, `no answer within ${handshakeTimeoutMs} ms`)),
      handshakeTimeoutMs,
    )
    this.opened.catch(() => undefined).finally(() => clearTimeout(timer))
    this.#socket = this.#connect()
    options.signal?.addEventListener('abort', this.#abort, { once: true })
  }

  #connect(): Socket {
    const { protocol, hostname, port } = this.#url
    const isSecure = protocol === 'https:'
    const host = hostname.replace(/^\[|\]$/g, '')
    const to: NetConnectOpts = {
      host,
      port: Number(port) || (isSecure ? 443 : 80),
      onread: {
        buffer: Buffer.allocUnsafe(READ_BYTES),
        callback: (length, buffer) =>
          this.#onBytes(Buffer.from(buffer.buffer, buffer.byteOffset, Number(length))),
      },
    }
    const socket = isSecure ? connectTls({ ...to, servername: host }) : connectTcp(to)
    socket.once(isSecure ? 'secureConnect' : 'connect', () => socket.write(this.#request()))
    socket.on('error', (error) => this.#fail(unreachable(this.#url.host, messageOf(error), error)))
    for (const event of ['end', 'close']) socket.on(event, () => this.#end())
    return socket
  }

  #request(): string {
    const { pathname, search, host } = this.#url
    return [
      `GET ${pathname}${search} HTTP/1.1`,
      `Host: ${host}`,
      'Connection: Upgrade',
      'Upgrade: websocket',
      'Sec-WebSocket-Version: 13',
      `Sec-WebSocket-Key: ${this.#key}`,
      '\r\n',
    ].join('\r\n')
  }

  #onBytes(bytes: Buffer): boolean {
    this.#hasRead = true
    try {
      const body = this.#head === undefined ? bytes : this.#readHead(bytes)
      return body.length === 0 || this.#options.onBytes(body)
    } catch (error) {
      this.#fail(error)
      return false
    }
  }

  /** @returns what follows the answer to the handshake */
  #readHead(bytes: Buffer): Buffer {
    const head = Buffer.concat([this.#head ?? bytes, bytes])
    const end = head.indexOf('\r\n\r\n')
    if (end === -1 && head.length > MAX_HEAD_BYTES) throw notRelay(this.#url, 'it does not speak HTTP')
    this.#head = end === -1 ? head : undefined
    if (end === -1) return Buffer.alloc(0)
    const [statusLine = '', ...fields] = head.toString('latin1', 0, end).split('\r\n')
    const status = Number(/^HTTP\/1\.1 (\d{3})/.exec(statusLine)?.[1])
    if (status !== 101) throw refusal(this.#url, status)
    const accept = createHash('sha1').update(`${this.#key}${ACCEPT_GUID}`).digest('base64')
    const answer = fields.map((field) => /^sec-websocket-accept:\s*(\S+)/i.exec(field)?.[1]).find(Boolean)
    if (answer !== accept) throw notRelay(this.#url, 'its answer to the handshake is wrong')
    this.#settleOpened()
    return head.subarray(end + 4)
  }

  readonly #abort = (): void => {
    this.#fail(this.#options.signal?.reason)
  }

  #fail(error: unknown): void {
    this.#error ??= error
    this.#socket.destroy()
    this.#end()
  }

  #end(): void {
    this.#isEnded = true
    this.#settleOpened(this.#error ?? unreachable(this.#url.host, 'it closed the connection'))
    this.#notify()
  }

  async wait(ms: number): Promise<'woken' | 'passed' | 'silent' | 'ended'> {
    this.#hasRead = false
    if (!this.#isWoken && !this.#isEnded) await this.#pause(ms)
    const { signal } = this.#options
    if (signal?.aborted) throw signal.reason
    // First what came before the end.
    if (this.#isWoken) {
      this.#isWoken = false
      return 'woken'
    }
    if (this.#error !== undefined) throw this.#error
    if (this.#isEnded) return 'ended'
    return this.#hasRead ? 'passed' : 'silent'
  }

  async #pause(ms: number): Promise<void> {
    let timer: NodeJS.Timeout | undefined
    await new Promise<void>((resolve) => {
      timer = setTimeout(resolve, ms)
      this.#notify = resolve
    })
    clearTimeout(timer)
  }

  wake(): void {
    this.#isWoken = true
    this.#notify()
  }

  resume(): void {
    this.#socket.resume()
  }

  ping(): void {
    this.#send(0x89, Buffer.alloc(0))
  }

  pong(payload: Buffer): void {
    // The next one answers for those before it (RFC 6455, section 5.5.3).
    if (this.#socket.writableLength > MAX_UNSENT_BYTES) return
    this.#send(0x8a, payload.subarray(0, 125))
  }

  close(): void {
    this.#options.signal?.removeEventListener('abort', this.#abort)
    this.#socket.destroy()
  }

  /** A client's frames are masked; with zeros, as there is nothing in them that a proxy could mistake. */
  #send(first: number, payload: Buffer): void {
    if (!this.#socket.writable) return
    this.#socket.write(Buffer.concat([Buffer.from([first, 0x80 | payload.length, 0, 0, 0, 0]), payload]))
  }
}

function unreachable(host: string, problem: string, cause?: unknown): UnavailableError {
  return new UnavailableError(`The relay ${host} could not be reached: ${problem}`, {
    hint: `Try again later; if it stays so, check from this machine that ${host} answers.`,
    cause,
  })
}

function refusal(url: URL, status: number): ReplayError {
  if (status === 429 || status >= 500) {
    return new UnavailableError(`The relay ${url.host} answered ${status}`, {
      hint: `Try again later; ${url.host} ${status === 429 ? 'limits connections' : 'is overloaded or broken'}.`,
    })
  }
  return notRelay(url, Number.isNaN(status) ? 'it does not speak HTTP' : `it answered ${status}`)
}

function notRelay({ host }: URL, problem: string): ConfigError {
  return new ConfigError(`${host} does not serve a firehose: ${problem}.`, {
    hint: 'Give the address of a relay or PDS with --relay, as wss://bsky.network.',
  })
}

export function connectionClosed(): UnavailableError {
  return new UnavailableError('The relay closed the connection, or no longer answers.', {
    hint: 'Try again later, or replay from the repo.',
  })
}
