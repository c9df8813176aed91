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

/** How much of its firehose the PDS keeps for a consumer. */
export interface FirehoseLimits {
  /** A cursor before older frames than this is answered with `OutdatedCursor`. @defaultValue a day, as hosted ones do */
  backfillWindowMs?: number
  /** A consumer for whom more frames wait is cut off with `ConsumerTooSlow`. @defaultValue 500 */
  maxWaitingFrames?: number
}

export interface EmbeddedPds {
  url: string
  /** Sent as `x-ratelimit-bypass`, this header's value lifts the rate limits. */
  rateLimitBypassKey: string
  /** Ends it as a deploy does: connections break, and calls are refused until `start`. Idempotent. */
  stop(): Promise<void>
  /** Starts it again after `stop`: at the same address, with all that it had, with these limits from then on. */
  start(limits?: FirehoseLimits): Promise<void>
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
  pds: EmbeddedPds
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
    const pds = await startPds(folder, plcUrl, cleanup, options)
    return {
      plcUrl,
      pds,
      createAccount: (handle: string, password = secret()) =>
        createAccount(pds.url, pds.rateLimitBypassKey, handle, password),
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
/** Ports to try before there must be another reason. */
const MAX_PORTS = 5

async function startPds(
  folder: string,
  plcUrl: string,
  cleanup: Cleanup,
  options: NetworkOptions,
): Promise<EmbeddedPds> {
  await mkdir(folder, { recursive: true })
  const rateLimitBypassKey = secret()
  let port = await freePort()
  const environment = {
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
    rateLimitsEnabled: options.rateLimits ?? false,
    rateLimitBypassKey,
  }
  let running: PDS | undefined
  const stop = async (): Promise<void> => {
    const pds = running
    running = undefined
    await pds?.destroy()
  }
  const start = async ({ backfillWindowMs, maxWaitingFrames }: FirehoseLimits = {}): Promise<void> => {
    const pds = await PDS.fromEnv({
      ...environment,
      port,
      ...(backfillWindowMs === undefined ? {} : { repoBackfillLimitMs: backfillWindowMs }),
      ...(maxWaitingFrames === undefined ? {} : { maxSubscriptionBuffer: maxWaitingFrames }),
    })
    keepLooking(pds)
    try {
      await pds.start()
    } catch (error) {
      await pds.ctx.destroy()
      throw error
    }
    running = pds
  }
  cleanup.defer(stop)
  // Asking for port 0 is not possible here, the PDS writes its URL into the DID documents; and a free port may be
  // somebody else's a moment later.
  for (let tries = 1; running === undefined; tries++) {
    try {
      await start()
    } catch (error) {
      if (!isPortTaken(error) || tries === MAX_PORTS) throw error
      port = await freePort()
    }
  }
  return { url: `http://localhost:${port}`, rateLimitBypassKey, stop, start }
}

function isPortTaken(error: unknown): boolean {
  return error instanceof Error && 'code' in error && error.code === 'EADDRINUSE'
}

/**
 * The PDS looks for new commits after pauses that double while there are none, up to a second: whoever waits for its
 * firehose would wait that long after every rest. Here no pause is longer than 2^4 ms.
 */
function keepLooking({ ctx }: PDS): void {
  const most = 4
  let tries = 0
  Object.defineProperty(ctx.sequencer, 'triesWithNoResults', {
    get: () => tries,
    set: (count: number) => {
      tries = Math.min(count, most)
    },
  })
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
