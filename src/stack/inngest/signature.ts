import { createHash, createHmac, timingSafeEqual } from 'node:crypto'
import type { Json } from '../../events.ts'

/** JSON with sorted keys and no white space (RFC 8785, JCS): what the signature is made over. */
export function canonicalJson(value: Json): string {
  if (Array.isArray(value)) return `[${value.map(canonicalJson).join(',')}]`
  if (typeof value !== 'object' || value === null) return JSON.stringify(value)
  const members = Object.entries(value)
    .filter(([, member]) => member !== undefined)
    .toSorted(([a], [b]) => (a < b ? -1 : 1))
  return `{${members.map(([key, member]) => `${JSON.stringify(key)}:${canonicalJson(member)}`).join(',')}}`
}

/** The value of the header x-inngest-signature. @param timeSeconds since 1970; served functions refuse older than 5 minutes */
export function signature(body: Json, signingKey: string, timeSeconds: number): string {
  const time = String(timeSeconds)
  const mac = createHmac('sha256', withoutPrefix(signingKey)).update(canonicalJson(body) + time)
  return `t=${time}&s=${mac.digest('hex')}`
}

/** Whether an Authorization header carries the signing key, as people send it, or its hash, as the SDK does. */
export function isAuthorized(header: string | undefined, signingKey: string): boolean {
  const token = header?.replace(/^Bearer /, '') ?? ''
  return equal(token, signingKey) || equal(token, hashedSigningKey(signingKey))
}

function hashedSigningKey(signingKey: string): string {
  const key = withoutPrefix(signingKey)
  const prefix = signingKey.slice(0, signingKey.length - key.length)
  return prefix + createHash('sha256').update(key, 'hex').digest('hex')
}

function withoutPrefix(signingKey: string): string {
  return signingKey.replace(/^signkey-\w+-/, '')
}

function equal(a: string, b: string): boolean {
  const [left, right] = [Buffer.from(a), Buffer.from(b)]
  return left.length === right.length && timingSafeEqual(left, right)
}
