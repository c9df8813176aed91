import { VerificationError } from '../errors.ts'

/** Opcodes of RFC 6455, section 5.2. */
const CONTINUATION = 0
const TEXT = 1
const BINARY = 2
const CLOSE = 8
const PING = 9
const PONG = 10
/** Two bytes, and eight more for the longest length: a server's frames carry no mask. */
const MAX_HEADER_BYTES = 10
/** Of RFC 6455, section 5.5. */
const MAX_CONTROL_BYTES = 125

/** A message that is longer than it may be; it was not received. */
export class MessageTooLongError extends VerificationError {}

export interface MessageHandlers {
  /** A whole message that holds the needle. Its own copy. */
  onMatch(message: Buffer): void
  onPing(payload: Buffer): void
  onPong(): void
  onClose(): void
}

/**
 * Cuts what a WebSocket server sends into messages and passes on only those that hold some bytes. The others are
 * neither copied nor looked at twice: a chunk is searched as a whole, and of most messages only the header is read.
 * That is what lets one account be picked from a relay's stream at nearly the speed of the socket.
 */
export class MessageFilter {
  readonly #needle: Buffer
  readonly #handlers: MessageHandlers
  readonly #maxMessageBytes: number
  /** What the server has to say about the subscription itself comes before all else. */
  #first: Buffer | undefined
  /** The last whole message, whatever it holds: it says how far the stream has come. */
  readonly #last = new Scratch()
  /** Where in what is being cut the last whole message lies. */
  #lastAt = 0
  #lastEnd = 0
  #messageCount = 0
  /** A frame of which a part has been received. */
  readonly #held = new Scratch()
  /** Of a message sent in fragments: as one piece, because a relay may send them empty and without end. */
  #fragments: Scratch | undefined
  // Of the header read last; fields, because an object for each of a million frames a second would be felt.
  #opcode = 0
  #isFinal = false
  #payloadAt = 0
  #end = 0

  /** @param maxMessageBytes a longer message is refused before it is received. @defaultValue 16 MiB */
  constructor(needle: Buffer, handlers: MessageHandlers, maxMessageBytes = 16 * 1024 ** 2) {
    this.#needle = needle
    this.#handlers = handlers
    this.#maxMessageBytes = maxMessageBytes
  }

  get messageCount(): number {
    return this.#messageCount
  }

  get first(): Buffer | undefined {
    return this.#first
  }

  /** Good until the next chunk is pushed. */
  get last(): Buffer | undefined {
    return this.#messageCount === 0 ? undefined : this.#last.bytes
  }

  /**
   * What is kept of the chunk is copied: its memory may be used for the next.
   *
   * @throws VerificationError when it is not what a WebSocket server sends, or a message is too long
   */
  push(chunk: Buffer): void {
    let offset = this.#held.bytes.length === 0 ? 0 : this.#completeHeld(chunk)
    if (offset >= chunk.length) return
    let match = chunk.indexOf(this.#needle, offset)
    while (this.#readHeader(chunk, offset) && this.#end <= chunk.length) {
      if (match !== -1 && match < this.#payloadAt) match = chunk.indexOf(this.#needle, this.#payloadAt)
      const isMatch = match !== -1 && match + this.#needle.length <= this.#end
      this.#take(chunk, isMatch)
      offset = this.#end
    }
    this.#keepLast(chunk)
    if (offset < chunk.length) this.#held.append(chunk.subarray(offset))
  }

  /** Once for each chunk: a view of each message that is dropped would cost as much as finding it. */
  #keepLast(bytes: Buffer): void {
    if (this.#lastEnd === 0) return
    this.#last.clear()
    this.#last.append(bytes.subarray(this.#lastAt, this.#lastEnd))
    this.#lastEnd = 0
  }

  /** @returns how much of the chunk belongs to the frame that was held */
  #completeHeld(chunk: Buffer): number {
    const held = this.#held
    const before = held.bytes.length
    // Enough to know the frame's length; of a tiny frame it may be too much.
    const peeked = Math.min(chunk.length, Math.max(0, MAX_HEADER_BYTES - before))
    held.append(chunk.subarray(0, peeked))
    const isKnown = this.#readHeader(held.bytes, 0)
    if (!isKnown || this.#end > before + chunk.length) {
      held.append(chunk.subarray(peeked))
      return chunk.length
    }
    held.append(chunk.subarray(peeked, Math.max(peeked, this.#end - before)))
    const frame = held.bytes.subarray(0, this.#end)
    held.clear()
    this.#take(frame, frame.includes(this.#needle, this.#payloadAt))
    this.#keepLast(frame)
    return this.#end - before
  }

  /** false: more bytes are needed to know where the payload begins. */
  #readHeader(bytes: Buffer, at: number): boolean {
    if (at + 2 > bytes.length) return false
    const first = bytes[at] ?? 0
    const second = bytes[at + 1] ?? 0
    if ((first & 0x70) !== 0 || (second & 0x80) !== 0) throw notWebSocket('a frame that was not agreed on')
    if ((first & 0x08) !== 0 && (second > MAX_CONTROL_BYTES || (first & 0x80) === 0))
      throw notWebSocket('a control frame that is too long or cut')
    this.#opcode = first & 0x0f
    this.#isFinal = (first & 0x80) !== 0
    let length = second
    let payloadAt = at + 2
    if (length >= 126) {
      payloadAt += length === 126 ? 2 : 8
      if (payloadAt > bytes.length) return false
      length = length === 126 ? bytes.readUInt16BE(at + 2) : Number(bytes.readBigUInt64BE(at + 2))
    }
    if (length > this.#maxMessageBytes) throw this.#tooLong()
    this.#payloadAt = payloadAt
    this.#end = payloadAt + length
    return true
  }

  /** The frame whose header was read last, which is whole. */
  #take(bytes: Buffer, isMatch: boolean): void {
    if (this.#opcode === BINARY && this.#isFinal && this.#fragments === undefined) {
      this.#first ??= Buffer.from(bytes.subarray(this.#payloadAt, this.#end))
      this.#messageCount++
      this.#lastAt = this.#payloadAt
      this.#lastEnd = this.#end
      if (isMatch) this.#handlers.onMatch(Buffer.from(bytes.subarray(this.#payloadAt, this.#end)))
      return
    }
    const payload = bytes.subarray(this.#payloadAt, this.#end)
    switch (this.#opcode) {
      case CONTINUATION:
      case TEXT:
      case BINARY:
        this.#takeFragment(payload)
        return
      case CLOSE:
        this.#handlers.onClose()
        return
      case PING:
        this.#handlers.onPing(Buffer.from(payload))
        return
      case PONG:
        this.#handlers.onPong()
        return
      default:
        throw notWebSocket('a frame of an unknown kind')
    }
  }

  #takeFragment(payload: Buffer): void {
    const isFirst = this.#opcode !== CONTINUATION
    if (isFirst === (this.#fragments !== undefined)) throw notWebSocket('fragments out of order')
    const fragments = this.#fragments ?? new Scratch()
    if (fragments.bytes.length + payload.length > this.#maxMessageBytes) throw this.#tooLong()
    fragments.append(payload)
    this.#fragments = this.#isFinal ? undefined : fragments
    if (!this.#isFinal) return
    this.#messageCount++
    const message = Buffer.from(fragments.bytes)
    this.#first ??= message
    this.#lastAt = 0
    this.#lastEnd = message.length
    this.#keepLast(message)
    if (message.includes(this.#needle)) this.#handlers.onMatch(message)
  }

  #tooLong(): MessageTooLongError {
    return new MessageTooLongError(`The relay sends a message of more than ${this.#maxMessageBytes} bytes`, {
      hint: "No frame of a firehose is that long. Use another relay, or replay from the account's repo.",
    })
  }
}

/** Bytes that are overwritten again and again: memory for each would have to be found and given back. */
class Scratch {
  #room = Buffer.allocUnsafe(16 * 1024)
  #length = 0

  /** Good until the next change. */
  get bytes(): Buffer {
    return this.#room.subarray(0, this.#length)
  }

  append(bytes: Buffer): void {
    const length = this.#length + bytes.length
    if (length > this.#room.length) {
      const room = Buffer.allocUnsafe(Math.max(length, 2 * this.#room.length))
      this.#room.copy(room, 0, 0, this.#length)
      this.#room = room
    }
    bytes.copy(this.#room, this.#length)
    this.#length = length
  }

  clear(): void {
    this.#length = 0
  }
}

function notWebSocket(what: string): VerificationError {
  return new VerificationError(`The relay sends ${what} on its WebSocket`, {
    hint: 'Check that the address is that of a relay or PDS, and that no proxy changes what it sends.',
  })
}
