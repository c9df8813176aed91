import type { Catalog } from '../../database/catalog.ts'
import { type Check, type Finding, ok, problem, warning } from './finding.ts'
import type { DatabaseReadings, Readings } from './readings.ts'

const MIGRATION = 'supabase/migrations/*_firehose_replay.sql'
/** What a restore needs of a table of the appview. */
const NEEDED = ['select', 'insert', 'update', 'delete']

export const reachable: Check = ({ production, backup }) => [
  reachability('production', production),
  reachability('backup', backup),
]

function reachability(check: string, { name, catalog }: DatabaseReadings): Finding {
  if (!name.ok) return problem(check, name.said, name.todo)
  if (!catalog.ok) return problem(check, catalog.said, catalog.todo)
  return ok(check, `${name.value} answers`)
}

export const different: Check = ({ production, backup }) => {
  const check = 'two databases'
  if (!production.name.ok || !backup.name.ok || !production.catalog.ok || !backup.catalog.ok) return []
  const isSame =
    production.name.value === backup.name.value ||
    (production.catalog.value !== undefined &&
      production.catalog.value.instance === backup.catalog.value?.instance)
  const names = `${production.name.value} and ${backup.name.value}`
  return isSame
    ? [
        problem(
          check,
          `production and backup (${names}) are one database`,
          'Give as backup the project that the backup was restored to.',
        ),
      ]
    : [ok(check, `${names} are two`)]
}

export const migration: Check = ({ production, migration: expected }) => {
  const check = 'migration'
  if (!production.catalog.ok) return []
  if (production.catalog.value === undefined)
    return [problem(check, 'production has none of our functions', `Apply ${MIGRATION} to it.`)]
  const installed = new Map(production.catalog.value.installed.map(({ name, md5 }) => [name, md5]))
  const missing = expected.filter(({ name }) => !installed.has(name)).map(({ name }) => name)
  const other = expected.filter(({ name, md5 }) => installed.has(name) && installed.get(name) !== md5)
  if (missing.length === 0 && other.length === 0)
    return [ok(check, `installed, all ${expected.length} functions as this version brings them`)]
  const which = [
    ...missing.map((name) => `${name} is missing`),
    ...other.map(({ name }) => `${name} differs`),
  ]
  return [
    problem(
      check,
      `not the one of this version: ${shortened(which)}`,
      `Apply ${MIGRATION} of this version, or use the version that it is from.`,
    ),
  ]
}

/** Row-level security gives no error: it gives fewer rows. */
export const visibleRows: Check = ({ production, backup, radius }) => [
  ...visibility('rows of production', production, radius, NEEDED, 'warning'),
  ...visibility('rows of backup', backup, radius, ['select'], 'problem'),
]

function visibility(
  check: string,
  { catalog, isEmpty }: DatabaseReadings,
  radius: Readings['radius'],
  needed: readonly string[],
  /** Production may have lost all it had; a backup without any row is none. */
  ifEmpty: 'warning' | 'problem',
): Finding[] {
  if (!catalog.ok) return []
  if (!isEmpty.ok) return [problem(check, isEmpty.said, isEmpty.todo)]
  const known = catalog.value
  const tables = radius?.ok ? radius.value.tables.map(({ table }) => table) : []
  const empty = [...isEmpty.value].filter(([, none]) => none).map(([table]) => table)
  const findings =
    known === undefined
      ? []
      : hiddenRows(
          check,
          known,
          tables.filter((table) => known.has(table)),
          empty,
          needed,
        )
  return findings.length > 0 ? findings : [emptiness(check, empty, isEmpty.value.size, ifEmpty)]
}

function hiddenRows(
  check: string,
  catalog: Catalog,
  tables: readonly string[],
  empty: readonly string[],
  needed: readonly string[],
): Finding[] {
  const hidden = tables.filter((table) => catalog.table(table).rowSecurity)
  const unseen = tables.filter(
    (table) => !hidden.includes(table) && empty.includes(table) && catalog.table(table).estimatedRows > 0,
  )
  const refused = tables.flatMap((table) => {
    const granted = catalog.table(table).privileges ?? needed
    const lacking = needed.filter((privilege) => !granted.includes(privilege))
    return lacking.length === 0 ? [] : [`${table} (${lacking.join(', ')})`]
  })
  const bypass = 'Give the service role key of that project, and let service_role bypass row-level security.'
  const said: [what: readonly string[], said: string, todo: string][] = [
    [hidden, `row-level security hides rows of ${shortened(hidden)} from this key`, bypass],
    [unseen, `no row is seen of ${shortened(unseen)}, where the planner knows of some`, bypass],
    [refused, `this key may not: ${shortened(refused)}`, 'Grant service_role what it lacks.'],
  ]
  return said.filter(([what]) => what.length > 0).map(([, text, todo]) => problem(check, text, todo))
}

function emptiness(
  check: string,
  empty: readonly string[],
  count: number,
  level: 'warning' | 'problem',
): Finding {
  if (count > 0 && empty.length === count) {
    const todo = 'Check that it is the right project and key: empty and hidden look alike.'
    return { check, level, said: `none is seen in any of ${count} tables`, todo }
  }
  const which = empty.length === 0 ? '' : `; empty: ${shortened(empty)}`
  return ok(check, `seen in ${count - empty.length} of ${count} tables${which}`)
}

/** An older schema is no obstacle: what it lacks is not in the snapshot either. Its columns are known with its catalog. */
export const olderBackup: Check = ({ production, backup, radius }) => {
  const { isEmpty } = backup
  if (!isEmpty.ok || radius?.ok !== true) return []
  const ours = production.catalog.ok ? production.catalog.value : undefined
  const theirs = backup.catalog.ok ? backup.catalog.value : undefined
  const lacking = radius.value.tables.flatMap(({ table }) => {
    if (!isEmpty.value.has(table)) return [table]
    if (ours === undefined || !theirs?.has(table)) return []
    const known = theirs.table(table).columns.map(({ name }) => name)
    const columns = ours.writableColumns(table).filter((name) => !known.includes(name))
    return columns.map((name) => `${table}.${name}`)
  })
  if (lacking.length === 0) return []
  const todo = 'It is of an older schema: nothing of these can be restored from it.'
  return [warning('backup schema', `lacks what production has: ${shortened(lacking)}`, todo)]
}

/** A line stays a line: the first few, and how many more there are. */
export function shortened(items: readonly string[]): string {
  const SHOWN = 6
  const rest = items.length - SHOWN
  return rest > 0 ? `${items.slice(0, SHOWN).join(', ')} and ${rest} more` : items.join(', ')
}
