import { readFileSync, statSync } from 'node:fs'
import { homedir } from 'node:os'
import { join } from 'node:path'
import { ConfigError } from '../errors.ts'
import { createFetch } from '../network/fetch.ts'
import { openSession, type SessionProvider } from '../pds/session.ts'
import { appPasswordSessions } from '../pds/sessions/app-password.ts'
import { type LoginSource, loggedInSessions } from '../pds/sessions/logged-in.ts'
import { loginFolder } from '../pds/sessions/login-folder.ts'
import type { CliContext } from './context.ts'

export type { SessionProvider }

type SessionContext = Pick<CliContext, 'config' | 'network'>

/**
 * Sessions from the app password, in a file that only its owner can read or in the environment; without one, from
 * the configuration file's provider; without that, of the accounts that logged in with `login`.
 *
 * @throws ConfigError when the file cannot be read, others can read it, or it is empty
 */
export function sessionsOf(context: SessionContext, passwordFile: string | undefined): SessionProvider {
  const { config } = context
  const password = passwordFile === undefined ? config.get('appPassword') : readSecret(passwordFile)
  const source = loginsOf(context)
  if (password !== undefined) return appPasswordSessions(() => password, source.network)
  return config.sessionProvider ?? loggedInSessions(source)
}

/** An upload is answered when the host has all of it, which may be 100 MB over a slow line. */
const ANSWER_TIMEOUT_MS = 5 * 60 * 1000

/** Where `login` keeps sessions, and what they reach their hosts with. */
export function loginsOf({ config, network: { identity } }: SessionContext): LoginSource {
  const allowLocalhost = config.isOn('allowLocalhost')
  return {
    folder: loginFolder(config.get('sessions') ?? join(homedir(), '.config', 'firehose-replay', 'sessions')),
    network: {
      identity,
      fetch: createFetch({ allowLocalhost, headersTimeoutMs: ANSWER_TIMEOUT_MS }),
      plcUrl: config.required('plcUrl'),
      allowLocalhost,
    },
  }
}

/** @throws SessionError when the session that writes would be given is dead, or there is none */
export async function assertSessionAlive(
  { network }: Pick<CliContext, 'network'>,
  sessionProvider: SessionProvider,
  did: string,
): Promise<void> {
  await network.identity.refresh(did)
  await (await openSession(did, sessionProvider)).verify()
}

const HINT = 'Give the path of a file that holds nothing but the app password.'
/** Any right of the group or of others. */
const NOT_OWNER = 0o077

function readSecret(path: string): string {
  let secret: string
  try {
    refuseOpenFile(path)
    secret = readFileSync(path, 'utf8').trim()
  } catch (error) {
    if (error instanceof ConfigError) throw error
    throw new ConfigError(`The app password file ${path} cannot be read.`, { hint: HINT, cause: error })
  }
  if (secret === '') throw new ConfigError(`The app password file ${path} is empty.`, { hint: HINT })
  return secret
}

/** Only of files: a pipe, as of `<(pass show ...)`, has no rights that mean anything. Windows has no such rights. */
function refuseOpenFile(path: string): void {
  const status = statSync(path)
  if (!status.isFile() || process.platform === 'win32' || (status.mode & NOT_OWNER) === 0) return
  const mode = (status.mode & 0o777).toString(8)
  throw new ConfigError(`The app password file ${path} is open to other users (mode ${mode}).`, {
    hint: `Run "chmod 600 ${path}". If other people use this machine, have the app password replaced.`,
  })
}
