/** Sessions from every source, alive and dead, at the real PDS. Nothing is faked but the time. */

import { mkdtemp, readdir, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { inspect } from 'node:util'
import {
  buildAtprotoLoopbackClientMetadata,
  JoseKey,
  NodeOAuthClient,
  type NodeSavedSession,
  requestLocalLock,
} from '@atproto/oauth-client-node'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest'
import { type Database, openDatabase } from '../../src/database/client.ts'
import type { PdsError } from '../../src/errors.ts'
import { writeLocally } from '../../src/inngest/index.ts'
import { createFetch } from '../../src/network/fetch.ts'
import { createIdentity, type Identity } from '../../src/network/identity.ts'
import { createXrpc } from '../../src/network/xrpc.ts'
import { openSession, type SessionProvider, type WriteOp } from '../../src/pds/session.ts'
import { appPasswordSessions } from '../../src/pds/sessions/app-password.ts'
import { oauthStoreSessions } from '../../src/pds/sessions/appview-store.ts'
import { withFileLock } from '../../src/pds/sessions/file-lock.ts'
import { clientOf, loggedInSessions } from '../../src/pds/sessions/logged-in.ts'
import { type LoginOptions, logIn } from '../../src/pds/sessions/login.ts'
import { loginFolder } from '../../src/pds/sessions/login-folder.ts'
import type { OAuthNetwork } from '../../src/pds/sessions/oauth-client.ts'
import { rateLimitOf } from '../../src/pds/sessions/rate-limits.ts'
import { type Account, type Stack, startStack } from '../../src/stack/index.ts'
import { fillInLoginForm } from './login-form.ts'

const DOCUMENT = 'site.standard.document'
const HOUR_MS = 60 * 60 * 1000
const DAY_MS = 24 * HOUR_MS

let stack: Stack
let network: OAuthNetwork & { identity: Identity }
let account: Account
let accountCount = 0
let path: string

beforeAll(async () => {
  stack = await startStack({ rateLimits: true })
  network = {
    identity: createIdentity({ plcUrl: stack.plcUrl, allowLocalhost: true }),
    fetch: createFetch({ allowLocalhost: true }),
    plcUrl: stack.plcUrl,
    allowLocalhost: true,
  }
})
afterAll(() => stack?.[Symbol.asyncDispose]())
beforeEach(async () => {
  account = await stack.createAccount(`owner${++accountCount}.test`)
  path = await mkdtemp(join(tmpdir(), 'sessions-test-'))
})
afterEach(async () => {
  vi.useRealTimers()
  await rm(path, { recursive: true, force: true })
})

/** Date alone: timers and the network go on. The PDS runs in this process and lives in the same time. */
function travel(ms: number): void {
  vi.useFakeTimers({ toFake: ['Date'], now: Date.now() + ms })
}

const open = (provider: SessionProvider) => openSession(account.did, provider)
const xrpc = createXrpc({ fetch: createFetch({ allowLocalhost: true }) })
const head = async () => (await xrpc.getLatestCommit(account.pdsUrl, account.did)).cid
const create = (rkey: string): WriteOp => ({
  $type: 'com.atproto.repo.applyWrites#create',
  collection: DOCUMENT,
  rkey,
  value: recordOf(rkey),
})
const recordOf = (title: string) => ({ $type: DOCUMENT, title })

/** The repo's commit, or why it shows none. */
const headOrRefusal = () => head().catch((error: PdsError) => error.error)

/** A session that must be found dead by `verify`, before anything is written, and without telling secrets. */
async function expectDead(provider: SessionProvider, says: RegExp, hints: RegExp): Promise<void> {
  const before = await headOrRefusal()
  const error: unknown = await open(provider)
    .then((session) => session.verify({ collections: [DOCUMENT] }))
    .catch((thrown: unknown) => thrown)
  expect(error).toMatchObject({
    name: 'SessionError',
    did: account.did,
    message: expect.stringMatching(says),
    hint: expect.stringMatching(hints),
  })
  expect(inspect(error, { depth: 9 })).not.toMatch(
    /ey[\w-]+\.ey[\w-]+|"d":|'d'|ref-[0-9a-f]{16}|cod-[0-9a-f]/,
  )
  expect(inspect(error, { depth: 9 })).not.toContain(account.password)
  expect(await headOrRefusal()).toBe(before)
}

async function post(name: string, body: object): Promise<void> {
  const response = await fetch(`${account.pdsUrl}/xrpc/${name}`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', authorization: `Bearer ${account.accessJwt}` },
    body: JSON.stringify(body),
  })
  expect(response.status).toBe(200)
}

describe('from an app password', () => {
  const passwords = (password: string | undefined = account.password) =>
    appPasswordSessions(() => password, network)

  test('all calls work, and say what the host says of its limits', async () => {
    const session = await open(passwords())
    await session.verify({ collections: [DOCUMENT], blobs: true })
    const made = await session.applyWrites([create('one'), create('two')], await head())
    expect(made.commit).toBe(await head())
    // Of its limits the PDS tells the one with the least left: 3,000 requests in five minutes.
    expect(made.limits).toMatchObject({ limit: 3000, windowSeconds: 300 })
    expect(made.limits?.resetMs).toBeGreaterThan(Date.now())
    const left = made.limits?.remaining ?? 0

    const put = { collection: DOCUMENT, rkey: 'three', record: recordOf('three'), swapRecord: null }
    const first = await session.putRecord(put)
    expect(first).toMatchObject({ commit: await head(), limits: { limit: 3000 } })
    const again = await session.putRecord({ ...put, swapRecord: first.cid })
    expect(again).toMatchObject({ cid: first.cid })
    expect(again.commit).toBeUndefined()

    const refusal: unknown = await session
      .putRecord({ ...put, record: recordOf('another') })
      .catch((error: unknown) => error)
    expect(refusal).toMatchObject({ name: 'PdsError', error: 'InvalidSwap' })
    expect(rateLimitOf(refusal)?.remaining).toBeLessThan(left)
    expect(await session.uploadBlob(new Uint8Array([1, 2, 3]), 'image/png')).toMatchObject({
      cid: 'bafkreiadsbmmn4waznesyuz3bjgrj33xzqhxrk6mz3ksq7meugrachh3qe',
      mimeType: 'image/png',
      size: 3,
    })
  })

  test('dead ones are found before anything is written', async () => {
    const other = await stack.createAccount(`other${accountCount}.test`)
    const asOther: SessionProvider = () => appPasswordSessions(() => other.password, network)(other.did)
    await expectDead(passwords('wrong'), /Invalid identifier or password/, /new app password/)
    await expectDead(
      appPasswordSessions(() => undefined, network),
      /no app password/,
      /FIREHOSE_REPLAY_APP_PASSWORD/,
    )
    await expectDead(asOther, new RegExp(`of ${other.did}`), /new app password/)
    await post('com.atproto.server.deactivateAccount', {})
    await expectDead(passwords(), /deactivated/, /new app password/)
  })
})

describe('from an injected provider', () => {
  test('what it throws says whether there is none or whether it could not ask', async () => {
    const none = async () => Promise.reject(new Error('nobody has logged in'))
    await expectDead(none, /nobody has logged in/, /Log in again/)
    const away = async () => Promise.reject(new TypeError('fetch failed'))
    await expect(open(away)).rejects.toMatchObject({ name: 'UnavailableError' })
  })

  test('a scope that it was not known to lack is named at the first write', async () => {
    const source = await logInWith({ collections: [DOCUMENT] })
    const fetch = await loggedInSessions(source)(account.did)
    const session = await open(async () => (requestPath, init) => fetch(requestPath, init))
    const write = session.applyWrites([{ ...create('one'), collection: 'pub.leaflet.document' } as WriteOp])
    await expect(write).rejects.toMatchObject({
      name: 'SessionError',
      message: expect.stringContaining('repo:pub.leaflet.document'),
    })
  })
})

/** Logs in through the loopback flow, as `owner` where it is another than the account asked for. */
async function logInWith(options: Partial<LoginOptions> = {}, owner = account) {
  const source = { folder: loginFolder(join(path, 'logins')), network }
  await logIn({
    ...source,
    did: account.did,
    collections: [DOCUMENT],
    onUrl: async (url) => void (await fetch(await fillInLoginForm(url, owner))),
    timeoutMs: 20_000,
    ...options,
  })
  return source
}

describe('from a login of our own', () => {
  test('is kept for its owner alone, and taken up again', async () => {
    const source = await logInWith()
    const [file = ''] = await readdir(source.folder.path)
    expect((await stat(source.folder.path)).mode & 0o777).toBe(0o700)
    expect((await stat(join(source.folder.path, file))).mode & 0o777).toBe(0o600)
    const session = await open(loggedInSessions(source))
    await session.verify({ collections: [DOCUMENT], blobs: true })
    await session.applyWrites([create('one')], await head())
    expect(await readdir(source.folder.path)).toEqual([file])
  })

  test('an access token that has run out is renewed once, however many ask', async () => {
    const source = await logInWith()
    const before = await source.folder.read(account.did)
    travel(2 * HOUR_MS)
    const sessions = await Promise.all([1, 2, 3, 4].map(() => open(loggedInSessions(source))))
    await Promise.all(sessions.map((session, index) => session.applyWrites([create(`doc${index}`)])))
    const after = await source.folder.read(account.did)
    expect(after?.session.tokenSet.refresh_token).not.toBe(before?.session.tokenSet.refresh_token)
    expect(await readdir(source.folder.path)).toHaveLength(1)
    await sessions[0]?.verify()
  })

  test('dies after two weeks, and is forgotten then', async () => {
    const source = await logInWith()
    travel(15 * DAY_MS)
    await expectDead(
      loggedInSessions(source),
      /Session expired|Refresh token expired/,
      /firehose-replay login/,
    )
    await expectDead(loggedInSessions(source), /has not logged in here/, /firehose-replay login/)
  })

  test('is found dead when it was revoked at the PDS', async () => {
    const source = await logInWith()
    const elsewhere = loginFolder(join(path, 'copy'))
    const login = await source.folder.read(account.did)
    if (login === undefined) throw new Error('no login')
    await elsewhere.write(account.did, login)
    await (await clientOf(login, { ...source, folder: elsewhere })).revoke(account.did)
    await expectDead(loggedInSessions(source), /invalid_token/, /firehose-replay login/)
  })

  test('and when the account was deactivated', async () => {
    const source = await logInWith()
    await post('com.atproto.server.deactivateAccount', {})
    await expectDead(loggedInSessions(source), /deactivated/i, /firehose-replay login/)
  })

  test('a login ends the one before it', async () => {
    const source = await logInWith()
    const before = await source.folder.read(account.did)
    if (before === undefined) throw new Error('no login')
    await logInWith()
    const copy = loginFolder(join(path, 'copy'))
    await copy.write(account.did, before)
    await expectDead(loggedInSessions({ ...source, folder: copy }), /invalid_token/, /firehose-replay login/)
    await (await open(loggedInSessions(source))).verify()
  })

  test('a session that was opened before a new login says so, and does not harm it', async () => {
    const source = await logInWith()
    const old = await open(loggedInSessions(source))
    await logInWith()
    await expect(old.verify()).rejects.toMatchObject({
      name: 'SessionError',
      message: expect.stringContaining('logged in anew'),
    })
    await (await open(loggedInSessions(source))).verify()
  })

  test('nothing is kept of a login as somebody else, with less than was asked for, or of none', async () => {
    const other = await stack.createAccount(`other${accountCount}.test`)
    const folder = loginFolder(join(path, 'logins'))
    const failed = (login: Promise<unknown>) =>
      login.then(
        () => 'no error',
        (error: Error) => `${error.name}: ${error.message}`,
      )
    expect(await failed(logInWith({ onUrl: signedInAs(other) }))).toContain(`made as ${other.did}`)
    const odd = [DOCUMENT, 'site.standard.*']
    expect(await failed(logInWith({ collections: odd }))).toMatch(
      /^SessionError: .* did not grant .*repo:site\.standard\.\*\.$/,
    )
    expect(await failed(logInWith({ timeoutMs: 300, onUrl: () => undefined }))).toContain('in time')
    expect(await folder.read(account.did)).toBeUndefined()
  })

  test('a call that belongs to no login is turned away, and the login goes on', async () => {
    const statuses: number[] = []
    const source = await logInWith({
      onUrl: async (url) => {
        const back = await fillInLoginForm(url, account)
        const foreign = new URL(back)
        foreign.searchParams.set('state', 'of-another-page')
        statuses.push((await fetch(foreign)).status)
        statuses.push((await fetch(back)).status)
      },
    })
    expect(statuses).toEqual([400, 200])
    await (await open(loggedInSessions(source))).verify()
  })

  test('the lock of a process that was killed is taken over, once, and one that changes hands is not', async () => {
    const lock = join(path, 'account.lock')
    await writeFile(lock, '')
    let held = 0
    const hold = async () => {
      expect(++held).toBe(1)
      await new Promise((resolve) => setTimeout(resolve, 150))
      held--
    }
    const startedMs = performance.now()
    await Promise.all([1, 2, 3].map(() => withFileLock(lock, hold, 300)))
    expect(performance.now() - startedMs).toBeGreaterThan(300 + 3 * 150 - 10)
    expect(await readdir(path)).toEqual([])
  })

  test('a file that others can read, or that is no login, is not used', async () => {
    const source = await logInWith()
    const [name = ''] = await readdir(source.folder.path)
    const file = join(source.folder.path, name)
    await writeFile(file, '{"secret": ')
    await expect(open(loggedInSessions(source))).rejects.toMatchObject({
      name: 'ConfigError',
      message: expect.not.stringContaining('secret'),
    })
    await rm(file)
    await writeFile(file, '{}', { mode: 0o644 })
    await expect(open(loggedInSessions(source))).rejects.toMatchObject({ hint: /chmod 600/ })
  })
})

function signedInAs(other: Account): LoginOptions['onUrl'] {
  return async (url) => void (await fetch(await fillInLoginForm(url, other)))
}

describe("from the appview's own store", () => {
  const TABLE = 'oauth_session_store'
  const clientMetadata = buildAtprotoLoopbackClientMetadata({
    scope: `atproto repo:${DOCUMENT} blob:*/*`,
    redirect_uris: ['http://127.0.0.1:4999/callback'],
  })
  let database: Database
  let appview: NodeOAuthClient

  const own = (options: Partial<Parameters<typeof oauthStoreSessions>[0]> = {}) =>
    oauthStoreSessions({ database, sessionTable: TABLE, clientMetadata, network, ...options })
  const row = async () =>
    JSON.stringify(await stack.production.query(`select * from ${TABLE} where key = '${account.did}'`))
  /** Whether the appview can refresh its session and write with it: what a run of ours must leave as it was. */
  async function expectAppviewAlive(): Promise<void> {
    const session = await appview.restore(account.did, true)
    const response = await session.fetchHandler('/xrpc/com.atproto.repo.applyWrites', {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ repo: account.did, validate: false, writes: [create(`alive-${Date.now()}`)] }),
    })
    expect(response.status).toBe(200)
  }

  beforeEach(async () => {
    database = openDatabase({ ...stack.production, label: 'production' })
    appview = appviewClient(database, TABLE, clientMetadata)
    const callback = await fillInLoginForm(await appview.authorize(account.did), account)
    await appview.callback(callback.searchParams)
  })

  test('a write run of ours leaves the session as it was', async () => {
    const before = await row()
    const records = Array.from({ length: 250 }, (_, index) => ({
      collection: DOCUMENT,
      rkey: `doc-${index}`,
      record: recordOf(`Document ${index}`),
    }))
    const job = { did: account.did, records, sessionProvider: own(), network: { ...network, xrpc } }
    expect(await writeLocally(job)).toMatchObject({ success: true, recordsWritten: 250 })
    expect(await row()).toBe(before)
    await expectAppviewAlive()
  })

  test('a token that the appview renews in the meantime is taken over', async () => {
    const session = await open(own())
    await session.applyWrites([create('one')])
    await appview.restore(account.did, true)
    await session.applyWrites([create('two')])
    await expectAppviewAlive()
  })

  test('without its lock, a token that has run out is not renewed', async () => {
    const before = await row()
    const session = await open(own())
    travel(HOUR_MS)
    await expectDead(own(), /due for a refresh/, /lock/)
    await expect(session.applyWrites([create('one')])).rejects.toMatchObject({ name: 'SessionError' })
    expect(await row()).toBe(before)
    await expectAppviewAlive()
    await session.applyWrites([create('two')])
  })

  test('under its lock both renew in turns, and both go on', async () => {
    const lock = async <T>(name: string, act: () => Promise<T>): Promise<T> => requestLocalLock(name, act)
    const provider = own({ lock })
    for (const round of [1, 2]) {
      travel(2 * HOUR_MS)
      const ours = [1, 2, 3].map(async (index) => {
        const session = await open(round === 1 ? own({ lock }) : provider)
        await session.applyWrites([create(`doc-${round}-${index}`)])
      })
      const theirs = [1, 2, 3].map(() => appview.restore(account.did))
      await Promise.all([...ours, ...theirs])
      await expectAppviewAlive()
    }
  })

  test("another client's session is not touched", async () => {
    const before = await row()
    const lock = async <T>(_: string, act: () => Promise<T>): Promise<T> => act()
    const other = buildAtprotoLoopbackClientMetadata({
      scope: 'atproto',
      redirect_uris: ['http://127.0.0.1:4998/callback'],
    })
    travel(2 * HOUR_MS)
    await expectDead(
      own({ clientMetadata: other, lock }),
      /it is of client http:\/\/localhost/,
      /end the session/,
    )
    expect(await row()).toBe(before)
    await expectAppviewAlive()
  })

  test('a token that does not name its client is not used, unless the operator says whose it is', async () => {
    await stack.production.query(
      `update ${TABLE} set session = jsonb_set(session, '{tokenSet,access_token}', '"opaque"') where key = '${account.did}'`,
    )
    await expectDead(own(), /does not say of which client/, /client metadata/)
    await expectDead(
      own({ acceptUnknownClient: true }),
      /invalid_token|InvalidToken/,
      /log in to the appview/,
    )
  })

  test('is found dead when there is none, it is revoked, signed out, or lacks a scope', async () => {
    await expectDead(own({ keyPrefix: 'staging:' }), /no entry staging:did:/, /log in to the appview/)
    const narrow = await open(own())
    await expect(narrow.verify({ collections: ['pub.leaflet.document'] })).rejects.toMatchObject({
      message: expect.stringContaining('not granted repo:pub.leaflet.document'),
    })
    const before = await row()
    const copy = appviewClient(database, TABLE, clientMetadata, { isFrozen: true })
    await copy.revoke(account.did)
    await expectDead(own(), /invalid_token/, /log in to the appview/)
    expect(await row()).toBe(before)
    await appview.revoke(account.did)
    await expectDead(own(), /no entry/, /log in to the appview/)
  })

  test('a client with keys of its own is taken, and its client_id checked', async () => {
    const key = await JoseKey.generate(['ES256'], 'key-1')
    const confidential = {
      ...clientMetadata,
      client_id: 'https://app.example/client.json' as const,
      redirect_uris: ['https://app.example/callback'] as ['https://app.example/callback'],
      application_type: 'web' as const,
      token_endpoint_auth_method: 'private_key_jwt' as const,
      token_endpoint_auth_signing_alg: 'ES256',
      jwks_uri: 'https://app.example/jwks.json' as const,
    }
    const privateKeys = [JSON.stringify(key.privateJwk)]
    await expectDead(own({ clientMetadata: confidential, privateKeys }), /it is of client/, /app.example/)
    await expect(open(own({ clientMetadata: confidential }))).rejects.toMatchObject({
      name: 'ConfigError',
      message: expect.stringContaining('requires a keyset'),
    })
  })

  test('keys that are none are refused without repeating them', async () => {
    await expect(open(own({ privateKeys: ['{"kty":"EC","d":"hidden"}'] }))).rejects.toMatchObject({
      name: 'ConfigError',
      message: expect.not.stringContaining('hidden'),
    })
  })
})

/** What an appview has: the client over its table. @param isFrozen keeps what it does from its table */
function appviewClient(
  database: Database,
  table: string,
  clientMetadata: ReturnType<typeof buildAtprotoLoopbackClientMetadata>,
  { isFrozen = false } = {},
): NodeOAuthClient {
  const states = new Map()
  return new NodeOAuthClient({
    clientMetadata,
    plcDirectoryUrl: stack.plcUrl,
    handleResolver: stack.pds.url,
    allowHttp: true,
    requestLock: requestLocalLock,
    stateStore: {
      get: async (key) => states.get(key),
      set: async (key, state) => void states.set(key, state),
      del: async (key) => void states.delete(key),
    },
    sessionStore: {
      async get(key) {
        const found = await database.client.from(table).select('session').eq('key', key).maybeSingle()
        return database.check<{ session: NodeSavedSession } | null>(found)?.session
      },
      async set(key, session) {
        if (!isFrozen) database.check(await database.client.from(table).upsert({ key, session }))
      },
      async del(key) {
        if (!isFrozen) database.check(await database.client.from(table).delete().eq('key', key))
      },
    },
  })
}
