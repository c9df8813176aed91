import { readFile, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { ConfigError, messageOf, VerificationError } from '../../errors.ts'
import { canonicalCid } from '../../repo/blob-cid.ts'
import { type BlobSource, MAX_BLOB_BYTES } from './source.ts'

/**
 * A folder of files named by CID, as `extract --blobs` writes it.
 *
 * @throws ConfigError when `folder` is none: an empty answer from it would look like a folder without blobs
 */
export async function folderSource(folder: string, maxBytes = MAX_BLOB_BYTES): Promise<BlobSource> {
  await assertFolder(folder)
  const name = `folder ${folder}`
  return {
    name,
    async fetch(cid) {
      if (canonicalCid(cid) !== cid) return undefined
      const path = join(folder, cid)
      try {
        const { size } = await stat(path)
        if (size > maxBytes) {
          throw new VerificationError(`${path} is larger than the ${maxBytes} bytes that a blob may have.`)
        }
        return await readFile(path)
      } catch (cause) {
        if (isNotThere(cause)) return undefined
        if (cause instanceof VerificationError) throw cause
        throw new ConfigError(`${path} cannot be read: ${messageOf(cause)}`, { hint: HINT, cause })
      }
    },
  }
}

const HINT = 'Name a folder that this user can read, with files that are named by their CIDs.'

async function assertFolder(folder: string): Promise<void> {
  try {
    if ((await stat(folder)).isDirectory()) return
  } catch (cause) {
    throw new ConfigError(`The folder of blobs ${folder} cannot be read: ${messageOf(cause)}`, {
      hint: HINT,
      cause,
    })
  }
  throw new ConfigError(`${folder} is no folder.`, { hint: HINT })
}

function isNotThere(error: unknown): boolean {
  return error instanceof Error && 'code' in error && error.code === 'ENOENT'
}
