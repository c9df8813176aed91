import { createHash } from 'node:crypto'

const FIRST_SLOTS = 1 << 10

/**
 * Which texts were there already, at 16 bytes each however long they are: they are told apart by the first half of
 * their SHA-256, in one flat array outside the heap. A set of strings takes ten times that.
 */
export class KeySet {
  /** Two words to a slot, placed by the first of them; a slot of zeros is free. */
  #slots = new BigUint64Array(FIRST_SLOTS * 2)
  #size = 0

  get size(): number {
    return this.#size
  }

  has(text: string): boolean {
    const [first, second] = wordsOf(text)
    return this.#slots[this.#placeOf(first, second)] !== 0n
  }

  /** @returns false when it was there */
  add(text: string): boolean {
    const [first, second] = wordsOf(text)
    const place = this.#placeOf(first, second)
    if (this.#slots[place] !== 0n) return false
    this.#put(place, first, second)
    // Three quarters full: two words to a slot.
    if (++this.#size * 8 > this.#slots.length * 3) this.#grow()
    return true
  }

  #put(place: number, first: bigint, second: bigint): void {
    this.#slots[place] = first
    this.#slots[place + 1] = second
  }

  /** The slot that holds these words, or the free one that would. */
  #placeOf(first: bigint, second: bigint): number {
    const slots = this.#slots
    let place = Number(first % BigInt(slots.length / 2)) * 2
    while (slots[place] !== 0n && (slots[place] !== first || slots[place + 1] !== second))
      place = (place + 2) % slots.length
    return place
  }

  #grow(): void {
    const old = this.#slots
    this.#slots = new BigUint64Array(old.length * 2)
    for (let place = 0; place < old.length; place += 2) {
      const [first = 0n, second = 0n] = old.subarray(place, place + 2)
      if (first !== 0n) this.#put(this.#placeOf(first, second), first, second)
    }
  }
}

function wordsOf(text: string): [first: bigint, second: bigint] {
  const hash = createHash('sha256').update(text).digest()
  // A first word of zeros would look like a free slot.
  return [hash.readBigUInt64LE(0) || 1n, hash.readBigUInt64LE(8)]
}
