import { RADIO_MIGRATION, radio } from '../fixtures/radio/index.ts'
import { publishShows, writeAppRows } from '../fixtures/radio/world.ts'
import { describeRestore } from './restore-contract.ts'

describeRestore(
  {
    appview: radio,
    migration: RADIO_MIGRATION,
    publish: publishShows,
    writeAppRows,
    async deleteLostRows(stack, { lost }) {
      await stack.production.query('delete from shows where uri = any($1)', [lost.map(({ uri }) => uri)])
    },
    unharmed: ['listeners'],
  },
  ['ours', 'theirs ever'],
)
