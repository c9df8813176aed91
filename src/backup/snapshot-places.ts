import { SnapshotError } from '../errors.ts'
import { JsonScanner, JsonTextError, type Source } from './json-places.ts'
import { OTHER_TABLES, PARENTS } from './snapshot-text.ts'

export const AGAIN = 'Run extract again.'

/** A list in the file. */
export interface Place {
  position: number
  count: number
}

/** What a snapshot file holds, as far as brackets and quotes tell: rows are counted and not looked at. */
export interface SnapshotPlaces {
  did: unknown
  meta: unknown
  /** By name, as the file has them; undefined where it is no list. */
  sections: ReadonlyMap<string, Place | undefined>
  [OTHER_TABLES]: ReadonlyMap<string, Place | undefined> | undefined
  [PARENTS]: ReadonlyMap<string, Place | undefined> | undefined
}

/** @throws SnapshotError when the text is not JSON, or no object */
export function placesOf(source: Source): SnapshotPlaces {
  return orCutShort(() => {
    const scanner = new JsonScanner(source)
    if (!scanner.isAtObject()) {
      scanner.skip()
      scanner.end()
      throw notASnapshot()
    }
    const sections = new Map<string, Place | undefined>()
    const found: SnapshotPlaces = {
      did: undefined,
      meta: undefined,
      sections,
      [OTHER_TABLES]: undefined,
      [PARENTS]: undefined,
    }
    const met = new Set<string>()
    for (const key of scanner.keys()) {
      if (met.has(key)) throw twice(key)
      met.add(key)
      if (key === 'did' || key === 'meta') found[key] = scanner.value()
      else if (key === OTHER_TABLES || key === PARENTS) found[key] = listsIn(scanner)
      else sections.set(key, listAt(scanner))
    }
    scanner.end()
    return found
  })
}

/** The rows of a list, one at a time, as the file has them. @throws SnapshotError where one is not JSON */
export function* valuesAt(source: Source, { position }: Place): Generator<unknown, undefined> {
  const scanner = new JsonScanner(source, position)
  const items = scanner.items()
  for (;;) {
    const next = orCutShort(() => (items.next().done === true ? undefined : { value: scanner.value() }))
    if (next === undefined) return
    yield next.value
  }
}

export function notASnapshot(): SnapshotError {
  return new SnapshotError('The file is JSON but no snapshot: it has no meta.format.', {
    hint: 'Give a file that the extract command wrote.',
  })
}

function twice(key: string): SnapshotError {
  return new SnapshotError(`The snapshot has ${JSON.stringify(key)} twice.`, { hint: AGAIN })
}

function listsIn(scanner: JsonScanner): Map<string, Place | undefined> | undefined {
  if (!scanner.isAtObject()) {
    scanner.skip()
    return undefined
  }
  const lists = new Map<string, Place | undefined>()
  for (const key of scanner.keys()) {
    if (lists.has(key)) throw twice(key)
    lists.set(key, listAt(scanner))
  }
  return lists
}

function listAt(scanner: JsonScanner): Place | undefined {
  if (!scanner.isAtList()) {
    scanner.skip()
    return undefined
  }
  const { position } = scanner
  let count = 0
  for (const _ of scanner.items()) {
    scanner.skip()
    count++
  }
  return { position, count }
}

function orCutShort<T>(act: () => T): T {
  try {
    return act()
  } catch (cause) {
    if (!(cause instanceof JsonTextError)) throw cause
    throw new SnapshotError('The snapshot is cut short or is not JSON.', { hint: AGAIN, cause })
  }
}
