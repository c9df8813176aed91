import { newTables } from '../../backup/new-tables.ts'
import type { Catalog } from '../../database/catalog.ts'
import type { AppView } from '../../events.ts'
import { shortened } from './database-checks.ts'
import { type Check, ok, problem, warning } from './finding.ts'
import type { Readings } from './readings.ts'

const DESCRIPTION = 'description'

/** Does production have what the description of the appview names? */
export const described: Check = (readings) => {
  const { appview, radius } = readings
  const catalog = catalogOf(readings)
  if (catalog === undefined) return []
  const correct = 'Check which project this is, or correct the description of the appview.'
  if (radius?.ok === false) return [problem(DESCRIPTION, radius.said, radius.todo)]
  const missing = neededNames(appview).filter((name) => !hasName(catalog, name))
  const named = [...new Set(mentionedNames(appview))].filter((name) => !hasName(catalog, name))
  const findings = []
  if (missing.length > 0)
    findings.push(
      problem(
        DESCRIPTION,
        `production lacks what its records are written to: ${shortened(missing)}`,
        correct,
      ),
    )
  if (named.length > 0)
    findings.push(
      warning(
        DESCRIPTION,
        `names what production does not have: ${shortened(named)}`,
        `None, where the schema is of another day. ${correct}`,
      ),
    )
  return findings.length > 0 ? findings : [ok(DESCRIPTION, `of ${appview.name}: all that it names is there`)]
}

/** Tables that the foreign keys lead to and the description does not know. A restore takes them along all the same. */
export const isNew: Check = ({ appview, radius }) => {
  const check = 'new tables'
  if (radius?.ok !== true) return []
  const found = newTables(appview, radius.value)
  if (found.length === 0) return [ok(check, `none below the roots since the description was written`)]
  return [
    warning(
      check,
      `below the roots, and unknown to the description: ${shortened(found)}`,
      'They are restored like all others. See with `closure` how, then name them in knownTables.',
    ),
  ]
}

/** Where the delete goes and a restore cannot follow. */
export const withinReach: Check = (readings) => {
  const check = 'reach'
  const { radius } = readings
  const catalog = catalogOf(readings)
  if (radius?.ok !== true || catalog === undefined) return []
  const { tables, outside, outsideParents } = radius.value
  const keyless = tables
    .map(({ table }) => table)
    .filter((table) => catalog.table(table).uniqueKeys.length === 0)
  const findings = []
  if (keyless.length > 0)
    findings.push(
      problem(
        check,
        `no key tells rows apart in ${shortened(keyless)}`,
        'Add a primary or unique key, in the backup as well.',
      ),
    )
  const hidden = outside.map((key) => `${key.childSchema}.${key.child} (${key.onDelete})`)
  if (hidden.length > 0)
    findings.push(
      warning(
        check,
        `not exposed, so not restored: ${shortened([...new Set(hidden)])}`,
        'Bring these rows back by SQL, or expose the schema as views.',
      ),
    )
  const above = outsideParents.map((key) => `${key.parentSchema}.${key.parent}`)
  if (above.length > 0)
    findings.push(
      warning(
        check,
        `rows need parents that are not exposed: ${shortened([...new Set(above)])}`,
        'Where such a parent is gone, its rows are blocked.',
      ),
    )
  return findings.length > 0
    ? findings
    : [ok(check, `${tables.length} tables, all of them in schema public, all with a key`)]
}

/** References that only the description knows, and rows that hang by them already. */
export const hanging: Check = ({ appview, hanging: counted, radius }) => {
  const check = 'virtual references'
  if (radius?.ok !== true || (appview.virtualReferences ?? []).length === 0) return []
  const findings = counted.flatMap(({ edge, count }) => {
    const name = `${edge.name} -> ${edge.parent}.${edge.parentColumns.join()}`
    if (!count.ok) return [warning(check, `${name} could not be counted: ${count.said}`, count.todo)]
    if (count.value === 0) return []
    const todo = 'They refer to what is gone or never was; a restore brings back what the backup has of it.'
    return [warning(check, `rows that name nothing by ${name}: ${count.value}`, todo)]
  })
  return findings.length > 0 ? findings : [ok(check, 'every row names one that is there')]
}

function catalogOf({ production }: Readings): Catalog | undefined {
  return production.catalog.ok ? production.catalog.value : undefined
}

/** Without these no record can be indexed: `table`, or `table.column`. */
function neededNames({ roots, handlers }: AppView): string[] {
  const derived = handlers.flatMap(({ derives }) => [...derives])
  return [
    ...new Set([
      ...roots.flatMap(({ table, uriColumn, recordColumn }) => [
        table,
        `${table}.${uriColumn}`,
        `${table}.${recordColumn}`,
      ]),
      ...derived.flatMap(({ table, of, key, columns }) => [
        table,
        ...[of, ...key, ...columns].map((name) => `${table}.${name}`),
      ]),
    ]),
  ]
}

function mentionedNames(appview: AppView): string[] {
  const {
    sections,
    guardTables,
    untouchableTables,
    knownTables = [],
    sensitiveColumns,
    virtualUniqueKeys = [],
  } = appview
  return [
    ...Object.keys(sections),
    ...guardTables,
    ...untouchableTables,
    ...knownTables,
    ...sensitiveColumns,
    ...virtualUniqueKeys.flatMap(({ table, columns }) => [
      table,
      ...columns.map((column) => `${table}.${column}`),
    ]),
  ]
}

/** A column of a table that is not there is not named a second time. */
function hasName(catalog: Catalog, name: string): boolean {
  const [table = '', column] = name.split('.')
  if (column === undefined) return catalog.has(table)
  return !catalog.has(table) || catalog.table(table).columns.some((candidate) => candidate.name === column)
}
