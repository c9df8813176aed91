import { randomBytes } from 'node:crypto'
import { mkdir, open, readFile, rename, rm } from 'node:fs/promises'
import { dirname } from 'node:path'
import { messageOf, SnapshotError } from '../errors.ts'
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
 * Reads a snapshot and believes nothing of it: shape, format version, counts and digest are checked.
 *
 * @throws SnapshotError when the file is missing, cut short, edited, or of another format version
 */
export async function readSnapshot(path: string): Promise<Snapshot> {
  let text: string
  try {
    text = await readFile(path, 'utf8')
  } catch (cause) {
    throw new SnapshotError(`The snapshot ${path} cannot be read: ${messageOf(cause)}`, {
      hint: 'Check the path, or run extract first.',
      cause,
    })
  }
  return parseSnapshot(text)
}
