import { z } from 'zod'
import type { ExactRow } from '../database/exact.ts'
import { SnapshotError } from '../errors.ts'
import type { Source } from './json-places.ts'
import { lazyRows } from './rows.ts'
import { SNAPSHOT_FORMAT, type Snapshot, type SnapshotTable } from './snapshot.ts'
import {
  AGAIN,
  notASnapshot,
  type Place,
  placesOf,
  type SnapshotPlaces,
  valuesAt,
} from './snapshot-places.ts'
import { digestOf, isOther, OTHER_TABLES, PARENTS, rowsDigest } from './snapshot-text.ts'

const versionShape = z.object({ format: z.number() })

const lackingShape = z.strictObject({ table: z.string(), columns: z.array(z.string()).exactOptional() })

const headShape = z.strictObject({
  table: z.string(),
  section: z.string(),
  columns: z.array(z.strictObject({ name: z.string(), type: z.string(), generated: z.boolean() })),
  key: z.array(z.string()).min(1),
  count: z.int().nonnegative(),
})
type Head = z.infer<typeof headShape>

const fileShape = z.object({
  did: z.string().startsWith('did:'),
  meta: z.strictObject({
    format: z.literal(SNAPSHOT_FORMAT),
    extractedAt: z.iso.datetime(),
    from: z.string(),
    appview: z.string(),
    emptySections: z.array(z.string()),
    lacking: z.array(lackingShape),
    dropped: z.array(lackingShape),
    tables: z.array(headShape),
    parents: z.array(headShape),
    digest: z.string(),
  }),
})
type Meta = z.infer<typeof fileShape>['meta']

type Lists = ReadonlyMap<string, Place | undefined>

/**
 * The snapshot that a text holds. Its rows stay there: they are checked now, one after the other, and read again from
 * `source` at each walk over them. Messages name places in the file and never values: they may be capabilities.
 *
 * @throws SnapshotError
 */
export function parseSnapshot(source: Source): Snapshot {
  const places = placesOf(source)
  const { did, meta } = checkedShape(places)
  const lists = listsOf(places)
  const table = (head: Head, holder: Lists, name: string) => tableOf(head, holder.get(name), source)
  const { tables, parents, digest, ...rest } = meta
  const snapshot: Snapshot = {
    did,
    tables: tables.map((head) =>
      isOther(head)
        ? table(head, lists[OTHER_TABLES], head.table)
        : table(head, lists.sections, head.section),
    ),
    parents: parents.map((head) => table(head, lists[PARENTS], head.table)),
    meta: rest,
  }
  refuseUnlisted(meta, lists)
  if (digestOf(snapshot, checkedDigest) !== digest) {
    throw new SnapshotError('The snapshot was changed after it was written: its digest does not fit.', {
      hint: `${AGAIN} Leave the file as it is; what to bring back is chosen by flags.`,
    })
  }
  return snapshot
}

function checkedShape({ did, meta }: SnapshotPlaces): z.infer<typeof fileShape> {
  const version = versionShape.safeParse(meta)
  if (!version.success) throw notASnapshot()
  const { format } = version.data
  if (format !== SNAPSHOT_FORMAT) {
    throw new SnapshotError(
      `The snapshot is of format version ${format}; this program reads version ${SNAPSHOT_FORMAT}.`,
      { hint: 'Run extract again with this version, or use the version that wrote the file.' },
    )
  }
  const checked = fileShape.safeParse({ did, meta })
  if (checked.success) return checked.data
  const [issue] = checked.error.issues
  throw misshapen(issue?.path.join('.') ?? '', issue?.message ?? '')
}

function misshapen(place: string, what: string): SnapshotError {
  return new SnapshotError(
    `The snapshot is not as extract writes it, at ${place || 'its top level'}: ${what}`,
    {
      hint: AGAIN,
    },
  )
}

interface SnapshotLists {
  sections: Lists
  [OTHER_TABLES]: Lists
  [PARENTS]: Lists
}

function listsOf(places: SnapshotPlaces): SnapshotLists {
  const { sections, [OTHER_TABLES]: others, [PARENTS]: parents } = places
  if (others === undefined) throw misshapen(OTHER_TABLES, 'expected lists by table')
  if (parents === undefined) throw misshapen(PARENTS, 'expected lists by table')
  const holders: [prefix: string, lists: Lists][] = [
    ['', sections],
    [`${OTHER_TABLES}.`, others],
    [`${PARENTS}.`, parents],
  ]
  for (const [prefix, lists] of holders) {
    for (const [name, place] of lists)
      if (place === undefined) throw misshapen(`${prefix}${name}`, 'expected a list of rows')
  }
  return { sections, [OTHER_TABLES]: others, [PARENTS]: parents }
}

function tableOf(head: Head, place: Place | undefined, source: Source): SnapshotTable {
  const { table, section, columns, key, count } = head
  if (place === undefined || place.count !== count) {
    throw new SnapshotError(
      `The snapshot lists ${count} rows in "${section}" but holds ${place?.count ?? 'no such section'}.`,
      { hint: AGAIN, table },
    )
  }
  // They have been checked once, and the source is the same one.
  const read = () => valuesAt(source, place) as Generator<ExactRow, undefined>
  return { table, section, columns, key, rows: lazyRows(count, read) }
}

/** Looks at every row: nothing of it is believed before. */
function checkedDigest(table: SnapshotTable): string {
  const names = new Set(table.columns.map(({ name }) => name))
  const digest = rowsDigest(table)
  let index = 0
  for (const row of table.rows) {
    checkRow(row, index++, table, names)
    digest.add(row)
  }
  return digest.hex()
}

function checkRow(
  row: unknown,
  index: number,
  { table, section }: SnapshotTable,
  names: ReadonlySet<string>,
): void {
  const place = `${section}.${index}`
  if (row === null || typeof row !== 'object' || Array.isArray(row)) throw misshapen(place, 'expected a row')
  const found = Object.entries(row)
  for (const [name, value] of found) {
    if (value !== null && typeof value !== 'string')
      throw misshapen(`${place}.${name}`, 'expected a text or null')
  }
  if (found.length === names.size && found.every(([name]) => names.has(name))) return
  const which = found.filter(([name]) => !names.has(name)).map(([name]) => `unexpected "${name}"`)
  which.push(...[...names].filter((name) => !Object.hasOwn(row, name)).map((name) => `missing "${name}"`))
  throw new SnapshotError(`Row ${index + 1} of "${section}" has other columns: ${which.join(', ')}.`, {
    hint: AGAIN,
    table,
  })
}

/** Rows that no list in `meta` names would be carried along unread. */
function refuseUnlisted({ tables, parents, emptySections }: Meta, lists: SnapshotLists): void {
  const own = tables.filter((head) => !isOther(head)).map(({ section }) => section)
  const others = tables.filter(isOther).map(({ table }) => table)
  const unlisted = [
    ...without(lists.sections, [...own, ...emptySections]),
    ...without(lists[OTHER_TABLES], others),
    ...without(
      lists[PARENTS],
      parents.map(({ table }) => table),
    ),
    ...emptySections.filter((section) => lists.sections.get(section)?.count !== 0),
  ]
  if (unlisted.length === 0) return
  throw new SnapshotError(`The snapshot's meta does not account for ${JSON.stringify(unlisted[0])}.`, {
    hint: AGAIN,
  })
}

function without(holder: Lists, names: readonly string[]): string[] {
  return [...holder.keys()].filter((name) => !names.includes(name))
}
