import { describe, expect, it } from 'vitest'
import { VerificationError } from '../../../src/errors.ts'
import { CarReader, MAX_BLOCK_BYTES, readCarBytes } from '../../../src/repo/car.ts'
import { buildRepo, Forge, fullCar, inChunks, stream } from './build-repo.ts'

const car = Buffer.concat(await fullCar(await buildRepo(30)))

async function readCar(chunks: AsyncIterable<Uint8Array>, maxBytes = Number.POSITIVE_INFINITY) {
  const blocks: { digest: string; bytes: Buffer; offset: number }[] = []
  const reader = new CarReader(maxBytes, (digest, bytes, offset) =>
    blocks.push({ digest, bytes: Buffer.from(bytes), offset }),
  )
  for await (const chunk of chunks) reader.push(chunk)
  return { roots: reader.end().map(String), blocks }
}

describe('CarReader', () => {
  it.each([1, 7, 100, 65_536])('reads the same blocks from chunks of %i bytes', async (chunkBytes) => {
    const whole = await readCar(stream(car))
    expect(await readCar(inChunks(car, chunkBytes))).toEqual(whole)
    expect(whole.roots).toEqual(readCarBytes(car).roots.map(String))
    expect(whole.blocks.length).toBeGreaterThan(30)
    for (const { bytes, offset } of whole.blocks) {
      expect(car.subarray(offset, offset + bytes.length).equals(bytes)).toBe(true)
    }
  })

  it('refuses a CAR cut short anywhere but between two blocks', async () => {
    const cuts = Array.from({ length: 200 }, (_, index) => car.length - 1 - index)
    const accepted = cuts.filter((end) => {
      try {
        readCarBytes(car.subarray(0, end))
        return true
      } catch (error) {
        expect(error).toBeInstanceOf(VerificationError)
        return false
      }
    })
    // A block with its length is more than 60 bytes here; between two the parser cannot know, the tree does.
    expect(accepted.length).toBeLessThanOrEqual(3)
  })

  it('refuses an altered block, naming its CID', () => {
    const altered = Buffer.from(car)
    altered.writeUInt8(altered.readUInt8(car.length - 3) ^ 1, car.length - 3)
    expect(() => readCarBytes(altered)).toThrow(/not what its CID bafy\w+ says/)
  })

  it.each([
    ['zeros', Buffer.alloc(4)],
    ['one byte', Buffer.from([5])],
    ['text', Buffer.from('\n<html>and some more text that is longer than a CID</html>')],
    ['an endless length', Buffer.from('ffffffffffffffffff01', 'hex')],
  ])('refuses what follows the last block: %s', (_, garbage) => {
    expect(() => readCarBytes(Buffer.concat([car, garbage]))).toThrow(VerificationError)
  })

  it.each([
    ['nothing', Buffer.alloc(0)],
    ['JSON', Buffer.from('{"error":"RepoNotFound","message":"Could not find repo"}')],
  ])('refuses %s', (_, bytes) => {
    expect(() => readCarBytes(bytes)).toThrow(VerificationError)
  })

  it('stops at the size limit, and says what it is', async () => {
    const reading = readCar(inChunks(car, 100), car.length - 1)
    await expect(reading).rejects.toThrow(`limit of ${car.length - 1} bytes`)
    await expect(readCar(inChunks(car, 100), car.length)).resolves.toBeDefined()
  })

  it('refuses a section longer than the limit without waiting for it', async () => {
    const header = car.subarray(0, 1 + car.readUInt8(0))
    const reading = readCar(stream(header, Buffer.from('ffffff7f', 'hex')), 10_000)
    await expect(reading).rejects.toThrow('limit of 10000 bytes')
  })

  it('refuses a block above the ceiling by its length, without waiting for it', async () => {
    const header = car.subarray(0, 1 + car.readUInt8(0))
    // 0x80808002 is 4 MiB: with the 36 bytes of the CID still allowed, one more is not.
    const allowed = stream(header, Buffer.from('a4808002', 'hex'))
    await expect(readCar(allowed)).rejects.toThrow('cut short')
    const reading = readCar(stream(header, Buffer.from('a5808002', 'hex')))
    await expect(reading).rejects.toThrow(`a block of ${MAX_BLOCK_BYTES + 1} bytes`)
  })

  it('reads a block of the greatest size', async () => {
    const forge = new Forge()
    const root = forge.putBytes(Buffer.alloc(MAX_BLOCK_BYTES))
    const { blocks } = await readCar(inChunks(await forge.car(root)))
    expect(blocks.map(({ bytes }) => bytes.length)).toEqual([MAX_BLOCK_BYTES])
  })

  it('goes on in the limit and the offsets where the CARs before it ended', () => {
    const offsets: number[] = []
    const read = (maxBytes: number, start: number) => {
      const reader = new CarReader(maxBytes, (_digest, _bytes, offset) => offsets.push(offset), start)
      reader.push(car)
      reader.end()
      return offsets.splice(0)
    }
    const first = read(car.length, 0)
    expect(read(car.length + 1000, 1000)).toEqual(first.map((offset) => offset + 1000))
    expect(() => read(car.length + 999, 1000)).toThrow(`limit of ${car.length + 999} bytes`)
  })
})
