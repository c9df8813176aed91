import { different, migration, olderBackup, reachable, visibleRows } from './database-checks.ts'
import type { Check, Finding } from './finding.ts'
import type { Readings } from './readings.ts'
import { described, hanging, isNew, withinReach } from './schema-checks.ts'
import { triggersThatCallOut } from './trigger-checks.ts'

/** In the order in which they are said: what the later ones rest on comes first. */
const CHECKS: readonly Check[] = [
  reachable,
  different,
  migration,
  visibleRows,
  olderBackup,
  described,
  isNew,
  withinReach,
  hanging,
  triggersThatCallOut,
]

export function findingsOf(readings: Readings): Finding[] {
  return CHECKS.flatMap((check) => check(readings))
}
