import { expect } from 'vitest'
import type { Stack } from '../../src/stack/index.ts'
import { writeAppRows } from '../fixtures/gardens/app-rows.ts'
import { GARDENS_MIGRATION, gardens } from '../fixtures/gardens/index.ts'
import { publishSeason, type Season } from '../fixtures/gardens/season.ts'
import type { TableDump } from './dump.ts'
import { describeRestore } from './restore-contract.ts'

describeRestore(
  {
    appview: gardens,
    migration: GARDENS_MIGRATION,
    publish: publishSeason,
    writeAppRows,
    deleteLostRows,
    unharmed: ['gardeners', 'regions'],
    // A bed stays when its planting goes; some go with their plots.
    afterIncident(before, after, { survivingPlot: { uri } }) {
      expect([before, after].map((dump) => emptiedBeds(dump, uri))).toEqual([0, 3])
    },
  },
  ['ours', 'theirs since', 'theirs ever'],
)

async function deleteLostRows(stack: Stack, { lost }: Season): Promise<void> {
  const uris = lost.map(({ uri }) => uri)
  await stack.production.query('delete from plantings where planting_uri = any($1)', [uris])
  await stack.production.query('delete from plots where at_uri = any($1)', [uris])
}

/** Beds of a plot that lost what is planted in them. */
function emptiedBeds(dump: TableDump, plot: string): number {
  const beds = dump.get('beds') ?? []
  return beds.filter(({ columns }) => columns.plot_uri === plot && columns.planted_with === null).length
}
