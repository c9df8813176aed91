import { expect, test } from 'vitest'
import { planMigrations } from '../../../src/stack/schema.ts'

const FILES = [
  '20260901000000_firehose_replay.sql',
  'README.md',
  '20260815000000_appview_august.sql',
  '20260214000000_appview_february.sql',
]

test.each([
  { schema: 'august', appview: ['20260214000000_appview_february.sql', '20260815000000_appview_august.sql'] },
  { schema: 'february', appview: ['20260214000000_appview_february.sql'] },
] as const)('the $schema schema, in the order of the file names, ours apart', ({ schema, appview }) => {
  expect(planMigrations('/m', FILES, { schema })).toEqual({
    appview: appview.map((name) => `/m/${name}`),
    own: ['/m/20260901000000_firehose_replay.sql'],
  })
})

test("migrations of one's own replace the appview's only, in the order given", () => {
  expect(planMigrations('/m', FILES, { migrations: ['/x/b.sql', '/x/a.sql'] })).toEqual({
    appview: ['/x/b.sql', '/x/a.sql'],
    own: ['/m/20260901000000_firehose_replay.sql'],
  })
})
