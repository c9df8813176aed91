/** Repositories that a host may serve and that must not be believed: nothing of them reaches the sink. */
import { readdirSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { type Keypair, P256Keypair } from '@atproto/crypto'
import type { Cid } from '@atproto/lex'
import { verifyRepoCar } from '@atproto/repo'
import { describe, expect, test } from 'vitest'
import type { EventSink, RecordEvent } from '../../../src/events.ts'
import { type ReplayOptions, replayRepo } from '../../../src/firehose/replay.ts'
import type { Identity } from '../../../src/network/identity.ts'
import type { Xrpc } from '../../../src/network/xrpc.ts'
import { encodeBlock } from '../../../src/repo/dag-cbor.ts'
import { recordFromBytes } from '../../../src/repo/record.ts'
import {
  buildRepo,
  COLLECTION,
  DID,
  Forge,
  fullCar,
  inChunks,
  KEYS,
  keysOnLayer,
  REV,
  rkeyOf,
} from '../repo/build-repo.ts'

/** Of the groups, from FIPS 186-5 and SEC 2. */
const ORDERS = {
  p256: 0xffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551n,
  secp256k1: 0xfffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141n,
}
const OTHER_KEY = await P256Keypair.create()
const [a = '', b = '', c = ''] = keysOnLayer(0, 3)
const [high = ''] = keysOnLayer(1, 1)

/** `signingKey` is what the DID document says. */
type Replaying = Partial<ReplayOptions> & { signingKey?: string }

async function replayed(car: Uint8Array, { signingKey = KEYS.p256.did(), ...options }: Replaying = {}) {
  const events: RecordEvent[] = []
  let isFlushed = false
  const sink: EventSink = {
    handle: async (event) => void events.push(event),
    flush: async () => {
      isFlushed = true
      return { cursor: undefined }
    },
  }
  const known = { did: DID, handle: 'a.test', pdsUrl: 'https://pds.example', signingKey }
  const identity: Identity = {
    resolve: async () => known,
    refresh: async () => known,
    clear: async () => undefined,
  }
  const xrpc = {
    getRepoStream: async () => inChunks(car, 1000),
    getLatestCommit: async () => ({ cid: '', rev: '' }),
  } as unknown as Xrpc
  try {
    const result = await replayRepo({ did: DID, sink, identity, xrpc, ...options } as ReplayOptions)
    return { result, events, isFlushed, error: undefined }
  } catch (error) {
    return { result: undefined, events, isFlushed, error }
  }
}

async function signed(
  forge: Forge,
  data: Cid,
  overrides: Parameters<Forge['commit']>[1] = {},
  key: Keypair = KEYS.p256,
) {
  return forge.car(await forge.commit(data, overrides, key))
}

async function honest(): Promise<Buffer> {
  return Buffer.concat(await fullCar(await buildRepo(60)))
}

async function without(
  find: (built: Awaited<ReturnType<typeof buildRepo>>) => Promise<Cid | null | undefined>,
) {
  const built = await buildRepo(60)
  const cids = await built.repo.data.allCids()
  cids.add(built.repo.cid)
  const forge = new Forge()
  forge.blocks.addMap((await built.storage.getBlocks(cids.toList())).blocks)
  const left = await find(built)
  if (left) forge.blocks.delete(left)
  return forge.car(built.repo.cid)
}

/** With the other s that would do: another CID for the same commit by the same key. */
async function highS(curve: keyof typeof ORDERS): Promise<Uint8Array> {
  const forge = new Forge()
  const data = forge.node([{ key: a }])
  const commit = await forge.commit(data, {}, KEYS[curve])
  const { sig } = recordFromBytes(forge.blocks.get(commit) ?? new Uint8Array())
  if (!(sig instanceof Uint8Array)) throw new Error('no signature')
  const s = BigInt(`0x${Buffer.from(sig.subarray(32)).toString('hex')}`)
  const twin = Buffer.from((ORDERS[curve] - s).toString(16).padStart(64, '0'), 'hex')
  return signed(forge, data, { sig: Buffer.concat([sig.subarray(0, 32), twin]) })
}

/** Two nodes of which each names the other: only by lying about a CID. */
async function longCycle(): Promise<Uint8Array> {
  const [higher = ''] = keysOnLayer(2, 1)
  const forge = new Forge()
  const inner = forge.node([{ key: high }])
  const root = forge.node([{ key: higher }], inner)
  forge.blocks.set(inner, encodeBlock({ l: root, e: [] }))
  return forge.car(await forge.commit(root))
}

/** The block of the root names itself as its subtree: only by lying about its own CID. */
async function cycle(): Promise<Uint8Array> {
  const forge = new Forge()
  const inner = forge.node([{ key: a }])
  const root = forge.node([{ key: high }], inner)
  const commit = await forge.commit(root)
  forge.blocks.set(inner, forge.blocks.get(root) ?? new Uint8Array())
  return forge.car(commit)
}

/** Where the connection breaks between two blocks, nothing in the bytes tells. */
async function cutBehindBlock(): Promise<Uint8Array> {
  const car = await honest()
  const ends: number[] = []
  for (let at = 0; at < car.length; ends.push(at)) {
    let [length, shift] = [0, 0]
    for (let byte = 128; byte > 127; shift += 7) {
      byte = car.readUInt8(at++)
      length += (byte % 128) << shift
    }
    at += length
  }
  return car.subarray(0, ends[ends.length >> 1])
}

/** What @atproto/repo makes of it: how many records, or its error. */
async function byTheLibrary(car: Uint8Array, signingKey = KEYS.p256.did()): Promise<number | string> {
  try {
    return (await verifyRepoCar(car, DID, signingKey)).creates.length
  } catch (error) {
    return String(error)
  }
}

const cases: [string, RegExp, () => Promise<Uint8Array>, library: 'refuses' | number, signingKey?: string][] =
  [
    ['cut short in a block', /cut short/, async () => (await honest()).subarray(0, -20), 'refuses'],
    ['cut short behind a block', /was not sent/, cutBehindBlock, 'refuses'],
    ['cut short in its header', /cut short|header/, async () => (await honest()).subarray(0, 20), 'refuses'],
    ['of no bytes', /cut short|empty|header/, async () => new Uint8Array(), 'refuses'],
    [
      'without a record',
      /was not sent/,
      () => without(({ repo }) => repo.data.get(`${COLLECTION}/${rkeyOf(7)}`)),
      'refuses',
    ],
    [
      'without a node',
      /was not sent/,
      () => without(async ({ repo }) => (await repo.data.cidsForPath(`${COLLECTION}/${rkeyOf(30)}`)).at(-2)),
      'refuses',
    ],
    ['without its commit', /was not sent/, () => without(async ({ repo }) => repo.cid), 'refuses'],
    [
      'altered',
      /not what its CID/,
      async () => {
        const car = await honest()
        car.writeUInt8(car.readUInt8(car.length - 5) ^ 1, car.length - 5)
        return car
      },
      'refuses',
    ],
    [
      'of another account',
      /not of did:plc/,
      () => {
        const forge = new Forge()
        return signed(forge, forge.node([{ key: a }]), { did: 'did:plc:bbbbbbbbbbbbbbbbbbbbbbbb' })
      },
      'refuses',
    ],
    [
      'signed by another key',
      /not signed by its signing key/,
      () => {
        const forge = new Forge()
        return signed(forge, forge.node([{ key: a }]), {}, OTHER_KEY)
      },
      'refuses',
    ],
    [
      'signed by a key of the other curve',
      /not signed by its signing key/,
      () => {
        const forge = new Forge()
        return signed(forge, forge.node([{ key: a }]), {}, KEYS.secp256k1)
      },
      'refuses',
    ],
    ['signed with a high S (P-256)', /not signed by its signing key/, () => highS('p256'), 'refuses'],
    [
      'signed with a high S (secp256k1)',
      /not signed by its signing key/,
      () => highS('secp256k1'),
      'refuses',
      KEYS.secp256k1.did(),
    ],
    ['with a cycle', /not what its CID/, cycle, 'refuses'],
    ['with a cycle over two nodes', /not what its CID/, longCycle, 'refuses'],
    [
      'misordered',
      /out of order/,
      () => {
        const forge = new Forge()
        return signed(forge, forge.node([{ key: b }, { key: a }, { key: c }]))
      },
      3,
    ],
    [
      'with a key twice',
      /twice/,
      () => {
        const forge = new Forge()
        return signed(forge, forge.node([{ key: a }, { key: a }]))
      },
      1,
    ],
    [
      'with a subtree out of order',
      /out of order/,
      () => {
        const forge = new Forge()
        const above = keysOnLayer(0, 400).find((key) => key > high) ?? ''
        return signed(forge, forge.node([{ key: high }], forge.node([{ key: above }])))
      },
      2,
    ],
    [
      'with a key on a layer too high',
      /belongs on layer/,
      () => {
        const forge = new Forge()
        return signed(
          forge,
          forge.node([{ key: a }, { key: high }].toSorted((x, y) => (x.key < y.key ? -1 : 1))),
        )
      },
      2,
    ],
  ]

describe('a repository', () => {
  test.each(cases)(
    '%s is refused with a clear error, and nothing is handed over',
    async (_name, message, make, _library, signingKey = KEYS.p256.did()) => {
      const car = await make()
      // The second goes by way of a file.
      for (const memoryBytes of [1_000_000, 10]) {
        const { error, events, isFlushed } = await replayed(car, { signingKey, memoryBytes })
        expect(error).toMatchObject({
          name: expect.stringMatching(/^(VerificationError|MissingBlockError|SignatureError)$/),
          exitCode: 3,
          hint: expect.stringMatching(/.+/),
          message: expect.stringMatching(message),
        })
        expect(events).toEqual([])
        expect(isFlushed).toBe(false)
      }
    },
  )

  test.each(cases)('%s: what @atproto/repo makes of it', async (_name, _message, make, library, key) => {
    const found = await byTheLibrary(await make(), key)
    if (library === 'refuses') expect(found).toEqual(expect.any(String))
    else expect(found).toBe(library)
  })

  test('over the size limit is refused, and says what the limit is', async () => {
    const car = await honest()
    const { error, events } = await replayed(car, { maxRepoBytes: car.length - 1 })
    expect(error).toMatchObject({
      name: 'VerificationError',
      message: expect.stringContaining(`limit of ${car.length - 1} bytes`),
      hint: expect.stringContaining('size limit'),
    })
    expect(events).toEqual([])
    expect((await replayed(car, { maxRepoBytes: car.length })).events).toHaveLength(60)
    // Which knows no limit.
    expect(await byTheLibrary(car)).toBe(60)
  })
})

describe('on disk', () => {
  const ownFiles = () => readdirSync(tmpdir()).filter((name) => /^firehose-replay-.*\.car$/.test(name))
  const openFiles = () => readdirSync('/proc/self/fd').length

  test('a repository is handed over as in memory', async () => {
    const car = await honest()
    const inMemory = await replayed(car)
    const onDisk = await replayed(car, { memoryBytes: 1000 })
    const said = ({ events }: typeof onDisk) =>
      events.map((event) => [event.uri.toString(), event.event === 'create' ? event.record : undefined])
    expect(said(onDisk)).toEqual(said(inMemory))
  })

  test.runIf(process.platform === 'linux')('nothing stays behind, whatever happened', async () => {
    const before = { files: ownFiles(), open: openFiles() }
    const car = await honest()
    const stop = new AbortController()
    stop.abort(new Error('enough'))
    expect((await replayed(car, { memoryBytes: 1000 })).error).toBeUndefined()
    expect((await replayed(car.subarray(0, -20), { memoryBytes: 1000 })).error).toBeDefined()
    expect((await replayed(car, { memoryBytes: 1000, signal: stop.signal })).error).toMatchObject({
      message: 'enough',
    })
    const failing: EventSink = {
      handle: () => Promise.reject(new Error('away')),
      flush: async () => ({ cursor: undefined }),
    }
    expect(
      (await replayed(car, { memoryBytes: 1000, sink: failing } as Partial<ReplayOptions>)).error,
    ).toMatchObject({ message: 'away' })
    expect({ files: ownFiles(), open: openFiles() }).toEqual(before)
  })
})

test('a commit of the right account at any revision is as good', async () => {
  const forge = new Forge()
  const { result } = await replayed(await signed(forge, forge.node([{ key: a }, { key: b }])))
  expect(result).toMatchObject({ records: 2, receipt: { rev: REV } })
})
