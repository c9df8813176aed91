import { z } from 'zod'
import type { ExactRow } from '../database/exact.ts'
import { SnapshotError } from '../errors.ts'
import { SNAPSHOT_FORMAT, type Snapshot, type SnapshotTable } from './snapshot.ts'
import { digestOf, isOther, OTHER_TABLES, PARENTS } from './snapshot-text.ts'

const versionShape = z.object({ meta: z.object({ format: z.number() }) })

const headShape = z.strictObject({
  table: z.string(),
  section: z.string(),
  columns: z.array(z.strictObject({ name: z.string(), type: z.string(), generated: z.boolean() })),
  key: z.array(z.string()).min(1),
  count: z.int().nonnegative(),
})
type Head = z.infer<typeof headShape>

const rowsShape = z.array(z.record(z.string(), z.string().nullable()))

const fileShape = z
  .object({
    did: z.string().startsWith('did:'),
    [OTHER_TABLES]: z.record(z.string(), rowsShape),
    [PARENTS]: z.record(z.string(), rowsShape),
    meta: z.strictObject({
      format: z.literal(SNAPSHOT_FORMAT),
      extractedAt: z.iso.datetime(),
      from: z.string(),
      appview: z.string(),
      emptySections: z.array(z.string()),
      tables: z.array(headShape),
      parents: z.array(headShape),
      digest: z.string(),
    }),
  })
  .catchall(rowsShape)
type SnapshotFile = z.infer<typeof fileShape>

const AGAIN = 'Run extract again.'

/**
 * The snapshot that a file's text holds. Messages name places in the file and never values: they may be capabilities.
 *
 * @throws SnapshotError
 */
export function parseSnapshot(text: string): Snapshot {
  const file = checkShape(parseJson(text))
  const { did, meta } = file
  const sections = sectionsOf(file)
  const snapshot: Snapshot = {
    did,
    tables: meta.tables.map((head) => {
      return checkedTable(
        head,
        isOther(head) ? file[OTHER_TABLES] : sections,
        isOther(head) ? head.table : head.section,
      )
    }),
    parents: meta.parents.map((head) => checkedTable(head, file[PARENTS], head.table)),
    meta: {
      format: meta.format,
      extractedAt: meta.extractedAt,
      from: meta.from,
      appview: meta.appview,
      emptySections: meta.emptySections,
    },
  }
  refuseUnlisted(file, sections)
  if (digestOf(snapshot) !== meta.digest) {
    throw new SnapshotError('The snapshot was changed after it was written: its digest does not fit.', {
      hint: `${AGAIN} Leave the file as it is; what to bring back is chosen by flags.`,
    })
  }
  return snapshot
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch (cause) {
    throw new SnapshotError('The snapshot is cut short or is not JSON.', { hint: AGAIN, cause })
  }
}

function checkShape(value: unknown): SnapshotFile {
  const version = versionShape.safeParse(value)
  if (!version.success) {
    throw new SnapshotError('The file is JSON but no snapshot: it has no meta.format.', {
      hint: 'Give a file that the extract command wrote.',
    })
  }
  const { format } = version.data.meta
  if (format !== SNAPSHOT_FORMAT) {
    throw new SnapshotError(
      `The snapshot is of format version ${format}; this program reads version ${SNAPSHOT_FORMAT}.`,
      { hint: 'Run extract again with this version, or use the version that wrote the file.' },
    )
  }
  const checked = fileShape.safeParse(value)
  if (checked.success) return checked.data
  const [issue] = checked.error.issues
  const place = issue?.path.join('.') || 'its top level'
  throw new SnapshotError(`The snapshot is not as extract writes it, at ${place}: ${issue?.message}`, {
    hint: AGAIN,
  })
}

function sectionsOf(file: SnapshotFile): Record<string, ExactRow[]> {
  const { did: _did, meta: _meta, [OTHER_TABLES]: _others, [PARENTS]: _parents, ...sections } = file
  return sections
}

function checkedTable(head: Head, holder: Record<string, ExactRow[]>, name: string): SnapshotTable {
  const { table, section, columns, key, count } = head
  const rows = Object.hasOwn(holder, name) ? holder[name] : undefined
  if (rows === undefined || rows.length !== count) {
    throw new SnapshotError(
      `The snapshot lists ${count} rows in "${section}" but holds ${rows?.length ?? 'no such section'}.`,
      { hint: AGAIN, table },
    )
  }
  const known = new Set(columns.map((column) => column.name))
  for (const [index, row] of rows.entries()) {
    const names = Object.keys(row)
    if (names.length === known.size && names.every((column) => known.has(column))) continue
    const which = names.filter((column) => !known.has(column)).map((column) => `unexpected "${column}"`)
    const lacking = [...known].filter((column) => !Object.hasOwn(row, column))
    which.push(...lacking.map((column) => `missing "${column}"`))
    throw new SnapshotError(`Row ${index + 1} of "${section}" has other columns: ${which.join(', ')}.`, {
      hint: AGAIN,
      table,
    })
  }
  return { table, section, columns, key, rows }
}

/** Rows that no list in `meta` names would be carried along unread. */
function refuseUnlisted(file: SnapshotFile, sections: Record<string, ExactRow[]>): void {
  const { tables, parents, emptySections } = file.meta
  const own = tables.filter((head) => !isOther(head)).map((head) => head.section)
  const unlisted = [
    ...without(sections, [...own, ...emptySections]),
    ...without(
      file[OTHER_TABLES],
      tables.filter(isOther).map((head) => head.table),
    ),
    ...without(
      file[PARENTS],
      parents.map((head) => head.table),
    ),
    ...emptySections.filter((section) => sections[section]?.length !== 0),
  ]
  if (unlisted.length === 0) return
  throw new SnapshotError(`The snapshot's meta does not account for ${JSON.stringify(unlisted[0])}.`, {
    hint: AGAIN,
  })
}

function without(holder: Record<string, ExactRow[]>, names: readonly string[]): string[] {
  return Object.keys(holder).filter((name) => !names.includes(name))
}
