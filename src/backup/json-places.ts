/** Where things are in a JSON text of any size and layout, without reading more of it at a time than one of them. */

/** Bytes that are read by place. */
export interface Source {
  readonly sizeBytes: number
  /** Fills `into` from `position` on. @returns how many bytes it had; 0 at the end */
  read(into: Uint8Array, position: number): number
}

export function bytesSource(bytes: Uint8Array): Source {
  return {
    sizeBytes: bytes.length,
    read(into, position) {
      const part = bytes.subarray(position, position + into.length)
      into.set(part)
      return part.length
    },
  }
}

/** The text is not JSON, or ends before it should. */
export class JsonTextError extends Error {}

const QUOTE = 0x22
const COMMA = 0x2c
const COLON = 0x3a
const OPEN_LIST = 0x5b
const BACKSLASH = 0x5c
const CLOSE_LIST = 0x5d
const OPEN_OBJECT = 0x7b
const CLOSE_OBJECT = 0x7d
const END = -1

const CHUNK_BYTES = 1 << 17
/** Of one value that is taken out whole. Postgres holds at most 1 GB in a field; a JavaScript string, about half. */
const MAX_VALUE_BYTES = 2 ** 28

/** Goes forward through a JSON text. Only what is taken out by `value` is ever held. */
export class JsonScanner {
  readonly #source: Source
  readonly #chunk: Buffer
  /** Place of the chunk's first byte in the text. */
  #start: number
  #length = 0
  #next = 0

  constructor(source: Source, position = 0, chunkBytes = CHUNK_BYTES) {
    this.#source = source
    this.#chunk = Buffer.allocUnsafe(Math.max(1, Math.min(chunkBytes, source.sizeBytes - position)))
    this.#start = position
  }

  /** Of the next byte. */
  get position(): number {
    return this.#start + this.#next
  }

  /** Enters an object and gives each of its keys; the caller passes the value before asking for the next. */
  *keys(): Generator<string, undefined> {
    this.#expect(OPEN_OBJECT)
    if (this.#skips(CLOSE_OBJECT)) return
    do {
      const key = this.value()
      if (typeof key !== 'string') throw new JsonTextError('a key that is no text')
      this.#expect(COLON)
      yield key
    } while (this.#skips(COMMA))
    this.#expect(CLOSE_OBJECT)
  }

  /** Enters a list and stops before each of its items; the caller passes it before asking for the next. */
  *items(): Generator<undefined, undefined> {
    this.#expect(OPEN_LIST)
    if (this.#skips(CLOSE_LIST)) return
    do yield
    while (this.#skips(COMMA))
    this.#expect(CLOSE_LIST)
  }

  isAtList(): boolean {
    return this.#peek() === OPEN_LIST
  }

  isAtObject(): boolean {
    return this.#peek() === OPEN_OBJECT
  }

  /** The next value, parsed. @throws JsonTextError where it is none, or too large to be one of ours */
  value(): unknown {
    const from = this.skip()
    const length = this.position - from
    if (length > MAX_VALUE_BYTES) throw new JsonTextError(`a value of ${length} bytes`)
    const inChunk = from - this.#start
    if (inChunk >= 0) return parsed(this.#chunk.toString('utf8', inChunk, this.#next))
    const bytes = Buffer.allocUnsafe(length)
    for (let done = 0; done < length; ) {
      const count = this.#source.read(bytes.subarray(done), from + done)
      if (count === 0) throw new JsonTextError('the text became shorter')
      done += count
    }
    return parsed(bytes.toString('utf8'))
  }

  /** Passes the next value by its brackets and quotes alone. @returns where it begins */
  skip(): number {
    const first = this.#peek()
    const from = this.position
    if (first === QUOTE) this.#skipString()
    else if (first === OPEN_LIST || first === OPEN_OBJECT) this.#skipNested()
    else this.#skipLiteral()
    return from
  }

  /** @throws JsonTextError where something follows */
  end(): void {
    if (this.#peek() !== END) throw new JsonTextError('something after the end')
  }

  #skipNested(): void {
    let depth = 0
    do {
      const byte = this.#byte()
      if (byte === QUOTE) {
        this.#next--
        this.#skipString()
      } else if (byte === OPEN_LIST || byte === OPEN_OBJECT) depth++
      else if (byte === CLOSE_LIST || byte === CLOSE_OBJECT) depth--
      else if (byte === END) throw new JsonTextError('it ends inside a value')
    } while (depth > 0)
  }

  /** Byte by byte: what stands in most of these texts is JSON itself, where every other quote is escaped. */
  #skipString(): void {
    this.#next++
    for (;;) {
      if (this.#look() === END) throw new JsonTextError('it ends inside a text')
      const chunk = this.#chunk
      const end = this.#length
      let at = this.#next
      while (at < end) {
        const byte = chunk[at]
        if (byte === QUOTE) {
          this.#next = at + 1
          return
        }
        at += byte === BACKSLASH ? 2 : 1
      }
      this.#next = at
    }
  }

  #skipLiteral(): void {
    const from = this.position
    while (isLiteral(this.#look())) this.#next++
    if (this.position === from) throw new JsonTextError('no value where one should be')
  }

  #expect(byte: number): void {
    if (!this.#skips(byte)) throw new JsonTextError(`no "${String.fromCharCode(byte)}" where one should be`)
  }

  #skips(byte: number): boolean {
    if (this.#peek() !== byte) return false
    this.#next++
    return true
  }

  /** The next byte that is no white space. */
  #peek(): number {
    for (;;) {
      const byte = this.#look()
      if (byte !== 0x20 && byte !== 0x0a && byte !== 0x0d && byte !== 0x09) return byte
      this.#next++
    }
  }

  #look(): number {
    while (this.#next >= this.#length) if (!this.#fill()) return END
    return this.#chunk[this.#next] ?? END
  }

  #byte(): number {
    const byte = this.#look()
    this.#next++
    return byte
  }

  #fill(): boolean {
    this.#start += this.#length
    this.#next -= this.#length
    this.#length = this.#source.read(this.#chunk, this.#start)
    return this.#length > 0
  }
}

/** Letters, digits, signs: whether they make a value is for `JSON.parse` to say. */
function isLiteral(byte: number): boolean {
  return (
    byte > 0x20 && ![COMMA, COLON, QUOTE, OPEN_LIST, CLOSE_LIST, OPEN_OBJECT, CLOSE_OBJECT].includes(byte)
  )
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch (cause) {
    throw new JsonTextError('a value that is not JSON', { cause })
  }
}
