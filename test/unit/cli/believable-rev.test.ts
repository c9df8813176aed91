import { TID } from '@atproto/common-web'
import { expect, test } from 'vitest'
import { believableRev } from '../../../src/cli/believable-rev.ts'

const NOW_MS = 1_790_000_000_000
const revAt = (ms: number) => TID.fromTime(ms * 1000, 31).toString()

test.each([-86_400_000, 0, 4 * 60_000])('a revision of %i ms from now is believed', (ms) => {
  const rev = revAt(NOW_MS + ms)
  expect(believableRev(rev, NOW_MS)).toBe(rev)
})

test.each([revAt(NOW_MS + 6 * 60_000), 'bzzzzzzzzzzzz', 'zzzzzzzzzzzzz', '', 'a b', '0000000000000'])(
  'none is believed in %s',
  (rev) => {
    expect(believableRev(rev, NOW_MS)).toBeUndefined()
  },
)
