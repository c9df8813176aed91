/**
 * The vectors that the protocol publishes for its implementations (interop-test-files of bluesky-social/atproto, and
 * the specification's own examples), as far as our parsing is concerned. No installed package ships them.
 */

import { parseCid } from '@atproto/lex'
import { MemoryBlockstore, MST } from '@atproto/repo'
import { describe, expect, test } from 'vitest'
import type { JsonObject } from '../../../src/events.ts'
import { cidOfBlock } from '../../../src/repo/dag-cbor.ts'
import { isEmptyTree, walkMst } from '../../../src/repo/mst.ts'
import { layerOf } from '../../../src/repo/mst-node.ts'
import { encodeRecord, jsonToLex, lexToJson, recordFromBytes } from '../../../src/repo/record.ts'
import { isSignedBy } from '../../../src/repo/signature.ts'

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
