/** Accounts whose DID documents the test may change, and a second PDS for them to move to. */

import { randomBytes } from 'node:crypto'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Secp256k1Keypair } from '@atproto/crypto'
import type { LexMap } from '@atproto/lex'
import { PDS } from '@atproto/pds'
import type { JsonObject } from '../../src/events.ts'
import { cidOfBlock, encodeBlock } from '../../src/repo/dag-cbor.ts'
import { freePort } from '../../src/stack/free-port.ts'
import type { Account } from '../../src/stack/index.ts'
import { fetchAs } from './account-writes.ts'

export interface Reader extends Account {
  did: `did:${string}:${string}`
  /** May sign operations of its DID. */
  recovery: Secp256k1Keypair
}

export interface SecondPds extends AsyncDisposable {
  url: string
  /** As its operator, without the API. */
  pds: PDS
}

export async function startSecondPds(plcUrl: string): Promise<SecondPds> {
  const folder = await mkdtemp(join(tmpdir(), 'firehose-replay-pds-'))
  const port = await freePort()
  const secret = () => randomBytes(32).toString('hex')
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
    rateLimitsEnabled: false,
    jwtSecret: secret(),
    dpopSecret: secret(),
    adminPassword: secret(),
    plcRotationKeyK256PrivateKeyHex: secret(),
  })
  await pds.start()
  return {
    url: `http://localhost:${port}`,
    pds,
    async [Symbol.asyncDispose]() {
      await pds.destroy()
      await rm(folder, { recursive: true, force: true })
    },
  }
}

export async function createReader(pdsUrl: string, handle: string): Promise<Reader> {
  const recovery = await Secp256k1Keypair.create()
  const [email, password] = [`${handle}@example.com`, randomBytes(16).toString('hex')]
  const session = await answer(
    await fetch(`${pdsUrl}/xrpc/com.atproto.server.createAccount`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ handle, email, password, recoveryKey: recovery.did() }),
    }),
  )
  return { handle, email, password, pdsUrl, recovery, ...tokens(session) }
}

/** Writes it, or takes it away where there is none. */
export async function putRecord(reader: Account, path: string, record: JsonObject | null): Promise<string> {
  const [collection, rkey] = path.split('/')
  const call = record === null ? 'deleteRecord' : 'putRecord'
  const body = { repo: reader.did, collection, rkey, ...(record && { record, validate: false }) }
  const reply = await post(reader, `com.atproto.repo.${call}`, body)
  return String(reply.cid ?? '')
}

/** As its owner: the PDS keeps it, and shows it to nobody. */
export async function deactivate(reader: Account): Promise<void> {
  await post(reader, 'com.atproto.server.deactivateAccount', {})
}

/** Takes repo and identity to another PDS, as migration tools do; the old PDS keeps a deactivated copy. */
export async function moveTo(reader: Reader, pdsUrl: string, plcUrl: string): Promise<Reader> {
  const asked = new URLSearchParams({ aud: 'did:web:localhost', lxm: 'com.atproto.server.createAccount' })
  const { token } = await answer(await fetchAs(reader, `/xrpc/com.atproto.server.getServiceAuth?${asked}`))
  const car = await fetchAs(reader, `/xrpc/com.atproto.sync.getRepo?did=${reader.did}`)
  const { handle, email, password, did } = reader
  const session = await answer(
    await fetch(`${pdsUrl}/xrpc/com.atproto.server.createAccount`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', authorization: `Bearer ${token}` },
      body: JSON.stringify({ handle, email, password, did }),
    }),
  )
  const moved: Reader = { ...reader, pdsUrl, ...tokens(session) }
  await answer(
    await fetchAs(moved, '/xrpc/com.atproto.repo.importRepo', {
      method: 'POST',
      headers: { 'content-type': 'application/vnd.ipld.car' },
      body: new Uint8Array(await car.arrayBuffer()),
    }),
  )
  const credentials = await answer(
    await fetchAs(moved, '/xrpc/com.atproto.identity.getRecommendedDidCredentials'),
  )
  const { rotationKeys, verificationMethods, services } = credentials as Record<string, LexMap & string[]>
  await changeDid(plcUrl, reader, {
    rotationKeys: [reader.recovery.did(), ...(rotationKeys ?? [])],
    verificationMethods: verificationMethods ?? {},
    services: services ?? {},
  })
  await answer(await fetchAs(moved, '/xrpc/com.atproto.server.activateAccount', { method: 'POST' }))
  await deactivate(reader)
  return moved
}

/** @param change of the last operation; null: a tombstone */
export async function changeDid(plcUrl: string, reader: Reader, change: LexMap | null): Promise<void> {
  const last = (await answer(await fetch(`${plcUrl}/${reader.did}/log/last`))) as LexMap
  const { sig: _, ...before } = last
  const prev = cidOfBlock(encodeBlock(last)).toString()
  const unsigned = change === null ? { type: 'plc_tombstone', prev } : { ...before, ...change, prev }
  const sig = Buffer.from(await reader.recovery.sign(encodeBlock(unsigned))).toString('base64url')
  const response = await fetch(`${plcUrl}/${reader.did}`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ ...unsigned, sig }),
  })
  if (!response.ok) throw new Error(`the directory: ${response.status} ${await response.text()}`)
}

/** Points the DID document at another host, whatever is there. */
export const pointAt = (plcUrl: string, reader: Reader, endpoint: string): Promise<void> =>
  changeDid(plcUrl, reader, {
    services: { atproto_pds: { type: 'AtprotoPersonalDataServer', endpoint } },
  })

/** An address at which nothing listens. */
export const deadUrl = async (): Promise<string> => `http://localhost:${await freePort()}`

async function post(reader: Account, method: string, body: object): Promise<Record<string, unknown>> {
  return answer(
    await fetchAs(reader, `/xrpc/${method}`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(body),
    }),
  )
}

async function answer(response: Response): Promise<Record<string, unknown>> {
  const text = await response.text()
  if (!response.ok) throw new Error(`${response.url}: ${response.status} ${text}`)
  return text === '' ? {} : JSON.parse(text)
}

function tokens(session: Record<string, unknown>): Pick<Reader, 'did' | 'accessJwt' | 'refreshJwt'> {
  const { did, accessJwt, refreshJwt } = session
  return {
    did: `did:plc:${String(did).slice('did:plc:'.length)}`,
    accessJwt: String(accessJwt),
    refreshJwt: String(refreshJwt),
  }
}
