import { randomBytes } from 'node:crypto'
import { closeSync, fstatSync, openSync, readSync } from 'node:fs'
import { mkdir, open, rename, rm } from 'node:fs/promises'
import { dirname } from 'node:path'
import { messageOf, SnapshotError } from '../errors.ts'
import type { Source } from './json-places.ts'
import { parseSnapshot } from './parse-snapshot.ts'
import type { Snapshot } from './snapshot.ts'
import { snapshotText } from './snapshot-text.ts'

/** Rows are gathered to about this many characters before they are written: a row each would be a system call each. */
const CHUNK_CHARS = 1 << 18

/**
 * Writes the snapshot so that `path` holds either all of it or what it held before. Only its owner may read it (mode
 * 600; folders that have to be made, 700): it holds capabilities and personal columns.
 *
 * @throws SnapshotError when the file cannot be written
 */
export async function writeSnapshot(path: string, snapshot: Snapshot): Promise<void> {
  const temporary = `${path}.${randomBytes(6).toString('hex')}.tmp`
  try {
    await mkdir(dirname(path), { recursive: true, mode: 0o700 })
    await writeDurably(temporary, snapshotText(snapshot))
    await rename(temporary, path)
  } catch (cause) {
    // Where the folder could not be made there is nothing to remove, and rm says so even with `force`.
    await rm(temporary, { force: true }).catch(() => undefined)
    throw new SnapshotError(`The snapshot cannot be written to ${path}: ${messageOf(cause)}`, {
      hint: 'Give a path in a folder that can be written and has room, then run again.',
      did: snapshot.did,
      cause,
    })
  }
}

async function writeDurably(path: string, text: Iterable<string>): Promise<void> {
  const handle = await open(path, 'wx', 0o600)
  try {
    await handle.writeFile(chunks(text))
    await handle.sync()
  } finally {
    await handle.close()
  }
}

function* chunks(pieces: Iterable<string>): Generator<string> {
  let chunk = ''
  for (const piece of pieces) {
    chunk += piece
    if (chunk.length < CHUNK_CHARS) continue
    yield chunk
    chunk = ''
  }
  if (chunk !== '') yield chunk
}

/**
 * Reads a snapshot and believes nothing of it: shape, format version, counts and digest are checked. Its rows stay in
 * the file and are read from there at each walk over them; the file is held open for that, so a new snapshot that
 * takes its name does not disturb. What writes into it does, and is noticed.
 *
 * @throws SnapshotError when the file is missing, cut short, edited, or of another format version
 */
export async function readSnapshot(path: string): Promise<Snapshot> {
  const file = openFile(path)
  try {
    return parseSnapshot(file)
  } catch (error) {
    file.close()
    throw error
  }
}

/** Files whose snapshots nobody holds any more are closed. */
const forgotten = new FinalizationRegistry<number>((file) => closeSync(file))

function openFile(path: string): Source & { close(): void } {
  let file: number | undefined
  try {
    file = openSync(path, 'r')
    const { size, mtimeMs } = fstatSync(file)
    return new FileSource(path, { file, size, mtimeMs })
  } catch (cause) {
    if (file !== undefined) closeSync(file)
    throw unreadable(path, cause)
  }
}

interface OpenFile {
  file: number
  size: number
  mtimeMs: number
}

class FileSource implements Source {
  readonly sizeBytes: number
  readonly #path: string
  readonly #opened: OpenFile

  constructor(path: string, opened: OpenFile) {
    this.sizeBytes = opened.size
    this.#path = path
    this.#opened = opened
    forgotten.register(this, opened.file, this)
  }

  read(into: Uint8Array, position: number): number {
    const { file, size, mtimeMs } = this.#opened
    try {
      const now = fstatSync(file)
      if (now.size !== size || now.mtimeMs !== mtimeMs) throw new Error('it was changed while it was read')
      return readSync(file, into, 0, into.length, position)
    } catch (cause) {
      throw unreadable(this.#path, cause)
    }
  }

  close(): void {
    forgotten.unregister(this)
    closeSync(this.#opened.file)
  }
}

function unreadable(path: string, cause: unknown): SnapshotError {
  return new SnapshotError(`The snapshot ${path} cannot be read: ${messageOf(cause)}`, {
    hint: 'Check the path, or run extract first.',
    cause,
  })
}
