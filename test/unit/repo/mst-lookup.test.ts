import type { Cid } from '@atproto/lex'
import { describe, expect, it } from 'vitest'
import { readCarBytes } from '../../../src/repo/car.ts'
import { commitOf } from '../../../src/repo/commit.ts'
import { walkMst } from '../../../src/repo/mst.ts'
import { MstLookup } from '../../../src/repo/mst-lookup.ts'
import { buildRepo, COLLECTION, Forge, fullCar, keysOnLayer } from './build-repo.ts'

const forged = (forge: Forge) => ({ get: (cid: Cid) => forge.blocks.get(cid) ?? undefined })

describe('MstLookup', () => {
  it('finds what walking the tree finds, and nothing else, reading each node once', async () => {
    const built = await buildRepo(400)
    const car = readCarBytes(Buffer.concat(await fullCar(built)))
    const { data } = commitOf(car, built.did).commit
    const reads: string[] = []
    const lookup = new MstLookup(
      {
        get: (cid) => {
          reads.push(cid.toString())
          return car.blocks.get(cid)
        },
      },
      data,
    )
    for (const [key, value] of walkMst(car.blocks, data)) {
      expect(lookup.find(key)?.equals(value)).toBe(true)
      expect(lookup.find(`${key}x`)).toBeNull()
    }
    expect(new Set(reads).size).toBe(reads.length)
    expect(reads.length).toBeGreaterThan(50)
  })

  it('looks hundreds of keys up in a node of tens of thousands without blocking the thread', () => {
    const forge = new Forge()
    const keys = keysOnLayer(0, 20_000)
    const value = forge.put({ $type: COLLECTION })
    const lookup = new MstLookup(forged(forge), forge.node(keys.map((key) => ({ key, value }))))
    const started = performance.now()
    for (const key of keys.slice(0, 200)) expect(lookup.find(key)).not.toBeNull()
    // Some 50 ms for decoding the node once; decoding it for each key takes ten seconds.
    expect(performance.now() - started).toBeLessThan(2000)
  })

  it.each([
    ['the key itself', 1],
    ['the key before it', 2],
    ['the key after it', 0],
  ])('refuses a node where %s lies on a layer that is not its own', (_, index) => {
    const upper = keysOnLayer(1, 20)
    const [first = '', last = ''] = [upper[0], upper.at(-1)]
    const lower = keysOnLayer(0, 60).filter((key) => key > first && key < last)
    const forge = new Forge()
    const root = forge.node([{ key: first }, { key: lower[1] ?? '' }, { key: last }])
    expect(() => new MstLookup(forged(forge), root).find(lower[index] ?? '')).toThrow(
      'on layer 1, but it belongs on layer 0',
    )
  })
})
