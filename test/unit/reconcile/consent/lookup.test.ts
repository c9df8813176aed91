import { describe, expect, it } from 'vitest'
import { PdsError, UnavailableError } from '../../../../src/errors.ts'
import { NoRepositoryError } from '../../../../src/network/identity.ts'
import type { ForeignRecord } from '../../../../src/reconcile/consent/foreign-records.ts'
import { RecordLookup } from '../../../../src/reconcile/consent/lookup.ts'
import { HOST, networkOf, TestAccount, type TestNetwork } from './accounts.ts'

const DID = 'did:plc:aaaaaaaaaaaaaaaaaaaaaaaa'
const PATH = 'com.example.note/a'
const NOTE = { $type: 'com.example.note', text: 'hello' }

function recordOf(path = PATH, did = DID): ForeignRecord {
  const [collection = '', rkey = ''] = path.split('/')
  return { uri: `at://${did}/${path}`, did, collection, rkey, rows: [] }
}

const lookupOf = (network: TestNetwork, maxAgeMs = 60_000) =>
  new RecordLookup({ network, maxAgeMs, firstDelayMs: 1 })
const noteOf = () => TestAccount.create(DID, { [PATH]: NOTE })

describe('RecordLookup', () => {
  it('proves a record present, as an event of its repo', async () => {
    const account = await noteOf()
    const answer = await lookupOf(networkOf([account])).look(recordOf())
    expect(answer).toMatchObject({
      record: 'present',
      event: {
        event: 'create',
        did: DID,
        collection: 'com.example.note',
        rkey: 'a',
        source: 'repo',
        record: NOTE,
      },
    })
  })

  it('proves a record absent', async () => {
    const account = await noteOf()
    await account.remove(PATH)
    expect(await lookupOf(networkOf([account])).look(recordOf())).toMatchObject({ record: 'absent' })
  })

  it('reads a DID document once for all records of an account', async () => {
    const account = await noteOf()
    const network = networkOf([account])
    const lookup = lookupOf(network)
    await Promise.all(['a', 'b', 'c'].map((rkey) => lookup.look(recordOf(`com.example.note/${rkey}`))))
    expect(network.asked.filter((asked) => asked === DID)).toHaveLength(1)
  })

  it('takes no word without a proof for absence', async () => {
    const says = (error: string) =>
      networkOf([], async () => {
        throw new PdsError(`pds.example answered ${error}`, { error })
      })
    const account = await noteOf()
    for (const error of ['RecordNotFound', 'InvalidRequest', 'HTTP 404']) {
      const network = { ...says(error), identity: networkOf([account]).identity }
      expect(await lookupOf(network).look(recordOf())).toEqual({
        record: 'unreachable',
        reason: `pds.example answered ${error}`,
      })
    }
  })

  it.each([
    ['RepoNotFound', 'its account is not on its host any more'],
    ['RepoDeactivated', 'its account is deactivated'],
    ['RepoTakendown', 'its account is taken down'],
    ['RepoSuspended', 'its account is suspended'],
  ])('takes %s for the account, once its DID document still points there', async (error, reason) => {
    const account = await noteOf()
    const network = networkOf([account], async () => {
      throw new PdsError(`pds.example answered ${error}`, { error })
    })
    expect(await lookupOf(network).look(recordOf())).toEqual({ record: 'without-account', reason })
    expect(network.asked.filter((asked) => asked === DID)).toHaveLength(2)
  })

  it('takes a DID without a repository for an account that is gone', async () => {
    const network = networkOf([await noteOf()], undefined, () => {
      throw new NoRepositoryError(`${DID} has been deleted: the directory holds a tombstone`)
    })
    expect(await lookupOf(network).look(recordOf())).toEqual({
      record: 'without-account',
      reason: 'its account has been deleted: the directory holds a tombstone',
    })
  })

  it('follows an account that moved while it was asked', async () => {
    const account = await noteOf()
    const before = account.identity()
    const network = networkOf(
      [account],
      (pdsUrl) => {
        if (pdsUrl !== HOST) return undefined
        account.pdsUrl = 'https://new.example'
        throw new PdsError('pds.example answered RepoDeactivated', { error: 'RepoDeactivated' })
      },
      () => (account.pdsUrl === HOST ? before : account.identity()),
    )
    expect(await lookupOf(network).look(recordOf())).toMatchObject({ record: 'present' })
    expect(network.asked.at(-1)).toBe(`new.example ${DID}/${PATH}`)
  })

  it('reads the DID document again where a signature does not fit, once for all records', async () => {
    const account = await noteOf()
    const before = account.identity()
    await account.rotateKey()
    let reads = 0
    const network = networkOf([account], undefined, () => (reads++ === 0 ? before : account.identity()))
    const lookup = lookupOf(network)
    const answers = await Promise.all(
      ['a', 'a', 'b'].map((rkey) => lookup.look(recordOf(`com.example.note/${rkey}`))),
    )
    expect(answers.map(({ record }) => record)).toEqual(['present', 'present', 'absent'])
    expect(reads).toBe(2)
  })

  it('believes no forged proof', async () => {
    const account = await noteOf()
    const forger = await TestAccount.create(DID)
    await forger.rotateKey()
    const other = await TestAccount.create('did:plc:bbbbbbbbbbbbbbbbbbbbbbbb')
    const forged = [
      forger.proof('com.example.note', 'a'),
      other.proof('com.example.note', 'a'),
      account.proof('com.example.note', 'a').then((car) => car.subarray(0, -1)),
      Promise.resolve(Buffer.from('<html>')),
      Promise.resolve(new Uint8Array()),
    ]
    for (const car of forged) {
      const answer = await lookupOf(networkOf([account], () => car)).look(recordOf())
      expect(answer.record).toBe('unreachable')
    }
  })

  it('asks a few times, not before it may, and then says that nobody answered', async () => {
    const account = await noteOf()
    let tries = 0
    const network = networkOf([account], async () => {
      tries++
      throw new UnavailableError('pds.example answered 503')
    })
    expect(await lookupOf(network).look(recordOf())).toEqual({
      record: 'unreachable',
      reason: 'pds.example answered 503',
    })
    expect(tries).toBe(3)
  })

  it('cannot ask about what names no record of a DID', async () => {
    const answer = await lookupOf(networkOf([])).look({ ...recordOf(), did: '' })
    expect(answer.record).toBe('unreachable')
  })
})
