import { describe, expect, it } from 'vitest'
import { VerificationError } from '../../../src/errors.ts'
import { verifyRecordProof } from '../../../src/repo/proof.ts'
import { MissingBlockError, SignatureError } from '../../../src/repo/repo-errors.ts'
import { buildRepo, COLLECTION, Forge, KEYS, keysOnLayer, noteOf, proofCar, rkeyOf } from './build-repo.ts'

const built = await buildRepo(400)
const { did, signingKey } = built
const claim = (rkey: string) => ({ did, signingKey, collection: COLLECTION, rkey })

describe('verifyRecordProof', () => {
  it('proves records that are there', async () => {
    for (let index = 0; index < 400; index += 13) {
      const proof = verifyRecordProof(await proofCar(built, COLLECTION, rkeyOf(index)), claim(rkeyOf(index)))
      expect(proof).toMatchObject({ record: noteOf(index), rev: built.repo.commit.rev })
      expect(proof.present?.toString()).toBe(
        String(await built.repo.data.get(`${COLLECTION}/${rkeyOf(index)}`)),
      )
    }
  })

  it.each(['', 'note00000x', 'note00200a', 'zzz', '0'].filter(Boolean))(
    'proves that %s is not there',
    async (rkey) => {
      const proof = verifyRecordProof(await proofCar(built, COLLECTION, rkey), claim(rkey))
      expect(proof).toEqual({ present: null, rev: built.repo.commit.rev })
    },
  )

  it('proves absence in an empty repository', async () => {
    const empty = await buildRepo(0)
    const car = await proofCar(empty, COLLECTION, 'any')
    expect(verifyRecordProof(car, claim('any')).present).toBeNull()
  })

  it('refuses the proof of another record', async () => {
    const car = await proofCar(built, COLLECTION, rkeyOf(0))
    expect(() => verifyRecordProof(car, claim(rkeyOf(399)))).toThrow(MissingBlockError)
  })

  it('refuses another account and another key', async () => {
    const car = await proofCar(built, COLLECTION, rkeyOf(0))
    const rkey = rkeyOf(0)
    expect(() => verifyRecordProof(car, { ...claim(rkey), did: 'did:plc:other' })).toThrow(VerificationError)
    const signingKey = KEYS.secp256k1.did()
    expect(() => verifyRecordProof(car, { ...claim(rkey), signingKey })).toThrow(SignatureError)
    expect(() => verifyRecordProof(car, { ...claim(rkey), signingKey: 'did:key:zQ3nonsense' })).toThrow(
      VerificationError,
    )
  })

  it('refuses a proof cut short', async () => {
    const car = await proofCar(built, COLLECTION, rkeyOf(0))
    expect(() => verifyRecordProof(car.subarray(0, -1), claim(rkeyOf(0)))).toThrow(VerificationError)
  })

  it('refuses absence from a subtree whose keys lie outside its bounds', async () => {
    const [high = ''] = keysOnLayer(1, 1)
    const [low = ''] = keysOnLayer(0, 400).filter((key) => key < high)
    const [above = ''] = keysOnLayer(0, 400).filter((key) => key > high)
    const forge = new Forge()
    const root = await forge.commit(forge.node([{ key: high }], forge.node([{ key: above }])))
    const car = await forge.car(root)
    const rkey = low.slice(COLLECTION.length + 1)
    expect(() => verifyRecordProof(car, claim(rkey))).toThrow(/out of order/)
  })

  it('refuses absence from a node that is out of order', async () => {
    const [a = '', b = '', c = ''] = keysOnLayer(0, 3)
    const forge = new Forge()
    const car = await forge.car(await forge.commit(forge.node([{ key: c }, { key: a }])))
    const rkey = b.slice(COLLECTION.length + 1)
    expect(() => verifyRecordProof(car, claim(rkey))).toThrow(/out of order/)
  })
})
