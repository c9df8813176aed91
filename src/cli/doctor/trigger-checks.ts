import type { Catalog } from '../../database/catalog.ts'
import type { Trigger } from '../../database/triggers.ts'
import { shortened } from './database-checks.ts'
import { type Check, type Finding, ok, warning } from './finding.ts'

const CHECK = 'triggers'
const TODO =
  'A restore must tell nobody: switch it off while one runs, or let it skip what restore_marks names.'

/** What writing to the tables that a restore writes to would set off outside the database. */
export const triggersThatCallOut: Check = ({ production, radius }) => {
  if (!production.catalog.ok || production.catalog.value === undefined || radius?.ok !== true) return []
  const catalog = production.catalog.value
  const tables = radius.value.tables.map(({ table }) => table)
  const firing = [...firedBy(catalog, tables)]
  const findings = firing.flatMap(({ table, trigger }): Finding[] => {
    const name = `${trigger.name} on ${table} (${trigger.timing} ${trigger.events.join(', ')})`
    const said = []
    if (trigger.callsOut.length > 0) said.push(`${name} calls out: ${shortened(trigger.callsOut)}`)
    if (trigger.unreadable.length > 0) said.push(`${name}: ${shortened(trigger.unreadable)}`)
    return said.map((text) => warning(CHECK, text, TODO))
  })
  if (findings.length > 0) return findings
  return [ok(CHECK, `${firing.length} on touched tables; none calls out`)]
}

/** Triggers of these tables, and of those that these triggers write to, and so on. */
function* firedBy(
  catalog: Catalog,
  tables: readonly string[],
): Generator<{ table: string; trigger: Trigger }> {
  // A Set gives what is added while it is walked.
  const written = new Set(tables)
  for (const table of written) {
    for (const trigger of catalog.triggersOf(table).filter(({ fires }) => fires)) {
      yield { table, trigger }
      for (const other of trigger.writes) if (catalog.has(other)) written.add(other)
    }
  }
}
