import { describe, expect, it } from 'vitest'
import type { ConsentDecision } from '../../../../src/reconcile/consent/decision.ts'
import { suspiciousShare } from '../../../../src/reconcile/consent/withdrawn-share.ts'

const KINDS: Record<string, ConsentDecision> = {
  s: { consent: 'same', cid: 'c', rev: 'r' },
  c: { consent: 'changed', cid: 'c', rev: 'r' },
  w: { consent: 'withdrawn', reason: 'its account is deactivated' },
  u: { consent: 'unreachable', reason: 'away' },
}
const share = (kinds: string, standing = 0) =>
  suspiciousShare(
    new Map([...kinds].map((kind, index) => [`at://${index}`, KINDS[kind] as ConsentDecision])),
    standing,
  )

describe('suspiciousShare', () => {
  it.each([
    ['', 0],
    ['wwwwwwwww', 0],
    ['wsssssssss', 0],
    ['ww', 18],
    ['uuuuuuuuuuuu', 0],
  ])('lets %s beside %i pass', (kinds, standing) => expect(share(kinds, standing)).toBeUndefined())

  it.each([
    ['wwssssssss', 0, 2, 10],
    ['wwwwwwwwww', 0, 10, 10],
    ['ww', 17, 2, 19],
    ['wwssssssssuuuuuuuuuuuuuuu', 0, 2, 10],
    ['wwcccccccc', 0, 2, 10],
  ])('stops at %s beside %i', (kinds, standing, withdrawn, of) => {
    expect(share(kinds, standing)).toEqual({
      withdrawn,
      of,
      reasons: new Map([['its account is deactivated', withdrawn]]),
    })
  })
})
