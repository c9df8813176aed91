import { randomBytes } from 'node:crypto'
import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { PDS } from '@atproto/pds'
import { Database, PlcServer } from '@did-plc/server'
import { UnavailableError } from '../errors.ts'
import { assemble, type Cleanup } from './cleanup.ts'
import { freePort } from './free-port.ts'

export interface NetworkOptions {
  /** The PDS counts and refuses as the hosted ones do: 5,000 points an hour per account. @defaultValue false */
  rateLimits?: boolean
}

/** An account on the embedded PDS, with everything needed to act as it. */
export interface Account {
  did: string
  handle: string
  email: string
  password: string
  /** Base URL of the account's PDS. */
  pdsUrl: string
  /** Of the session that creating the account opened; valid for two hours. */
  accessJwt: string
  refreshJwt: string
}

export interface Network extends AsyncDisposable {
  plcUrl: string
  pds: {
    url: string
    /** Sent as `x-ratelimit-bypass`, this header's value lifts the rate limits. */
    rateLimitBypassKey: string
  }
  /** @param handle ends in `.test` @param password made up when not given */
  createAccount(handle: string, password?: string): Promise<Account>
}

/**
 * A PLC directory in memory and a real PDS on `folder`, both in this process on http://localhost. Nothing is asked of
 * any other host: no entryway, no e-mail, no crawlers, no Bluesky appview.
 */
export function startNetwork(folder: string, options: NetworkOptions = {}): Promise<Network> {
  return assemble(async (cleanup) => {
    const plcUrl = await startPlc(cleanup)
    const rateLimitBypassKey = secret()
    const url = await startPds(folder, plcUrl, cleanup, {
      rateLimitsEnabled: options.rateLimits ?? false,
      rateLimitBypassKey,
    })
    return {
      plcUrl,
      pds: { url, rateLimitBypassKey },
      createAccount: (handle: string, password = secret()) =>
        createAccount(url, rateLimitBypassKey, handle, password),
    }
  })
}

async function startPlc(cleanup: Cleanup): Promise<string> {
  const plc = PlcServer.create({ db: Database.mock(), port: 0 })
  const server = await plc.start()
  cleanup.defer(() => plc.destroy())
  const address = server.address()
  if (address === null || typeof address === 'string') throw new Error('A TCP server has no port.')
  return `http://localhost:${address.port}`
}

/** Logs need no switch: both servers are silent unless LOG_ENABLED is set in the environment. */
async function startPds(
  folder: string,
  plcUrl: string,
  cleanup: Cleanup,
  limits: { rateLimitsEnabled: boolean; rateLimitBypassKey: string },
): Promise<string> {
  await mkdir(folder, { recursive: true })
  // Asking for port 0 is not possible here: the PDS writes its URL into the DID documents.
  const port = await freePort()
  const pds = await PDS.fromEnv({
    port,
    hostname: 'localhost',
    devMode: true,
    dataDirectory: folder,
    blobstoreDiskLocation: join(folder, 'blobs'),
    blobstoreDiskTmpLocation: join(folder, 'blobs-temp'),
    didPlcUrl: plcUrl,
    serviceHandleDomains: ['.test'],
    inviteRequired: false,
    disableSsrfProtection: true,
    jwtSecret: secret(),
    dpopSecret: secret(),
    adminPassword: secret(),
    plcRotationKeyK256PrivateKeyHex: secret(),
    ...limits,
  })
  cleanup.defer(() => pds.destroy())
  await pds.start()
  return `http://localhost:${port}`
}

async function createAccount(
  pdsUrl: string,
  rateLimitBypassKey: string,
  handle: string,
  password: string,
): Promise<Account> {
  const email = `${handle}@example.com`
  const response = await fetch(`${pdsUrl}/xrpc/com.atproto.server.createAccount`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', 'x-ratelimit-bypass': rateLimitBypassKey },
    body: JSON.stringify({ handle, email, password }),
  })
  if (!response.ok) {
    throw new UnavailableError(`The PDS made no account ${handle}: ${await response.text()}`)
  }
  const session = (await response.json()) as { did: string; accessJwt: string; refreshJwt: string }
  const { did, accessJwt, refreshJwt } = session
  return { did, handle, email, password, pdsUrl, accessJwt, refreshJwt }
}

/** 32 bytes in hex: long enough for every secret the PDS asks for, and a valid secp256k1 key. */
function secret(): string {
  return randomBytes(32).toString('hex')
}
