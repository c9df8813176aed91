import { readdirSync } from 'node:fs'
import { tmpdir } from 'node:os'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { Spool } from '../../../src/repo/spool.ts'

const ownFiles = () =>
  readdirSync(tmpdir()).filter((name) => name.startsWith('firehose-replay-') && name.endsWith('.car'))

describe('a spool', () => {
  test('gives back what was appended, in memory and on disk', () => {
    fc.assert(
      fc.property(
        fc.array(fc.uint8Array({ maxLength: 400 }), { maxLength: 30 }),
        fc.constantFrom(0, 100, 1000, Number.POSITIVE_INFINITY),
        (parts, memoryBytes) => {
          const spool = new Spool(memoryBytes)
          try {
            for (const part of parts) spool.append(part)
            const all = Buffer.concat(parts)
            expect(spool.length).toBe(all.length)
            expect(spool.isOnDisk).toBe(all.length > memoryBytes)
            let offset = 0
            for (const { length } of parts) {
              if (length > 0) {
                expect(
                  Buffer.from(spool.read(offset, length)).equals(all.subarray(offset, offset + length)),
                ).toBe(true)
              }
              offset += length
            }
          } finally {
            spool.close()
          }
        },
      ),
      { numRuns: 50 },
    )
  })

  test('grows past its first room', () => {
    const spool = new Spool(Number.POSITIVE_INFINITY)
    for (let index = 0; index < 40; index++) spool.append(Buffer.alloc(100_000, index))
    expect(spool.read(3_900_000, 2)).toEqual(Buffer.from([39, 39]))
    expect(spool.read(0, 2)).toEqual(Buffer.from([0, 0]))
  })

  test('on disk has no name that could be left behind', () => {
    const before = ownFiles()
    const spool = new Spool(10)
    spool.append(Buffer.alloc(100, 1))
    expect(spool.isOnDisk).toBe(true)
    expect(ownFiles()).toEqual(before)
    spool.close()
    spool.close()
    expect(() => spool.read(0, 1)).toThrow()
  })
})
