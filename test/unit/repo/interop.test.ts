/**
 * The vectors that the protocol publishes for its implementations (interop-test-files of bluesky-social/atproto, and
 * the specification's own examples), as far as our parsing is concerned. No installed package ships them.
 */

import { P256Keypair, Secp256k1Keypair } from '@atproto/crypto'
import { parseCid } from '@atproto/lex'
import { MemoryBlockstore, MST } from '@atproto/repo'
import { describe, expect, test } from 'vitest'
import type { JsonObject } from '../../../src/events.ts'
import { cidOfBlock } from '../../../src/repo/dag-cbor.ts'
import { isEmptyTree, walkMst } from '../../../src/repo/mst.ts'
import { layerOf, splitPath } from '../../../src/repo/mst-node.ts'
import { encodeRecord, jsonToLex, lexToJson, recordFromBytes } from '../../../src/repo/record.ts'
import { isSignedBy } from '../../../src/repo/signature.ts'
import { readVerifiedRepo } from '../../../src/repo/verified-repo.ts'
import { DID, Forge, KEYS, stream } from './build-repo.ts'

describe('signatures (crypto/signature-fixtures.json)', () => {
  const message = Buffer.from('oWVoZWxsb2V3b3JsZA', 'base64')
  const P256 = 'did:key:zDnaembgSGUhZULN2Caob4HLJPaxBh92N7rtH21TErzqf8HQo'
  const K256 = 'did:key:zQ3shqwJEJyMBsBXCWyCBpUBMqxcon9oHB7mCvx4sSpMdLJwc'
  test.each([
    [
      'P-256, low S',
      P256,
      '2vZNsG3UKvvO/CDlrdvyZRISOFylinBh0Jupc6KcWoJWExHptCfduPleDbG3rko3YZnn9Lw0IjpixVmexJDegg',
      true,
    ],
    [
      'K-256, low S',
      K256,
      '5WpdIuEUUfVUYaozsi8G0B3cWO09cgZbIIwg1t2YKdUn/FEznOndsz/qgiYb89zwxYCbB71f7yQK5Lr7NasfoA',
      true,
    ],
    [
      'P-256, high S',
      P256,
      '2vZNsG3UKvvO/CDlrdvyZRISOFylinBh0Jupc6KcWoKp7O4VS9giSAah8k5IUbXIW00SuOrjfEqQ9HEkN9JGzw',
      false,
    ],
    [
      'K-256, high S',
      K256,
      '5WpdIuEUUfVUYaozsi8G0B3cWO09cgZbIIwg1t2YKdXYA67MYxYiTMAVfdnkDCMN9S5B3vHosRe07aORmoshoQ',
      false,
    ],
    [
      'P-256, DER',
      P256,
      'MEQCIFxYelWJ9lNcAVt+jK0y/T+DC/X4ohFZ+m8f9SEItkY1AiACX7eXz5sgtaRrz/SdPR8kprnbHMQVde0T2R8yOTBweA',
      false,
    ],
    [
      'K-256, DER',
      K256,
      'MEUCIQCWumUqJqOCqInXF7AzhIRg2MhwRz2rWZcOEsOjPmNItgIgXJH7RnqfYY6M0eg33wU0sFYDlprwdOcpRn78Sz5ePgk',
      false,
    ],
  ])('%s', (_, key, signature, isValid) => {
    expect(isSignedBy(key, message, Buffer.from(signature, 'base64'))).toBe(isValid)
  })
})

describe('keys (crypto/w3c_didkey_K256.json, crypto/w3c_didkey_P256.json)', () => {
  const keys: [string, () => Promise<P256Keypair | Secp256k1Keypair>][] = [
    ...[
      [
        'did:key:zQ3shokFTS3brHcDQrn82RUDfCZESWL1ZdCEJwekUDPQiYBme',
        '9085d2bef69286a6cbb51623c8fa258629945cd55ca705cc4e66700396894e0c',
      ],
      [
        'did:key:zQ3shtxV1FrJfhqE1dvxYRcCknWNjHc3c5X1y3ZSoPDi2aur2',
        'f0f4df55a2b3ff13051ea814a8f24ad00f2e469af73c363ac7e9fb999a9072ed',
      ],
      [
        'did:key:zQ3shZc2QzApp2oymGvQbzP8eKheVshBHbU4ZYjeXqwSKEn6N',
        '6b0b91287ae3348f8c2f2552d766f30e3604867e34adc37ccbb74a8e6b893e02',
      ],
      [
        'did:key:zQ3shadCps5JLAHcZiuX5YUtWHHL8ysBJqFLWvjZDKAWUBGzy',
        'c0a6a7c560d37d7ba81ecee9543721ff48fea3e0fb827d42c1868226540fac15',
      ],
      [
        'did:key:zQ3shptjE6JwdkeKN4fcpnYQY3m9Cet3NiHdAfpvSUZBFoKBj',
        '175a232d440be1e0788f25488a73d9416c04b6f924bea6354bf05dd2f1a75133',
      ],
    ].map(([did = '', hex = '']): (typeof keys)[number] => [did, () => Secp256k1Keypair.import(hex)]),
    // In base58: 9p4VRzdmhsnq869vQjVCTrRry7u4TtfRxhvBFJTGU2Cp.
    [
      'did:key:zDnaeTiq1PdzvZXUaMdezchcMJQpBdH2VN4pgrrEhMCCbmwSb',
      () => P256Keypair.import('82ebbd63ebbd9ff60141a69bd4c9be282f2415e8eafa9d42c0ed396daccca979'),
    ],
  ]
  test.each(keys)('what the private key signed, %s verifies', async (didKey, load) => {
    const message = Buffer.from('a commit')
    const signature = await (await load()).sign(message)
    expect(isSignedBy(didKey, message, signature)).toBe(true)
    expect(isSignedBy(didKey, Buffer.from('another'), signature)).toBe(false)
  })
})

describe('the data model', () => {
  test.each([
    [
      'p2Rib29s9WRudWxs9mVhcnJheYNjYWJjY2RlZmNnaGlmb2JqZWN0pGNhcnKDY2FiY2NkZWZjZ2hpZGJvb2z1Zm51bWJlchh7ZnN0cmluZ2NhYmNmc3RyaW5nY2FiY2dpbnRlZ2VyGHtndW5pY29kZXgvYX7DtsOxwqnivZjimI7wk4uT8J+YgPCfkajigI3wn5Gp4oCN8J+Rp+KAjfCfkac',
      'bafyreiclp443lavogvhj3d2ob2cxbfuscni2k5jk7bebjzg7khl3esabwq',
    ],
    [
      'o2Fh2CpYJQABcRIgZQYqWloA/BbXPGlEI3zLwVscSnI0SJM2iR0JF0GiOdBhYlggnFERjvLLiw9qm45JrqH9QTzyC2Lu1Xb4ne6+sBrCzI1hY6RjcmVm2CpYJQABVRIgQljP/3j2E2l2l1Y/kmyR5dNXTS6iWuftktbr/COjiJ5kc2l6ZRknEGUkdHlwZWRibG9iaG1pbWVUeXBlamltYWdlL2pwZWc',
      'bafyreihldkhcwijkde7gx4rpkkuw7pl6lbyu5gieunyc7ihactn5bkd2nm',
    ],
    [
      'oWFhoWFigaJhZILYKlglAAFxEiBlBipaWgD8Ftc8aUQjfMvBWxxKcjRIkzaJHQkXQaI50NgqWCUAAXESIGUGKlpaAPwW1zxpRCN8y8FbHEpyNEiTNokdCRdBojnQYWWCWCCcURGO8suLD2qbjkmuof1BPPILYu7Vdvid7r6wGsLMjVggiE+sPoHobU9tSIqGI+309LLCcWQIRmEXwxcoDt19tas',
      'bafyreid3imdulnhgeytpf6uk7zahjvrsqlofkmm5b5ub2maw4kqus6jp4i',
    ],
  ])('data-model-fixtures.json: bytes, JSON and CID agree (%#)', (base64, cid) => {
    const bytes = new Uint8Array(Buffer.from(base64, 'base64'))
    expect(cidOfBlock(bytes).toString()).toBe(cid)
    const again = encodeRecord(lexToJson(recordFromBytes(bytes)) as JsonObject)
    expect(again.cid.toString()).toBe(cid)
    expect(Buffer.from(again.bytes).equals(Buffer.from(bytes))).toBe(true)
  })

  const BLOB = 'bafkreiccldh766hwcnuxnf2wh6jgzepf2nlu2lvcllt63eww5p6chi4ity'
  const BYTES = 'nFERjvLLiw9qm45JrqH9QTzyC2Lu1Xb4ne6+sBrCzI0'
  test.each<[string, unknown]>([
    ['float', { rcrd: { $type: 'com.example.blah', a: 123.456, b: 'blah' } }],
    ['record with $type null', { rcrd: { $type: null, a: 123, b: 'blah' } }],
    ['record with $type wrong type', { rcrd: { $type: 123, a: 123, b: 'blah' } }],
    ['record with empty $type string', { rcrd: { $type: '', a: 123, b: 'blah' } }],
    [
      'blob with string size',
      { blb: { $type: 'blob', ref: { $link: BLOB }, mimeType: 'image/jpeg', size: '10000' } },
    ],
    ['blob with missing key', { blb: { $type: 'blob', mimeType: 'image/jpeg', size: 10_000 } }],
    ['bytes with wrong field type', { lnk: { $bytes: [1, 2, 3] } }],
    ['bytes with extra fields', { lnk: { $bytes: BYTES, other: 'blah' } }],
    ['link with wrong field type', { lnk: { $link: 1234 } }],
    ['link with bogus CID', { lnk: { $link: '.' } }],
    ['link with extra fields', { lnk: { $link: BLOB, other: 'blah' } }],
  ])('data-model-invalid.json: %s', (_, json) => {
    expect(() => jsonToLex(json)).toThrow(expect.objectContaining({ name: 'VerificationError' }))
  })

  test.each<[string, JsonObject]>([
    ['trivial record', { rcrd: { $type: 'com.example.blah', a: 123, b: 'blah' } }],
    // What a parser of JSON makes of 123.0.
    ['float, but integer-like', { rcrd: { $type: 'com.example.blah', a: JSON.parse('123.0'), b: 'blah' } }],
    ['empty list and object', { rcrd: { $type: 'com.example.blah', a: [], b: {} } }],
    ['list of nullable', { arr: [1, 2, null] }],
    [
      'list of lists',
      {
        arr: [
          [1, 2, 3],
          [4, 5, 6],
        ],
        arr2: [null, null, null],
      },
    ],
  ])('data-model-valid.json: %s', (_, json) => {
    const { bytes } = encodeRecord(json)
    expect(lexToJson(recordFromBytes(bytes))).toEqual(json)
  })

  test('data-model-invalid.json: top-level not an object', () => {
    expect(() => encodeRecord('blah' as never)).toThrow(
      expect.objectContaining({ name: 'VerificationError' }),
    )
  })
})

describe('the tree', () => {
  test.each([
    ['', 0],
    ['asdf', 0],
    ['blue', 1],
    ['2653ae71', 0],
    ['88bfafc7', 2],
    ['2a92d355', 4],
    ['884976f5', 6],
    ['app.bsky.feed.post/454397e440ec', 4],
    ['app.bsky.feed.post/9adeb165882c', 8],
    // Of commit-proof-fixtures.json, whose trees have no paths of records.
    ['A0/374913', 0],
    ['B1/986427', 1],
    ['C2/014073', 2],
    ['D2/269196', 2],
    ['F1/085263', 1],
  ])('%s lies on layer %i', (key, layer) => {
    expect(layerOf(key)).toBe(layer)
  })

  const RECORD = parseCid('bafyreie5cvv4h45feadgeuwhbcutmh6t2ceseocckahdoe6uat64zmz454')
  test.each([
    ['bafyreibj4lsc3aqnrvphp5xmrnfoorvru4wynt6lwidqbm2623a6tatzdu', ['3jqfcqzm3fo2j']],
    ['bafyreih7wfei65pxzhauoibu3ls7jgmkju4bspy4t2ha2qdjnzqvoy33ai', ['3jqfcqzm3fx2j']],
    [
      'bafyreicmahysq4n6wfuxo522m6dpiy7z7qzym3dzs756t5n7nfdgccwq7m',
      ['3jqfcqzm3fp2j', '3jqfcqzm3fr2j', '3jqfcqzm3fs2j', '3jqfcqzm3ft2j', '3jqfcqzm4fc2j'],
    ],
  ])('known trees: %s', async (root, rkeys) => {
    const storage = new MemoryBlockstore()
    let tree = await MST.create(storage)
    for (const rkey of rkeys) tree = await tree.add(`com.example.record/${rkey}`, RECORD)
    const { root: cid, blocks } = await tree.getUnstoredBlocks()
    expect(cid.toString()).toBe(root)
    const walked = [...walkMst({ get: (block) => blocks.get(block) }, cid)]
    expect(walked.map(([key]) => key)).toEqual(rkeys.map((rkey) => `com.example.record/${rkey}`))
  })

  test('the known empty tree', () => {
    expect(isEmptyTree(parseCid('bafyreie5737gdxlw5i64vzichcalba3z2v5n6icifvx5xytvske7mr3hpm'))).toBe(true)
  })
})

describe('the path of a record (syntax/nsid_syntax_*.txt, syntax/recordkey_syntax_*.txt)', () => {
  const label = 'o'.repeat(63)
  test.each([
    `com.${label}.foo`,
    `com.example.${label}`,
    `com.${'middle.'.repeat(40)}foo`,
    'com.example.fooBar',
    'com.example.fooBarV2',
    'a.b.c',
    'm.xn--masekowski-d0b.pl',
    'one.two.three.four-and.FiVe',
    'one.2.three',
    'a-0.b-1.c',
    'cn.8.lex.stuff',
    'a01.thing.record',
    'a0.b1.c3',
    'onion.2gzyxa5ihm7nsggfxnu52rck2vv4rvmdlkiu3zzui5du4xyclen53wid.lex.deleteThing',
  ])('collection %s', (collection) => {
    expect(splitPath(`${collection}/self`)).toEqual({ collection, rkey: 'self' })
  })
  test.each([
    `com.${label}o.foo`,
    `com.example.${label}o`,
    `com.${'middle.'.repeat(50)}foo`,
    'com.example.foo.*',
    'com.example.foo.blah*',
    'com.exa\u{1f4a9}ple.thing',
    'a-0.b-1.c-3',
    '1.0.0.127.record',
    '0two.example.foo',
    'example.com',
    'a.',
    '.one.two.three',
    'one.two.three ',
    'one.two..three',
    'com.atproto.feed.p_st',
    'com.example-.foo',
    'com.example.fooBar.2',
  ])('no collection: %s', (collection) => {
    expect(() => splitPath(`${collection}/self`)).toThrow('not the path of a record')
  })

  const path = (rkey: string) => `com.example.record/${rkey}`
  test.each(['self', 'example.com', '~1.2-3_', 'dHJ1ZQ', 'o'.repeat(512), 'pre:fix'])('key %s', (rkey) => {
    expect(splitPath(path(rkey)).rkey).toBe(rkey)
  })
  test.each([
    'alpha/beta',
    '.',
    '..',
    '#extra',
    '@handle',
    'any space',
    'any+space',
    'number[3]',
    'number(3)',
    '"quote"',
    'dHJ1ZQ==',
    '',
    'o'.repeat(513),
  ])('no key: %s', (rkey) => {
    expect(() => splitPath(path(rkey))).toThrow('not the path of a record')
  })
})

describe('the revision of a commit (syntax/tid_syntax_*.txt)', () => {
  const read = async (rev: string) => {
    const forge = new Forge()
    const car = await forge.car(await forge.commit(forge.node([]), { rev }))
    return (await readVerifiedRepo(stream(car), { did: DID, signingKey: KEYS.p256.did() })).rev
  }
  test.each([
    '3jzfcijpj2z2a',
    '7777777777777',
    '3zzzzzzzzzzzz',
    'a222222222222',
    'j222222222222',
    'azzzzzzzzzzzz',
  ])('%s', async (rev) => {
    expect(await read(rev)).toBe(rev)
  })
  test.each([
    '3jzfcijpj2z21',
    '0000000000000',
    '3JZFCIJPJ2Z2A',
    '3jzfcijpj2z2aa',
    '3jzfcijpj2z2',
    '222',
    '3jzf-cij-pj2z-2a',
    'zzzzzzzzzzzzz',
    'kjzfcijpj2z2a',
  ])('none: %s', async (rev) => {
    await expect(read(rev)).rejects.toThrow('no valid rev')
  })
})
