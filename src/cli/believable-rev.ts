import { isValidTid } from '@atproto/syntax'

/** How far clocks may be apart. */
const TOLERANCE_MS = 5 * 60_000

/** The digits of a TID: base 32 in the order of ASCII, so that TIDs compare as text. */
const DIGITS = '234567abcdefghijklmnopqrstuvwxyz'
/** A TID's last two digits are the clock's id; those before them count microseconds since 1970. */
const TIME_DIGITS = 11

/**
 * The revision that a frame claims, where a repo can be held to it. Frames that are broken may claim anything, and no
 * repo would ever reach a revision from the future.
 */
export function believableRev(rev: string, nowMs: number = Date.now()): string | undefined {
  if (!isValidTid(rev)) return undefined
  let micros = 0
  for (const digit of rev.slice(0, TIME_DIGITS)) micros = micros * DIGITS.length + DIGITS.indexOf(digit)
  return micros / 1000 <= nowMs + TOLERANCE_MS ? rev : undefined
}
