import { randomUUID } from 'node:crypto'
import { closeSync, openSync, readSync, unlinkSync, writeSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { messageOf, UnavailableError } from '../errors.ts'

const FIRST_BYTES = 1024 ** 2

/**
 * Bytes that are only appended to, and read back by place. States: in memory; in a file, once there are more than
 * `memoryBytes`; closed. The file has mode 600 and loses its name as soon as it is open, so that nothing of it is
 * left behind however the process ends.
 *
 * Reads and writes are synchronous: what was written is in the system's cache as a rule, and whoever walks a tree
 * block by block would pay more for the promises than for the reads.
 */
export class Spool {
  readonly #memoryBytes: number
  #memory: Buffer | undefined
  #file: number | undefined
  #length = 0
  #isClosed = false

  /** @param memoryBytes beyond which the bytes go to disk; Infinity: never */
  constructor(memoryBytes: number) {
    this.#memoryBytes = memoryBytes
  }

  get length(): number {
    return this.#length
  }

  get isOnDisk(): boolean {
    return this.#file !== undefined
  }

  /** @throws UnavailableError when the disk does not take it */
  append(bytes: Uint8Array): void {
    if (this.#isClosed) throw new Error('A spool that is closed cannot be appended to.')
    if (this.#file === undefined && this.#length + bytes.length > this.#memoryBytes) this.#moveToDisk()
    if (this.#file === undefined) this.#room(bytes.length).set(bytes, this.#length)
    else writeAll(this.#file, bytes, this.#length)
    this.#length += bytes.length
  }

  /** A view or a copy; not to be written to. */
  read(offset: number, length: number): Uint8Array {
    if (this.#file === undefined) {
      if (this.#memory === undefined) throw new Error('A spool that is closed or empty cannot be read.')
      return this.#memory.subarray(offset, offset + length)
    }
    const bytes = Buffer.allocUnsafe(length)
    let done = 0
    while (done < length) {
      const count = readSync(this.#file, bytes, done, length - done, offset + done)
      if (count === 0) throw new Error('The spool is shorter than what was written to it.')
      done += count
    }
    return bytes
  }

  /** Safe to call again. */
  close(): void {
    this.#isClosed = true
    this.#memory = undefined
    if (this.#file !== undefined) closeSync(this.#file)
    this.#file = undefined
  }

  #room(length: number): Buffer {
    const needed = this.#length + length
    const memory = this.#memory ?? Buffer.allocUnsafe(Math.max(FIRST_BYTES, needed))
    this.#memory = memory
    if (needed <= memory.length) return memory
    const grown = Buffer.allocUnsafe(Math.max(memory.length * 2, needed))
    memory.copy(grown, 0, 0, this.#length)
    this.#memory = grown
    return grown
  }

  #moveToDisk(): void {
    const path = join(tmpdir(), `firehose-replay-${randomUUID()}.car`)
    try {
      // Exclusive: nobody can have put a file or a link of this name there before.
      this.#file = openSync(path, 'wx+', 0o600)
      unlinkSync(path)
    } catch (error) {
      throw noDisk(error)
    }
    if (this.#memory !== undefined) writeAll(this.#file, this.#memory.subarray(0, this.#length), 0)
    this.#memory = undefined
  }
}

function writeAll(file: number, bytes: Uint8Array, offset: number): void {
  try {
    let done = 0
    while (done < bytes.length) done += writeSync(file, bytes, done, bytes.length - done, offset + done)
  } catch (error) {
    throw noDisk(error)
  }
}

function noDisk(error: unknown): UnavailableError {
  return new UnavailableError(`The repository could not be kept in ${tmpdir()}: ${messageOf(error)}`, {
    hint: 'Make room there, or name another folder in TMPDIR, then run it again.',
    cause: error,
  })
}
