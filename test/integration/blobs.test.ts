import { execFile } from 'node:child_process'
import { mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { leaflet } from '../../src/appview/leaflet/index.ts'
import { openDatabase } from '../../src/database/client.ts'
import { ConfigError, PdsError, UnavailableError, VerificationError } from '../../src/errors.ts'
import type { JsonObject } from '../../src/events.ts'
import { replayRepo } from '../../src/firehose/replay.ts'
import { Indexer } from '../../src/indexer/indexer.ts'
import { createFetch } from '../../src/network/fetch.ts'
import { createHostQueues } from '../../src/network/host-queues.ts'
import { createIdentity } from '../../src/network/identity.ts'
import { createXrpc } from '../../src/network/xrpc.ts'
import { bucketSource } from '../../src/pds/blobs/bucket-source.ts'
import { BlobFinder } from '../../src/pds/blobs/finder.ts'
import { folderSource } from '../../src/pds/blobs/folder-source.ts'
import { pdsSource, urlSource } from '../../src/pds/blobs/http-source.ts'
import { pdsHistory } from '../../src/pds/blobs/pds-history.ts'
import { pdsSources } from '../../src/pds/blobs/pds-sources.ts'
import { planBlobs } from '../../src/pds/blobs/plan.ts'
import { blobRefsOf } from '../../src/pds/blobs/refs.ts'
import { servedBlobs } from '../../src/pds/blobs/served.ts'
import type { BlobSource } from '../../src/pds/blobs/source.ts'
import { BlobUploads } from '../../src/pds/blobs/upload.ts'
import { cidOfBytes } from '../../src/repo/blob-cid.ts'
import { cidOfRecord } from '../../src/repo/record.ts'
import { publish, type Scenario } from '../../src/stack/account.ts'
import { type DeletedRecord, deleteRecords } from '../../src/stack/incident.ts'
import { type Account, type Stack, startStack } from '../../src/stack/index.ts'
import { blobOf, type Picture, pictureOf } from '../../src/stack/scenario/images.ts'
import { type LoopbackServer, serve } from '../unit/network/loopback-server.ts'

const COLLECTION = 'site.standard.document'
const network = { fetch: createFetch({ allowLocalhost: true }), queues: createHostQueues() }

let stack: Stack
let accountCount = 0
const folders: string[] = []

beforeAll(async () => {
  stack = await startStack()
})
afterAll(() => stack[Symbol.asyncDispose]())
afterEach(async () => {
  for (const folder of folders.splice(0)) await rm(folder, { recursive: true })
})

async function makeFolder(files: Readonly<Record<string, Uint8Array>> = {}): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'blobs-test-'))
  folders.push(folder)
  for (const [name, bytes] of Object.entries(files)) await writeFile(join(folder, name), bytes)
  return folder
}

async function xrpc(
  account: Account,
  method: string,
  body: object | Uint8Array,
  contentType = 'application/json',
) {
  const response = await fetch(`${account.pdsUrl}/xrpc/${method}`, {
    method: 'POST',
    headers: { authorization: `Bearer ${account.accessJwt}`, 'content-type': contentType },
    body: body instanceof Uint8Array ? Buffer.from(body) : JSON.stringify(body),
  })
  const answer = (await response.json()) as JsonObject
  if (!response.ok) {
    const error = String(answer.error)
    throw new PdsError(`${error}: ${answer.message}`, { error })
  }
  return answer
}

/** The author of a few records, and what a restore does for their blobs. */
async function startAuthor() {
  const account = await stack.createAccount(`blobs-${++accountCount}.test`)
  const { did, pdsUrl } = account
  const write = (writes: object[]) =>
    xrpc(account, 'com.atproto.repo.applyWrites', { repo: did, validate: false, writes })
  const uploads: string[] = []
  const session = {
    did,
    async uploadBlob(bytes: Uint8Array, mimeType: string) {
      const { blob } = await xrpc(account, 'com.atproto.repo.uploadBlob', bytes, mimeType)
      const [ref] = blobRefsOf({ blob: blob ?? null })
      if (ref?.size === undefined) throw new Error('the PDS returned no reference')
      uploads.push(ref.cid)
      return { cid: ref.cid, mimeType: ref.mimeType, size: ref.size }
    },
  }
  const isServed = servedBlobs(pdsUrl, did, network)
  return {
    account,
    did,
    pdsUrl,
    uploads,
    isServed,
    create: (rkey: string, record: JsonObject) =>
      write([{ $type: 'com.atproto.repo.applyWrites#create', collection: COLLECTION, rkey, value: record }]),
    remove: (rkey: string) =>
      write([{ $type: 'com.atproto.repo.applyWrites#delete', collection: COLLECTION, rkey }]),
    uploadsFrom: (...sources: BlobSource[]) =>
      new BlobUploads({ session, isServed, finder: new BlobFinder(did, sources) }),
    plan: (records: { uri: string; record: JsonObject }[], ...sources: BlobSource[]) =>
      planBlobs(records, { isServed, finder: new BlobFinder(did, sources) }),
    upload: (picture: Picture) => session.uploadBlob(picture.bytes, picture.mimeType),
  }
}

const documentWith = (...pictures: Picture[]): JsonObject => ({
  $type: COLLECTION,
  site: 'https://example.com',
  title: 'Herons',
  publishedAt: '2026-02-14T09:30:00.000Z',
  pictures: pictures.map(blobOf),
})

describe('blobs of an account on a PDS', () => {
  test('are served while a record refers to them, gone with it, and back with an upload before the record', async () => {
    const author = await startAuthor()
    const picture = pictureOf('lost')
    await author.upload(picture)
    expect(await author.isServed([picture.cid])).toEqual(new Set())
    const record = documentWith(picture)
    await author.create('a', record)
    expect(await author.isServed([picture.cid, pictureOf('never').cid])).toEqual(new Set([picture.cid]))
    await author.remove('a')
    expect(await author.isServed([picture.cid])).toEqual(new Set())
    await expect(author.create('a', record)).rejects.toThrow('BlobNotFound')

    const lost = { uri: `at://${author.did}/${COLLECTION}/a`, record }
    const folder = await folderSource(await makeFolder({ [picture.cid]: picture.bytes }))
    expect(await author.plan([lost], folder)).toMatchObject({
      counts: { served: 0, upload: 1, missing: 0 },
      uploadBytes: picture.bytes.length,
      records: [{ lacking: [] }],
    })
    const uploads = author.uploadsFrom(folder)
    expect(await uploads.prepare([lost])).toEqual({ ready: [lost], refused: [] })
    await author.create('a', record)
    expect(await author.isServed([picture.cid])).toEqual(new Set([picture.cid]))
    expect(await author.plan([lost])).toMatchObject({ counts: { served: 1 } })
    expect(await uploads.prepare([lost])).toEqual({ ready: [lost], refused: [] })
    expect(author.uploads).toEqual([picture.cid, picture.cid])
  })

  test('are found served over more than one page of the list', async () => {
    const author = await startAuthor()
    const pictures = ['1', '2', '3', '4', '5'].map((name) => pictureOf(name, 8, 8))
    for (const picture of pictures) await author.upload(picture)
    await author.create('a', documentWith(...pictures))
    let pages = 0
    // The PDS gives two at a time, as it gives a thousand of many.
    const isServed = servedBlobs(author.pdsUrl, author.did, {
      ...network,
      fetch(input, init) {
        const url = new URL(input)
        if (url.pathname.endsWith('listBlobs')) {
          pages++
          url.searchParams.set('limit', '2')
        }
        return network.fetch(url, init)
      },
    })
    const cids = pictures.map(({ cid }) => cid)
    expect(await isServed(cids)).toEqual(new Set(cids))
    expect(pages).toBe(3)
  })

  test('a list without end, and one of another shape, are not believed', async () => {
    await using endless = await serve((_, response) => response.end('{"cids":["x"],"cursor":"again"}'))
    await using nonsense = await serve((_, response) => response.end('<html>'))
    const { cid } = pictureOf('any')
    for (const { url } of [endless, nonsense]) {
      await expect(servedBlobs(url, 'did:plc:x', network)([cid])).rejects.toBeInstanceOf(VerificationError)
    }
  })

  test('wrong bytes in a folder are not uploaded, and the next source is asked', async () => {
    const author = await startAuthor()
    const picture = pictureOf('swapped')
    const record = { record: documentWith(picture) }
    const wrong = await folderSource(await makeFolder({ [picture.cid]: pictureOf('another').bytes }))
    const { refused } = await author.uploadsFrom(wrong).prepare([record])
    expect(refused).toMatchObject([{ reason: expect.stringContaining('other bytes under this CID') }])
    expect(author.uploads).toEqual([])

    const right = await folderSource(await makeFolder({ [picture.cid]: picture.bytes }))
    expect(await author.uploadsFrom(wrong, right).prepare([record])).toMatchObject({ refused: [] })
  })

  test('a type that the PDS does not find in the bytes refuses the record before its batch is sent', async () => {
    const author = await startAuthor()
    const picture = pictureOf('declared')
    const declared = { ...blobOf(picture), mimeType: 'image/jpeg' }
    const record = { record: { ...documentWith(), coverImage: declared } }
    const folder = await folderSource(await makeFolder({ [picture.cid]: picture.bytes }))
    const { ready, refused } = await author.uploadsFrom(folder).prepare([record])
    expect(ready).toEqual([])
    expect(refused).toMatchObject([
      {
        reason: expect.stringMatching(/\(image\/jpeg\) at \$\.coverImage: the PDS finds it to be image\/png/),
      },
    ])
    await expect(author.create('a', record.record)).rejects.toThrow('InvalidMimeType')
  })

  test('one blob above the limit of the PDS costs its record only', async () => {
    const author = await startAuthor()
    const bytes = Buffer.alloc(6 * 1024 ** 2, 7)
    const cid = cidOfBytes(bytes)
    const mimeType = 'application/octet-stream'
    const big = {
      record: {
        ...documentWith(),
        file: { $type: 'blob', ref: { $link: cid }, mimeType, size: bytes.length },
      },
    }
    const picture = pictureOf('small')
    const small = { record: documentWith(picture) }
    const folder = await folderSource(await makeFolder({ [cid]: bytes, [picture.cid]: picture.bytes }))
    expect(await author.uploadsFrom(folder).prepare([big, small])).toMatchObject({
      ready: [small],
      refused: [{ record: big, reason: expect.stringContaining('PayloadTooLarge') }],
    })
  })
})

describe('sources', () => {
  const did = 'did:plc:ewvi7nxzyoun6zhxrhs64oiz'
  const picture = pictureOf('source')
  const { cid } = picture
  const absent = pictureOf('absent').cid

  /** Answers with the picture under one path, and otherwise as told. */
  function hostOf(path: string, otherwise: { status: number; body?: string }): Promise<LoopbackServer> {
    return serve((request, response) => {
      if (request.url === path) response.end(picture.bytes)
      else response.writeHead(otherwise.status).end(otherwise.body ?? '')
    })
  }

  test('a folder takes no path for a CID, and says when it is none', async () => {
    const folder = await makeFolder({ [cid]: picture.bytes, secret: Buffer.from('x') })
    const source = await folderSource(folder)
    expect(await source.fetch(cid, did)).toEqual(Buffer.from(picture.bytes))
    expect(await source.fetch('secret', did)).toBeUndefined()
    expect(await source.fetch(absent, did)).toBeUndefined()
    await expect(folderSource(join(folder, 'no'))).rejects.toBeInstanceOf(ConfigError)
    await expect(folderSource(join(folder, 'secret'))).rejects.toBeInstanceOf(ConfigError)
    const small = await folderSource(folder, 10)
    await expect(small.fetch(cid, did)).rejects.toBeInstanceOf(VerificationError)
  })

  test('a URL template puts DID and CID in their places', async () => {
    await using host = await hostOf(`/${did}/x/${cid}.png`, { status: 404 })
    const source = urlSource(`${host.url}/{did}/x/{cid}.png`, network)
    expect(await source.fetch(cid, did)).toEqual(Buffer.from(picture.bytes))
    expect(await source.fetch(absent, did)).toBeUndefined()
    await expect(
      urlSource(`${host.url}/{did}/x/{cid}.png`, { ...network, maxBytes: 10 }).fetch(cid, did),
    ).rejects.toBeInstanceOf(VerificationError)
    const guarded = { ...network, fetch: createFetch() }
    await expect(urlSource(`${host.url}/{did}/x/{cid}.png`, guarded).fetch(cid, did)).rejects.toBeInstanceOf(
      VerificationError,
    )
    expect(() => urlSource(`${host.url}/x.png`, network)).toThrow(ConfigError)
    expect(() => urlSource('blobs/{cid}', network)).toThrow(ConfigError)
  })

  test.each([
    [429, UnavailableError],
    [503, UnavailableError],
    [403, PdsError],
  ])('a host that answers %i does not look like one without the blob', async (status, expected) => {
    await using host = await hostOf('/none', { status })
    await expect(urlSource(`${host.url}/{cid}`, network).fetch(cid, did)).rejects.toBeInstanceOf(expected)
    await expect(pdsSource(host.url, network).fetch(cid, did)).rejects.toBeInstanceOf(expected)
  })

  const storage = (message: string) => JSON.stringify({ statusCode: '404', error: 'not_found', message })

  test('a bucket without the object has none; a bucket that is not there is an error', async () => {
    const path = `/storage/v1/object/pictures/a/${did}/${cid}`
    await using host = await hostOf(path, { status: 400, body: storage('Object not found') })
    const database = openDatabase({ url: host.url, serviceKey: 'sb_secret_x', label: 'production' })
    const source = bucketSource({ database, bucket: 'pictures', object: 'a/{did}/{cid}' })
    expect(await source.fetch(cid, did)).toEqual(new Uint8Array(picture.bytes))
    expect(await source.fetch(absent, did)).toBeUndefined()
    expect(() => bucketSource({ database, bucket: 'pictures', object: 'a' })).toThrow(ConfigError)

    for (const [status, body, expected] of [
      [400, storage('Bucket not found'), ConfigError],
      [403, '{"statusCode":"403","error":"Unauthorized","message":"jwt"}', ConfigError],
      [503, 'busy', UnavailableError],
    ] as const) {
      await using broken = await hostOf('/none', { status, body })
      const other = openDatabase({ url: broken.url, serviceKey: 'sb_secret_x', label: 'production' })
      const failing = bucketSource({ database: other, bucket: 'pictures' })
      await expect(failing.fetch(cid, did)).rejects.toBeInstanceOf(expected)
    }
  })

  test('the history of a DID names every PDS once, newest first, and a real one names its own', async () => {
    const { account, pdsUrl } = await startAuthor()
    const { plcUrl } = stack
    expect(await pdsHistory(account.did, { plcUrl, fetch: network.fetch })).toEqual([pdsUrl])
    expect(await pdsHistory('did:web:example.com', { plcUrl, fetch: network.fetch })).toEqual([])

    const service = (endpoint: string) => ({ operation: { services: { atproto_pds: { endpoint } } } })
    const log = [
      { operation: { type: 'create', service: 'https://first.example' } },
      service('https://second.example/'),
      { operation: { services: {} } },
      service('file:///etc/passwd'),
      service('https://third.example'),
      service('https://second.example'),
      { operation: { type: 'plc_tombstone' } },
    ]
    await using plc = await serve((_, response) => response.end(JSON.stringify(log)))
    expect(await pdsHistory(did, { plcUrl: plc.url, fetch: network.fetch })).toEqual([
      'https://second.example',
      'https://third.example',
      'https://first.example',
    ])
    await using nonsense = await serve((_, response) => response.end('{}'))
    const asked = pdsHistory(did, { plcUrl: nonsense.url, fetch: network.fetch })
    await expect(asked).rejects.toBeInstanceOf(VerificationError)
  })

  test('an earlier PDS gives what the present one has deleted', async () => {
    const author = await startAuthor()
    const query = new URLSearchParams({ did: author.did, cid })
    await using earlier = await hostOf(`/xrpc/com.atproto.sync.getBlob?${query}`, { status: 400 })
    const log = [earlier.url, author.pdsUrl].map((endpoint) => ({
      operation: { services: { atproto_pds: { endpoint } } },
    }))
    await using plc = await serve((_, response) => response.end(JSON.stringify(log)))
    const sources = await pdsSources(author.did, { pdsUrl: author.pdsUrl, plcUrl: plc.url, network })
    expect(sources.map(({ name }) => name)).toEqual([author.pdsUrl, earlier.url])

    const record = documentWith(picture)
    const plan = await author.plan([{ uri: `at://${author.did}/${COLLECTION}/a`, record }], ...sources)
    expect(plan.blobs).toMatchObject([{ cid, status: 'upload', source: earlier.url }])
    expect(await author.uploadsFrom(...sources).prepare([{ record }])).toMatchObject({ refused: [] })
    await author.create('a', record)
    expect(await author.isServed([cid])).toEqual(new Set([cid]))
  })
})

describe('the pictures of a lived-in account', () => {
  let scenario: Scenario
  let cache: string
  let kept: string
  let lost: DeletedRecord[]

  beforeAll(async () => {
    cache = await mkdtemp(join(tmpdir(), 'blobs-test-'))
    kept = join(cache, 'kept')
    const options = { documents: 24, readers: 3, images: true, blobFolder: join(cache, 'cache') }
    scenario = await publish(stack, options)
    const { url, serviceKey } = stack.production
    const production = openDatabase({ url, serviceKey, label: 'production' })
    const indexer = new Indexer({ appview: leaflet, database: production })
    const ranks = new Map(leaflet.handlers.map(({ collection, rank }) => [collection, rank]))
    const identity = createIdentity({ plcUrl: stack.plcUrl, allowLocalhost: true })
    await replayRepo({
      did: scenario.author.did,
      sink: indexer,
      identity,
      xrpc: createXrpc({ fetch: network.fetch }),
      rankOf: (collection) => ranks.get(collection),
    })
    await stack.takeBackup()
  })
  afterAll(() => rm(cache, { recursive: true }))

  const withPictures = () => {
    const { publications, documents } = scenario.content
    return [...publications, ...documents].filter(({ record }) => blobRefsOf(record).length > 0)
  }

  async function extractTo(folder: string) {
    const { did } = scenario.author
    const { production, backup, plcUrl } = stack
    return new Promise<{ code: number; json: JsonObject; stderr: string }>((resolve) => {
      const args = [
        'extract',
        '--did',
        did,
        '--out',
        join(cache, 'snapshot.json'),
        '--blobs',
        folder,
        '--json',
      ]
      const env = {
        SUPABASE_URL: production.url,
        SUPABASE_SERVICE_ROLE_KEY: production.serviceKey,
        BACKUP_SUPABASE_URL: backup.url,
        BACKUP_SUPABASE_SERVICE_ROLE_KEY: backup.serviceKey,
        FIREHOSE_REPLAY_PLC_URL: plcUrl,
        FIREHOSE_REPLAY_ALLOW_LOCALHOST: '1',
      }
      execFile(process.execPath, ['src/cli/main.ts', ...args], { env }, (error, stdout, stderr) => {
        const code = typeof error?.code === 'number' ? error.code : 0
        resolve({ code, json: stdout === '' ? {} : JSON.parse(stdout), stderr })
      })
    })
  }

  test('are the same for the same seed, each of some kilobytes, in a share of documents and both publications', () => {
    const { pictures, publications, documents } = scenario.content
    expect(new Set(pictures.map(({ cid }) => cid)).size).toBe(pictures.length)
    for (const { bytes } of pictures) {
      expect(bytes.length).toBeGreaterThan(1_000)
      expect(bytes.length).toBeLessThan(10_000)
    }
    for (const { record } of publications) expect(blobRefsOf(record).length).toBeGreaterThan(0)
    const share = documents.filter(({ record }) => blobRefsOf(record).length > 0).length
    expect(share).toBeGreaterThan(documents.length / 5)
    expect(share).toBeLessThan(documents.length)
    expect(pictureOf('a').cid).toBe(pictureOf('a').cid)
  })

  test('are collected from the PDS while it has them', async () => {
    const { pictures } = scenario.content
    const { code, json, stderr } = await extractTo(kept)
    expect(stderr).toBe('')
    expect(code).toBe(0)
    expect(json.blobs).toMatchObject({
      collected: { count: pictures.length },
      alreadyThere: 0,
      missing: [],
      lacking: [],
      recordsWithBlobs: withPictures().length,
    })
    expect((await readdir(kept)).sort()).toEqual(pictures.map(({ cid }) => cid).sort())
    expect((await stat(kept)).mode & 0o777).toBe(0o700)
    for (const { cid, bytes } of pictures) {
      expect((await stat(join(kept, cid))).mode & 0o777).toBe(0o600)
      expect(await readFile(join(kept, cid))).toEqual(Buffer.from(bytes))
    }
  })

  test('cannot be had of the PDS after the incident, which is said with each record', async () => {
    lost = await deleteRecords(stack, scenario)
    const { code, json } = await extractTo(join(cache, 'empty'))
    expect(code).toBe(1)
    const { lacking, missing } = json.blobs as { lacking: { uri: string }[]; missing: unknown[] }
    expect(lacking.map(({ uri }) => uri).sort()).toEqual(
      withPictures()
        .map(({ uri }) => uri)
        .sort(),
    )
    expect(missing).toHaveLength(scenario.content.pictures.length)
    expect(await readdir(join(cache, 'empty'))).toEqual([])

    // What was kept before stays, and a file that somebody has changed is not taken for the blob.
    const [first] = scenario.content.pictures
    if (first === undefined) throw new Error('no picture')
    await writeFile(join(kept, first.cid), 'changed')
    expect((await extractTo(kept)).json.blobs).toMatchObject({
      collected: { count: 0 },
      alreadyThere: scenario.content.pictures.length - 1,
      missing: [{ cid: first.cid, reason: expect.stringContaining('other bytes') }],
    })
  })

  test('come back from the appview’s cache, with every record as it was', async () => {
    const { author, content } = scenario
    const { did, pdsUrl } = author
    const records = [...content.publications, ...content.documents]
    const isServed = servedBlobs(pdsUrl, did, network)
    const finder = new BlobFinder(did, [await folderSource(join(cache, 'cache'))])
    const plan = await planBlobs(records, { isServed, finder })
    const { pictures } = content
    expect(plan.counts).toEqual({ served: 0, upload: pictures.length, missing: 0 })
    expect(plan.uploadBytes).toBe(pictures.reduce((sum, { bytes }) => sum + bytes.length, 0))

    const session = {
      did,
      async uploadBlob(bytes: Uint8Array, mimeType: string) {
        const { blob } = await xrpc(author, 'com.atproto.repo.uploadBlob', bytes, mimeType)
        const { ref, size } = blob as { ref: { $link: string }; size: number }
        return { cid: ref.$link, mimeType: String((blob as JsonObject).mimeType), size }
      },
    }
    const uploads = new BlobUploads({ session, isServed, finder })
    for (const half of [records.slice(0, 10), records.slice(10)]) {
      const { ready, refused } = await uploads.prepare(half)
      expect(refused).toEqual([])
      const writes = ready.map(({ collection, rkey, record: value }) => ({
        $type: 'com.atproto.repo.applyWrites#create',
        collection,
        rkey,
        value,
      }))
      await xrpc(author, 'com.atproto.repo.applyWrites', { repo: did, validate: false, writes })
    }
    // A picture that several records share goes up once, although they were in two batches.
    expect(uploads.uploaded.count).toBe(pictures.length)
    expect(await isServed(pictures.map(({ cid }) => cid))).toEqual(new Set(pictures.map(({ cid }) => cid)))
    const cids = new Map(records.map(({ uri, record }) => [uri, cidOfRecord(record)]))
    expect(new Map(lost.map(({ uri, cid }) => [uri, cid]))).toEqual(cids)
  })
})
