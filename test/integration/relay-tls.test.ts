import { execFileSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { createServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { getCACertificates, setDefaultCACertificates } from 'node:tls'
import { MessageFrame, XrpcStreamServer } from '@atproto/xrpc-server'
import { afterAll, describe, expect, test } from 'vitest'
import { openRelaySocket } from '../../src/firehose/relay-socket.ts'

/** A key and certificate for localhost, by Debian's openssl; undefined where there is none. */
function certificate(folder: string): { key: string; cert: string } | undefined {
  const [key, cert] = [join(folder, 'key.pem'), join(folder, 'cert.pem')]
  const request = ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes']
  const names = ['-subj', '/CN=localhost', '-addext', 'subjectAltName=DNS:localhost', '-days', '2']
  try {
    execFileSync('openssl', [...request, '-keyout', key, '-out', cert, ...names], { stdio: 'ignore' })
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined
    throw error
  }
  return { key: readFileSync(key, 'utf8'), cert: readFileSync(cert, 'utf8') }
}

const folder = mkdtempSync(join(tmpdir(), 'firehose-replay-tls-'))
const pair = certificate(folder)
rmSync(folder, { recursive: true })
const title = pair
  ? 'a relay over TLS'
  : 'a relay over TLS (skipped: "apt-get install openssl" brings what it needs)'

describe.skipIf(pair === undefined)(title, () => {
  const trusted = getCACertificates('default')
  const server = createServer({ ...pair })
  const streams = new XrpcStreamServer({
    server,
    async *handler() {
      yield new MessageFrame({ bytes: new Uint8Array(200_000).fill(7) })
    },
  })
  afterAll(() => {
    setDefaultCACertificates(trusted)
    for (const socket of streams.wss.clients) socket.terminate()
    server.close()
  })
  const url = async () => {
    if (!server.listening) await once(server.listen(0, '127.0.0.1'), 'listening')
    return `wss://localhost:${(server.address() as AddressInfo).port}`
  }

  test('is read whole', async () => {
    setDefaultCACertificates([...trusted, pair?.cert ?? ''])
    let payload = 0
    const { promise: whole, resolve } = Promise.withResolvers<void>()
    const socket = await openRelaySocket({
      service: await url(),
      path: '/',
      onBytes: (bytes) => {
        for (const byte of bytes) if (byte === 7) payload++
        if (payload >= 200_000) resolve()
        return true
      },
    })
    await whole
    socket.close()
    expect(payload).toBe(200_000)
  })

  test('whose certificate nobody vouches for is not read', async () => {
    setDefaultCACertificates(trusted)
    const opened = openRelaySocket({ service: await url(), path: '/', onBytes: () => true })
    await expect(opened).rejects.toThrow(/could not be reached: self-signed certificate/)
  })
})
