import type { ExactRow } from '../database/exact.ts'

/**
 * Rows that need not be in memory: each walk may read them again from where they are kept. An array of rows is one.
 * What gives an array holds what it was given: walk with `for … of` or `values()` where there may be many.
 */
export interface Rows extends Iterable<ExactRow> {
  readonly length: number
  /** To filter and map row by row, with nothing held. */
  values(): IteratorObject<ExactRow, undefined>
  entries(): IteratorObject<[index: number, row: ExactRow], undefined>
  map<T>(to: (row: ExactRow, index: number) => T): T[]
  flatMap<T>(to: (row: ExactRow, index: number) => T | readonly T[]): T[]
  filter(isWanted: (row: ExactRow, index: number) => boolean): ExactRow[]
  find(isWanted: (row: ExactRow, index: number) => boolean): ExactRow | undefined
  some(isWanted: (row: ExactRow, index: number) => boolean): boolean
  every(isWanted: (row: ExactRow, index: number) => boolean): boolean
}

/** @param read begins a new walk over the rows; its `return` is called where a walk ends early */
export function lazyRows(length: number, read: () => Generator<ExactRow, undefined>): Rows {
  return new LazyRows(length, read)
}

class LazyRows implements Rows {
  readonly length: number
  readonly #read: () => Generator<ExactRow, undefined>

  constructor(length: number, read: () => Generator<ExactRow, undefined>) {
    this.length = length
    this.#read = read
  }

  [Symbol.iterator](): IteratorObject<ExactRow, undefined> {
    return this.values()
  }

  values(): IteratorObject<ExactRow, undefined> {
    return this.#read()
  }

  *entries(): Generator<[number, ExactRow], undefined> {
    let index = 0
    for (const row of this) yield [index++, row]
  }

  map<T>(to: (row: ExactRow, index: number) => T): T[] {
    return this.values().map(to).toArray()
  }

  flatMap<T>(to: (row: ExactRow, index: number) => T | readonly T[]): T[] {
    const found: T[] = []
    for (const [index, row] of this.entries()) {
      const one = to(row, index)
      if (isList(one)) for (const item of one) found.push(item)
      else found.push(one)
    }
    return found
  }

  filter(isWanted: (row: ExactRow, index: number) => boolean): ExactRow[] {
    return this.values().filter(isWanted).toArray()
  }

  find(isWanted: (row: ExactRow, index: number) => boolean): ExactRow | undefined {
    return this.values().find(isWanted)
  }

  some(isWanted: (row: ExactRow, index: number) => boolean): boolean {
    return this.values().some(isWanted)
  }

  every(isWanted: (row: ExactRow, index: number) => boolean): boolean {
    return this.values().every(isWanted)
  }
}

function isList<T>(value: T | readonly T[]): value is readonly T[] {
  return Array.isArray(value)
}
