import { createPublicKey, type KeyObject, verify } from 'node:crypto'
import { promisify } from 'node:util'
import { parseDidKey } from '@atproto/crypto'
import { messageOf, VerificationError } from '../errors.ts'

interface Curve {
  /** Name in a JSON Web Key. */
  crv: string
  /** Half the order of the group, rounded down; from SEC 2 and FIPS 186-5. */
  halfOrder: Buffer
}

const CURVES: Readonly<Record<string, Curve>> = {
  ES256: {
    crv: 'P-256',
    halfOrder: Buffer.from('7fffffff800000007fffffffffffffffde737d56d38bcf4279dce5617e3192a8', 'hex'),
  },
  ES256K: {
    crv: 'secp256k1',
    halfOrder: Buffer.from('7fffffffffffffffffffffffffffffff5d576e7357a4501ddfe92f46681b20a0', 'hex'),
  },
}

interface VerifyingKey {
  key: KeyObject
  curve: Curve
}

/** Decompressing a point costs more than the check itself; a replay checks thousands of commits by one key. */
const cache = new Map<string, VerifyingKey>()
const MAX_CACHED_KEYS = 10_000

/**
 * Whether `signature` (64 bytes: r and s) is that of `bytes` by the key of `didKey`. A high s is refused as atproto
 * demands: it would be a second valid signature, and so a second CID, for one commit. Uses node:crypto, which is
 * some seven times faster than the checks of @atproto/crypto, but accepts high s.
 *
 * @param didKey `did:key:…` of a P-256 or secp256k1 key
 * @throws {@link VerificationError} when `didKey` is not such a key
 */
export function isSignedBy(didKey: string, bytes: Uint8Array, signature: Uint8Array): boolean {
  const { key, curve } = verifyingKey(didKey)
  if (!isWellFormed(signature, curve)) return false
  return verify('sha256', bytes, { key, dsaEncoding: 'ieee-p1363' }, signature)
}

/** As isSignedBy, in a thread of Node's pool: a third of a millisecond in which this one can do something else. */
export async function isSignedByInPool(
  didKey: string,
  bytes: Uint8Array,
  signature: Uint8Array,
): Promise<boolean> {
  const { key, curve } = verifyingKey(didKey)
  if (!isWellFormed(signature, curve)) return false
  return verifyInPool('sha256', bytes, { key, dsaEncoding: 'ieee-p1363' }, signature)
}

const verifyInPool = promisify(verify)

/** r and s, and the smaller one of the two s that would do. */
function isWellFormed(signature: Uint8Array, { halfOrder }: Curve): boolean {
  return signature.length === 64 && Buffer.compare(signature.subarray(32), halfOrder) <= 0
}

function verifyingKey(didKey: string): VerifyingKey {
  const cached = cache.get(didKey)
  if (cached !== undefined) return cached
  const made = makeKey(didKey)
  if (cache.size >= MAX_CACHED_KEYS) cache.clear()
  cache.set(didKey, made)
  return made
}

function makeKey(didKey: string): VerifyingKey {
  try {
    const { jwtAlg, keyBytes } = parseDidKey(didKey)
    const curve = CURVES[jwtAlg]
    if (curve === undefined) throw new Error(`no curve for ${jwtAlg}`)
    const x = Buffer.from(keyBytes.subarray(1, 33)).toString('base64url')
    const y = Buffer.from(keyBytes.subarray(33)).toString('base64url')
    return { key: createPublicKey({ format: 'jwk', key: { kty: 'EC', crv: curve.crv, x, y } }), curve }
  } catch (cause) {
    throw new VerificationError(
      `${JSON.stringify(didKey)} is not a signing key of atproto: ${messageOf(cause)}`,
      {
        hint: 'Look at the verification method #atproto of the DID document; it must be a P-256 or secp256k1 key.',
        cause,
      },
    )
  }
}
