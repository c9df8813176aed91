import { P256Keypair } from '@atproto/crypto'
import { cborToLexRecord, readCar as readLibraryCar, verifyRepoCar } from '@atproto/repo'
import { describe, expect, it } from 'vitest'
import { VerificationError } from '../../../src/errors.ts'
import { cidOfBlock } from '../../../src/repo/dag-cbor.ts'
import { recordFromBytes } from '../../../src/repo/record.ts'
import { MissingBlockError, SignatureError } from '../../../src/repo/repo-errors.ts'
import { openRepo, readVerifiedRepo } from '../../../src/repo/verified-repo.ts'
import {
  buildRepo,
  COLLECTION,
  DID,
  Forge,
  fullCar,
  inChunks,
  KEYS,
  keysOnLayer,
  noteOf,
  REV,
  rkeyOf,
  stream,
} from './build-repo.ts'

const otherKey = await P256Keypair.create()
const signer = { did: DID, signingKey: KEYS.p256.did() }

/** Halves of the group orders come from elsewhere in the code under test; these are the orders themselves. */
const ORDERS = {
  p256: 0xffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551n,
  secp256k1: 0xfffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141n,
}

describe('readVerifiedRepo', () => {
  it.each(['p256', 'secp256k1'] as const)('finds the records that the library finds (%s)', async (curve) => {
    const built = await buildRepo(300, KEYS[curve])
    const car = Buffer.concat(await fullCar(built))
    const expected = (await verifyRepoCar(car, DID, built.signingKey)).creates
    const { blocks } = await readLibraryCar(car)

    const repo = await readVerifiedRepo(inChunks(car, 1000), built)

    expect(repo).toMatchObject({ did: DID, rev: built.repo.commit.rev, recordCount: 300 })
    expect(repo.commit.equals(built.repo.cid)).toBe(true)
    const found = [...repo.records()].map(({ collection, rkey, cid, bytes }) => {
      return { collection, rkey, cid: cid.toString(), record: recordFromBytes(bytes) }
    })
    const byKey = expected.map(({ collection, rkey, cid }) => {
      return { collection, rkey, cid: cid.toString(), record: cborToLexRecord(blocks.get(cid) ?? car) }
    })
    expect(found).toEqual(byKey.sort((a, b) => (a.rkey < b.rkey ? -1 : 1)))
  })

  it('gets one record by its key, and undefined for others', async () => {
    const built = await buildRepo(20)
    const repo = await readVerifiedRepo(stream(...(await fullCar(built))), built)
    const record = repo.get(COLLECTION, rkeyOf(7))
    expect(record && recordFromBytes(record.bytes)).toEqual(noteOf(7))
    expect(repo.get(COLLECTION, 'nothing')).toBeUndefined()
  })

  it('reads an empty repository', async () => {
    const built = await buildRepo(0)
    const repo = await readVerifiedRepo(stream(...(await fullCar(built))), built)
    expect(repo.recordCount).toBe(0)
    expect([...repo.records()]).toEqual([])
  })

  it('refuses the commit of another account', async () => {
    const built = await buildRepo(3)
    const reading = readVerifiedRepo(stream(...(await fullCar(built))), { ...built, did: 'did:plc:other' })
    await expect(reading).rejects.toThrow(/not of did:plc:other/)
  })

  it.each([KEYS.secp256k1.did(), otherKey.did()])('refuses another key', async (signingKey) => {
    const built = await buildRepo(3)
    const reading = readVerifiedRepo(stream(...(await fullCar(built))), { did: DID, signingKey })
    await expect(reading).rejects.toBeInstanceOf(SignatureError)
  })

  it.each(['p256', 'secp256k1'] as const)(
    'refuses the high-S twin of a good signature (%s)',
    async (curve) => {
      const forge = new Forge()
      const data = forge.node([])
      const good = await forge.commit(data, {}, KEYS[curve])
      const { sig } = recordFromBytes(forge.blocks.get(good) ?? new Uint8Array())
      if (!(sig instanceof Uint8Array)) throw new Error('no signature')
      const s = BigInt(`0x${Buffer.from(sig.subarray(32)).toString('hex')}`)
      const highS = Buffer.from((ORDERS[curve] - s).toString(16).padStart(64, '0'), 'hex')
      const twin = await forge.commit(data, { sig: Buffer.concat([sig.subarray(0, 32), highS]) })
      const options = { did: DID, signingKey: KEYS[curve].did() }

      await expect(readVerifiedRepo(stream(await forge.car(good)), options)).resolves.toMatchObject({
        rev: REV,
      })
      await expect(readVerifiedRepo(stream(await forge.car(twin)), options)).rejects.toBeInstanceOf(
        SignatureError,
      )
    },
  )

  it('names a record whose block is missing', async () => {
    const built = await buildRepo(10)
    const forge = new Forge()
    const car = await built.repo.data.get(`${COLLECTION}/${rkeyOf(4)}`)
    const { blocks } = await built.storage.getBlocks(await allCids(built))
    forge.blocks.addMap(blocks)
    if (car) forge.blocks.delete(car)
    const reading = readVerifiedRepo(stream(await forge.car(built.repo.cid)), built)
    await expect(reading).rejects.toMatchObject({ constructor: MissingBlockError, cid: car?.toString() })
    await expect(reading).rejects.toThrow(rkeyOf(4))
  })

  it('names a node that is missing', async () => {
    const built = await buildRepo(200)
    const forge = new Forge()
    forge.blocks.addMap((await built.storage.getBlocks(await allCids(built))).blocks)
    const path = await built.repo.data.cidsForPath(`${COLLECTION}/${rkeyOf(100)}`)
    const lowest = path.at(-2)
    if (lowest) forge.blocks.delete(lowest)
    const reading = readVerifiedRepo(stream(await forge.car(built.repo.cid)), built)
    await expect(reading).rejects.toMatchObject({ constructor: MissingBlockError, cid: lowest?.toString() })
  })
})

describe('a tree that is signed but not canonical', () => {
  const [a = '', b = '', c = ''] = keysOnLayer(0, 3)
  const [high = ''] = keysOnLayer(1, 1)
  const [above = ''] = keysOnLayer(0, 400).filter((key) => key > high)
  const [veryHigh = ''] = keysOnLayer(2, 1)

  const cases: [string, RegExp, (forge: Forge) => ReturnType<Forge['node']>][] = [
    ['keys out of order in a node', /out of order/, (f) => f.node([{ key: b }, { key: a }, { key: c }])],
    ['a key twice in a node', /twice/, (f) => f.node([{ key: a }, { key: a }])],
    ['a subtree out of order', /out of order/, (f) => f.node([{ key: high }], f.node([{ key: above }]))],
    [
      'a key in two subtrees',
      /twice|out of order/,
      (f) => {
        const low = f.node([{ key: above }])
        return f.node([{ key: high, right: low }], low)
      },
    ],
    ['a key on a layer too high', /belongs on layer 0/, (f) => f.node([{ key: high }, { key: above }])],
    [
      'a key on a layer too low',
      /belongs on layer/,
      (f) => f.node([{ key: veryHigh }], f.node([{ key: a }])),
    ],
    ['a prefix cut short', /prefix/, (f) => f.node([{ key: a }, { key: b, prefix: 0 }])],
    ['an empty node below the root', /empty node/, (f) => f.node([{ key: high }], f.node([]))],
    ['a root without keys', /holds no key/, (f) => f.node([], f.node([{ key: a }]))],
    ['a subtree below layer 0', /lowest layer/, (f) => f.node([{ key: a, right: f.node([{ key: b }]) }])],
    ['a path that is none', /not the path of a record/, (f) => f.node([{ key: 'notes/1' }])],
    [
      'a node encoded in another order of fields',
      /DAG-CBOR requires/,
      (f) => f.putBytes(Buffer.from('a2616cf6616580', 'hex')),
    ],
    ['a node with further fields', /wrong fields/, (f) => f.put({ l: null, e: [], x: 1 })],
  ]
  it.each(cases)('is refused: %s', async (_, message, tree) => {
    const forge = new Forge()
    const car = await forge.car(await forge.commit(tree(forge)))
    const reading = readVerifiedRepo(stream(car), signer)
    await expect(reading).rejects.toBeInstanceOf(VerificationError)
    await expect(reading).rejects.toThrow(message)
  })

  it('is otherwise accepted when made by hand', async () => {
    const forge = new Forge()
    const keys = [a, high, above].sort()
    const left = forge.node(keys.filter((key) => key < high).map((key) => ({ key })))
    const root = forge.node([{ key: high, right: forge.node([{ key: above }]) }], left)
    const repo = await readVerifiedRepo(stream(await forge.car(await forge.commit(root))), signer)
    expect([...repo.records()].map(({ collection, rkey }) => `${collection}/${rkey}`)).toEqual(keys)
  })

  it.each([
    ['version 2', { version: 2 as never }],
    ['no valid rev', { rev: 'yesterday' }],
    ['a further field', { extra: 1 } as never],
  ])('a commit with %s is refused', async (_, overrides) => {
    const forge = new Forge()
    const car = await forge.car(await forge.commit(forge.node([]), overrides))
    await expect(readVerifiedRepo(stream(car), signer)).rejects.toBeInstanceOf(VerificationError)
  })
})

async function allCids(built: Awaited<ReturnType<typeof buildRepo>>) {
  const cids = await built.repo.data.allCids()
  cids.add(built.repo.cid)
  return cids.toList()
}

it('a repository of too many blocks is refused, and one of just as many is not', async () => {
  const built = await buildRepo(30)
  const car = await fullCar(built)
  const blockCount = built.storage.blocks.size
  await expect(openRepo(stream(...car), { ...built, maxBlockCount: blockCount - 1 })).rejects.toThrow(
    `more than ${blockCount - 1} blocks`,
  )
  const repo = await openRepo(stream(...car), { ...built, maxBlockCount: blockCount })
  expect(repo.recordCount).toBe(30)
  repo.close()
})

describe('topUp', () => {
  const LATER = '3jzfcijpj2z2b'
  /** A repository of two notes, and what its host serves of it afterwards. */
  async function changing() {
    const forge = new Forge()
    const [a = '', b = '', c = ''] = keysOnLayer(0, 3)
    const old = forge.put({ $type: COLLECTION, text: 'old' })
    const first = await forge.commit(
      forge.node([
        { key: a, value: old },
        { key: b, value: old },
      ]),
    )
    const repo = await openRepo(stream(await forge.car(first)), signer)
    const next = new Forge()
    const fresh = next.put({ $type: COLLECTION, text: 'new' })
    const data = next.node([
      { key: a, value: fresh },
      { key: c, value: old },
    ])
    const diff = async (rev: string) => next.car(await next.commit(data, { rev }))
    return { repo, diff, paths: { a, b, c }, next, old }
  }
  const rkeys = (found: { rkey: string }[]) => found.map(({ rkey }) => `${COLLECTION}/${rkey}`)

  it('says what changed, with blocks that only the first fetch brought', async () => {
    const { repo, diff, paths, old } = await changing()
    const { upserts, deletes } = await repo.topUp(stream(await diff(LATER)), signer)
    expect(rkeys(upserts)).toEqual([paths.a, paths.c])
    expect(rkeys(deletes)).toEqual([paths.b])
    expect(deletes[0]?.cid.equals(old)).toBe(true)
    expect(repo).toMatchObject({ rev: LATER, recordCount: 2 })
    const read = [...repo.records()].map(({ bytes }) => recordFromBytes(bytes).text)
    expect(read).toEqual(['new', 'old'])
  })

  it('refuses an older revision, another key and a part that is missing, and stays what it was', async () => {
    const { repo, diff, next } = await changing()
    await expect(repo.topUp(stream(await diff('3jzfcijpj2z22')), signer)).rejects.toThrow('went back')
    await expect(
      repo.topUp(stream(await diff(LATER)), { did: DID, signingKey: otherKey.did() }),
    ).rejects.toBeInstanceOf(SignatureError)
    const missing = await next.commit(
      next.node([{ key: keysOnLayer(0, 1)[0] ?? '', value: cidOfBlock(Buffer.from('x')) }]),
      {
        rev: LATER,
      },
    )
    await expect(repo.topUp(stream(await next.car(missing)), signer)).rejects.toBeInstanceOf(
      MissingBlockError,
    )
    const cut = (await diff(LATER)).subarray(0, -10)
    await expect(repo.topUp(stream(cut), signer)).rejects.toBeInstanceOf(VerificationError)
    expect(repo).toMatchObject({ rev: REV, recordCount: 2 })
    expect([...repo.records()].map(({ bytes }) => recordFromBytes(bytes).text)).toEqual(['old', 'old'])
  })

  it('counts what top-ups bring into the limits of size and of blocks', async () => {
    const forge = new Forge()
    const key = keysOnLayer(0, 1)[0] ?? ''
    const first = await forge.commit(forge.node([{ key }]))
    const car = await forge.car(first)
    const next = new Forge()
    const value = next.put({ $type: COLLECTION, text: 'new' })
    const later = await next.car(await next.commit(next.node([{ key, value }]), { rev: LATER }))
    const topUp = async (limits: { maxBytes?: number; maxBlockCount?: number }) =>
      (await openRepo(stream(car), { ...signer, ...limits })).topUp(stream(later), signer)
    const maxBytes = car.length + later.length
    await expect(topUp({ maxBytes, maxBlockCount: 6 })).resolves.toMatchObject({ upserts: [{}] })
    await expect(topUp({ maxBytes: maxBytes - 1 })).rejects.toThrow(`limit of ${maxBytes - 1} bytes`)
    await expect(topUp({ maxBlockCount: 5 })).rejects.toThrow('more than 5 blocks')
  })

  it('keeps only the collections that are wanted, having checked the others', async () => {
    const built = await buildRepo(30)
    const repo = await openRepo(stream(...(await fullCar(built))), { ...built, isWanted: () => false })
    expect(repo).toMatchObject({ recordCount: 0, rev: built.repo.commit.rev })
  })
})
