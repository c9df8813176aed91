import { createHash, randomBytes } from 'node:crypto'

const ALPHABET = '0123456789ABCDEFGHJKMNPQRSTVWXYZ'

/** An id that sorts by time. @param entropy same time and entropy, same id; random when not given */
export function ulid(timeMs: number, entropy?: string): string {
  const bytes = entropy === undefined ? randomBytes(16) : createHash('sha256').update(entropy).digest()
  let time = ''
  for (let rest = timeMs, index = 0; index < 10; index++) {
    time = letter(rest % 32) + time
    rest = Math.floor(rest / 32)
  }
  return time + Array.from(bytes.subarray(0, 16), (byte) => letter(byte % 32)).join('')
}

function letter(value: number): string {
  return ALPHABET.charAt(value)
}
