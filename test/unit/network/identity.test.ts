import type { ServerResponse } from 'node:http'
import { P256Keypair, Secp256k1Keypair } from '@atproto/crypto'
import { describe, expect, it } from 'vitest'
import { ConfigError, UnavailableError, VerificationError } from '../../../src/errors.ts'
import { createIdentity } from '../../../src/network/identity.ts'
import { serve } from './loopback-server.ts'

const DID = 'did:plc:aaaaaaaaaaaaaaaaaaaaaaaa'
const keypair = await Secp256k1Keypair.create()

function documentOf(didKey = keypair.did()) {
  return {
    id: DID,
    alsoKnownAs: ['at://alice.test'],
    verificationMethod: [
      { id: `${DID}#atproto`, type: 'Multikey', controller: DID, publicKeyMultibase: didKey.slice(8) },
    ],
    service: [
      { id: '#atproto_pds', type: 'AtprotoPersonalDataServer', serviceEndpoint: 'https://pds.example.net' },
    ],
  }
}

/** A PLC directory that answers with whatever `answer` says, and counts how often it was asked. */
async function directory(answer: Answer) {
  let count = 0
  const server = await serve((_, response) => {
    count += 1
    answer(response)
  })
  const identity = createIdentity({ plcUrl: server.url, allowLocalhost: true, timeoutMs: 500 })
  return { identity, count: () => count, [Symbol.asyncDispose]: () => server[Symbol.asyncDispose]() }
}

type Answer = (response: ServerResponse) => void

function json(body: unknown, status = 200): Answer {
  return (response) => {
    response.writeHead(status).end(JSON.stringify(body))
  }
}

describe('createIdentity', () => {
  it('says where an account lives and which key signs, and remembers it', async () => {
    await using plc = await directory(json(documentOf()))
    const expected = {
      did: DID,
      handle: 'alice.test',
      pdsUrl: 'https://pds.example.net',
      signingKey: keypair.did(),
    }
    expect(await plc.identity.resolve(DID)).toEqual(expected)
    expect(await plc.identity.resolve(DID)).toEqual(expected)
    expect(plc.count()).toBe(1)
    await plc.identity.clear()
    await plc.identity.resolve(DID)
    expect(plc.count()).toBe(2)
  })

  it('sees a changed key when refreshed', async () => {
    const other = await P256Keypair.create()
    let document: unknown = documentOf()
    await using plc = await directory((response) => json(document)(response))
    await plc.identity.resolve(DID)
    document = documentOf(other.did())
    expect((await plc.identity.resolve(DID)).signingKey).toBe(keypair.did())
    expect((await plc.identity.refresh(DID)).signingKey).toBe(other.did())
    expect((await plc.identity.resolve(DID)).signingKey).toBe(other.did())
  })

  it('names a missing handle by the word atproto has for it', async () => {
    await using plc = await directory(json({ ...documentOf(), alsoKnownAs: [] }))
    expect((await plc.identity.resolve(DID)).handle).toBe('handle.invalid')
  })

  it.each([
    ['no such DID', json({ message: 'not found' }, 404), /does not exist/],
    ['a tombstone', json({ message: 'gone' }, 410), /tombstone/],
    ['no PDS', json({ ...documentOf(), service: [] }), /no PDS/],
    ['no key', json({ ...documentOf(), verificationMethod: [] }), /no signing key/],
    ['a key that is none', json(documentOf('did:key:zNonsense')), /could not be read/],
    ['the document of another', json({ ...documentOf(), id: 'did:plc:other' }), /could not be read/],
    ['no document', json('hello'), /could not be read/],
    ['no JSON', (response) => void response.end('<html>'), /could not be read/],
    ['an endless document', (response) => void response.end('x'.repeat(600_000)), /limit/],
  ] satisfies [string, Answer, RegExp][])('refuses for good: %s', async (_, answer, message) => {
    await using plc = await directory(answer)
    const resolving = plc.identity.resolve(DID)
    await expect(resolving).rejects.toBeInstanceOf(VerificationError)
    await expect(resolving).rejects.toThrow(message)
  })

  it.each([
    ['an overloaded directory', json({}, 503)],
    ['silence', (): void => undefined],
    ['half an answer', (response) => void response.writeHead(200).write('{')],
  ] satisfies [string, Answer][])('may pass: %s', async (_, answer) => {
    await using plc = await directory(answer)
    await expect(plc.identity.resolve(DID)).rejects.toBeInstanceOf(UnavailableError)
  })

  it('keeps the time at which a limit ends', async () => {
    await using plc = await directory((response) => response.writeHead(429, { 'retry-after': '60' }).end())
    const error = await plc.identity.resolve(DID).catch((error: unknown) => error)
    expect(error).toBeInstanceOf(UnavailableError)
    expect(Math.abs(((error as UnavailableError).retryAtMs ?? 0) - Date.now() - 60_000)).toBeLessThan(5_000)
  })

  it.each(['alice.test', 'did:key:zabc', 'did:plc', ''])(
    'calls %j a mistake of the operator',
    async (did) => {
      await expect(createIdentity().resolve(did)).rejects.toBeInstanceOf(ConfigError)
    },
  )

  it('does not reach this machine unless that is allowed', async () => {
    await using server = await serve((_, response) => json(documentOf())(response))
    const resolving = createIdentity({ plcUrl: server.url }).resolve(DID)
    await expect(resolving).rejects.toBeInstanceOf(VerificationError)
    const web = createIdentity().resolve(`did:web:localhost%3A${new URL(server.url).port}`)
    await expect(web).rejects.toBeInstanceOf(VerificationError)
  })
})
