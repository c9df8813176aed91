import { randomBytes } from 'node:crypto'
import { mkdir, open, readFile, rename, rm, stat } from 'node:fs/promises'
import { join } from 'node:path'
import type { NodeSavedSession, OAuthClientMetadataInput } from '@atproto/oauth-client-node'
import { z } from 'zod'
import { ConfigError } from '../../errors.ts'
import { withFileLock } from './file-lock.ts'
import { savedSessionShape } from './saved-session.ts'

/** A login of our own. The client's name holds port and scopes of its login: a refresh must go out under the same. */
export interface SavedLogin {
  clientMetadata: OAuthClientMetadataInput & { client_id: string }
  session: NodeSavedSession
}

/** A folder with a file for each account that has logged in; all of it for its owner's eyes only. */
export interface LoginFolder {
  readonly path: string
  /** Undefined when there is none. @throws ConfigError for a file that others can read or that is no login */
  read(did: string): Promise<SavedLogin | undefined>
  write(did: string, login: SavedLogin): Promise<void>
  remove(did: string): Promise<void>
  /** Keeps processes from refreshing one login at once, which would end it. */
  lock<T>(did: string, act: () => Promise<T>): Promise<T>
}

const VERSION = 1

const loginShape = z.object({
  version: z.literal(VERSION),
  clientMetadata: z.looseObject({ client_id: z.string() }),
  session: savedSessionShape,
})

export function loginFolder(path: string): LoginFolder {
  // A DID has no slash; its colons are no part of a file name everywhere.
  const fileOf = (did: string, end = 'json') => join(path, `${encodeURIComponent(did)}.${end}`)
  const prepare = () => mkdir(path, { recursive: true, mode: 0o700 })
  return {
    path,
    async read(did) {
      const file = fileOf(did)
      const text = await readPrivate(file)
      return text === undefined ? undefined : parseLogin(text, file)
    },
    async write(did, login) {
      await prepare()
      await writePrivate(fileOf(did), JSON.stringify({ version: VERSION, ...login }))
    },
    remove: (did) => rm(fileOf(did), { force: true }),
    async lock(did, act) {
      await prepare()
      return withFileLock(fileOf(did, 'lock'), act)
    },
  }
}

const NOT_OWNER = 0o077

async function readPrivate(file: string): Promise<string | undefined> {
  try {
    const { mode } = await stat(file)
    if (process.platform === 'win32' || (mode & NOT_OWNER) === 0) return await readFile(file, 'utf8')
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined
    throw new ConfigError(`The login in ${file} cannot be read.`, {
      hint: 'Check that the file is yours, or give another folder with --sessions.',
      cause: error,
    })
  }
  throw new ConfigError(`The login in ${file} is open to other users.`, {
    hint: `Run "chmod 600 ${file}". If other people use this machine, log in again.`,
  })
}

/** The file of before or the file of after, whenever the machine stops. */
async function writePrivate(file: string, text: string): Promise<void> {
  const temporary = `${file}.${randomBytes(6).toString('hex')}`
  try {
    const handle = await open(temporary, 'wx', 0o600)
    try {
      await handle.writeFile(text)
      await handle.sync()
    } finally {
      await handle.close()
    }
    await rename(temporary, file)
  } catch (error) {
    await rm(temporary, { force: true })
    throw new ConfigError(`The login cannot be kept in ${file}.`, {
      hint: 'Give a folder that you may write to with --sessions.',
      cause: error,
    })
  }
}

function parseLogin(text: string, file: string): SavedLogin {
  // Of a text that is no JSON, the error would repeat some.
  const parsed = loginShape.safeParse(jsonOf(text))
  if (parsed.success) return parsed.data as unknown as SavedLogin
  throw new ConfigError(`${file} is no login of this version.`, {
    hint: 'Log in again with "firehose-replay login".',
  })
}

function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch (error) {
    if (error instanceof SyntaxError) return undefined
    throw error
  }
}
