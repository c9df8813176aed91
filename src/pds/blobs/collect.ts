import { randomBytes } from 'node:crypto'
import { mkdir, open, rename, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { ConfigError, messageOf } from '../../errors.ts'
import { BlobFinder } from './finder.ts'
import { folderSource } from './folder-source.ts'
import { planBlobs, type RecordBlobs, type RecordWithBlobs } from './plan.ts'
import type { BlobSource } from './source.ts'

export interface CollectOptions {
  did: string
  /** Gets a file per blob, named by its CID. Made if need be, and then only its owner can enter it (mode 700). */
  folder: string
  /** Asked in order, after the folder itself. */
  sources: readonly BlobSource[]
  onProgress?: (done: number, total: number) => void
}

export interface CollectedBlobs {
  /** Written by this call. */
  collected: { count: number; bytes: number }
  /** In the folder before, and what their names say. */
  alreadyThere: number
  missing: { cid: string; reason: string }[]
  /** Records that refer to a blob which cannot be had, or not as they say. */
  lacking: RecordBlobs[]
  /** Records that refer to any blob. */
  recordsWithBlobs: number
}

/**
 * Keeps every blob that these records refer to and that can still be had. Can be run again: it goes on.
 *
 * @throws ConfigError when the folder cannot be written
 */
export async function collectBlobs(
  records: readonly RecordWithBlobs[],
  { did, folder, sources, onProgress }: CollectOptions,
): Promise<CollectedBlobs> {
  await makeFolder(folder)
  const own = await folderSource(folder)
  const collected = { count: 0, bytes: 0 }
  let alreadyThere = 0
  const plan = await planBlobs(records, {
    // What the PDS serves is to be kept as well: it may be gone tomorrow.
    isServed: async () => new Set(),
    finder: new BlobFinder(did, [own, ...sources]),
    async onFound(cid, bytes, source) {
      if (source === own.name) {
        alreadyThere++
        return
      }
      await writeBlob(folder, cid, bytes)
      collected.count++
      collected.bytes += bytes.length
    },
    ...(onProgress && { onProgress }),
  })
  const missing = plan.blobs
    .filter(({ status }) => status === 'missing')
    .map(({ cid, reason = 'no source has it' }) => ({ cid, reason }))
  return {
    collected,
    alreadyThere,
    missing,
    lacking: plan.records.filter(({ lacking }) => lacking.length > 0),
    recordsWithBlobs: plan.records.length,
  }
}

async function makeFolder(folder: string): Promise<void> {
  try {
    await mkdir(folder, { recursive: true, mode: 0o700 })
  } catch (cause) {
    throw unwritable(folder, cause)
  }
}

/** Either all of it or nothing is there under its name; mode 600. */
async function writeBlob(folder: string, cid: string, bytes: Uint8Array): Promise<void> {
  const path = join(folder, cid)
  const temporary = `${path}.${randomBytes(6).toString('hex')}.tmp`
  try {
    const file = await open(temporary, 'wx', 0o600)
    try {
      await file.writeFile(bytes)
    } finally {
      await file.close()
    }
    await rename(temporary, path)
  } catch (cause) {
    await rm(temporary, { force: true })
    throw unwritable(folder, cause)
  }
}

function unwritable(folder: string, cause: unknown): ConfigError {
  return new ConfigError(`Blobs cannot be written to ${folder}: ${messageOf(cause)}`, {
    hint: 'Give a folder that can be written and has room, then run again.',
    cause,
  })
}
