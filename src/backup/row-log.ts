import { randomBytes } from 'node:crypto'
import { closeSync, mkdirSync, openSync, readSync, unlinkSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { messageOf, SnapshotError } from '../errors.ts'

/** The values of a row, in an order that whoever keeps the log knows. */
export type Values = readonly (string | null)[]

/** Rows that are only appended to, and read again in that order as often as need be, also while more are appended. */
export interface RowLog {
  readonly length: number
  /** Where the next row will be: of use to `read` alone. */
  readonly end: number
  append(values: Values): void
  /** Rows from one place to another; 0 is the first. */
  read(from: number, to: number): Generator<Values, undefined>
}

/** Makes logs, and takes away what they leave. */
export interface RowLogs {
  open(): RowLog
  close(): void
}

/** In memory: for accounts that fit. */
export function memoryLogs(): RowLogs {
  return {
    open() {
      const rows: Values[] = []
      return {
        get length() {
          return rows.length
        },
        get end() {
          return rows.length
        },
        append(values) {
          rows.push(values)
        },
        *read(from, to): Generator<Values, undefined> {
          for (let index = from; index < to; index++) yield rows[index] ?? []
        },
      }
    },
    close: () => undefined,
  }
}

/**
 * In files of a folder, and beside the snapshot that they become rather than in the temporary folder, which may be
 * memory. Each has mode 600 and loses its name as soon as it is open: nothing is left behind however the process ends.
 *
 * @param folder is made where it is not there
 * @throws SnapshotError when the disk does not take the rows
 */
export function fileLogs(folder: string): RowLogs {
  const files: FileLog[] = []
  return {
    open() {
      const log = new FileLog(folder)
      files.push(log)
      return log
    },
    close() {
      for (const file of files.splice(0)) file.close()
    },
  }
}

const CHUNK_BYTES = 1 << 17
const NEWLINE = 0x0a

/** A row to a line, as JSON. */
class FileLog implements RowLog {
  length = 0
  readonly #folder: string
  readonly #file: number
  #written = 0
  #open: string[] = []
  #openBytes = 0

  constructor(folder: string) {
    this.#folder = folder
    const path = join(folder, `.rows-${randomBytes(6).toString('hex')}.tmp`)
    this.#file = this.#onDisk(() => {
      mkdirSync(folder, { recursive: true, mode: 0o700 })
      // Exclusive: nobody can have put a file or a link of this name there before.
      const file = openSync(path, 'wx+', 0o600)
      unlinkSync(path)
      return file
    })
  }

  get end(): number {
    return this.#written + this.#openBytes
  }

  append(values: Values): void {
    const line = `${JSON.stringify(values)}\n`
    this.#open.push(line)
    this.#openBytes += Buffer.byteLength(line)
    this.length++
    if (this.#openBytes >= CHUNK_BYTES) this.#flush()
  }

  *read(from: number, to: number): Generator<Values, undefined> {
    this.#flush()
    let rest: Buffer = Buffer.alloc(0)
    for (let position = from; position < to; ) {
      // Longer with each look for the end of a line that is longer than a chunk.
      const chunk = Buffer.allocUnsafe(Math.min(CHUNK_BYTES + rest.length, to - position))
      const count = this.#onDisk(() => readSync(this.#file, chunk, 0, chunk.length, position))
      if (count === 0) throw new Error('The rows kept on disk are fewer than were written.')
      position += count
      const bytes = Buffer.concat([rest, chunk.subarray(0, count)])
      const end = bytes.lastIndexOf(NEWLINE)
      rest = bytes.subarray(end + 1)
      for (const line of linesOf(bytes.toString('utf8', 0, end + 1))) yield JSON.parse(line)
    }
  }

  close(): void {
    closeSync(this.#file)
  }

  #flush(): void {
    const bytes = Buffer.from(this.#open.join(''))
    this.#open = []
    this.#openBytes = 0
    for (let done = 0; done < bytes.length; ) {
      const count = this.#onDisk(() => writeSync(this.#file, bytes, done, bytes.length - done, this.#written))
      done += count
      this.#written += count
    }
  }

  #onDisk<T>(act: () => T): T {
    try {
      return act()
    } catch (cause) {
      throw new SnapshotError(`Rows cannot be kept in ${this.#folder}: ${messageOf(cause)}`, {
        hint: 'Give a path in a folder that can be written and has room for twice the snapshot, then run again.',
        cause,
      })
    }
  }
}

function* linesOf(text: string): Generator<string, undefined> {
  let start = 0
  for (let end = text.indexOf('\n'); end !== -1; end = text.indexOf('\n', start)) {
    yield text.slice(start, end)
    start = end + 1
  }
}
