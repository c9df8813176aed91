const ALPHABET = '234567abcdefghijklmnopqrstuvwxyz'
/** A TID is 65 bits, five to a character: a zero bit, 53 of microseconds, 10 of a clock's number. */
const LENGTH = 13

/** The TID of a moment: an rkey that sorts by it. @param atMs since 1970 @param clock 0 to 1023 */
export function tidOf(atMs: number, clock = 0): string {
  let rest = ((BigInt(atMs) * 1000n) << 10n) | BigInt(clock)
  let tid = ''
  for (let place = 0; place < LENGTH; place++) {
    tid = ALPHABET.charAt(Number(rest & 31n)) + tid
    rest >>= 5n
  }
  return tid
}
