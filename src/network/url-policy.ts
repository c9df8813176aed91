import type { LookupFunction } from 'node:net'
import { checkUnicastPolicy, unicastLookup } from '@atproto-labs/fetch-node'
import { VerificationError } from '../errors.ts'

const LOOPBACK_HOSTS: ReadonlySet<string> = new Set(['localhost', '127.0.0.1', '[::1]'])

export function isLoopback(url: URL): boolean {
  return LOOPBACK_HOSTS.has(url.hostname) && (url.protocol === 'http:' || url.protocol === 'https:')
}

/**
 * Throws instead of returning a reason, as the library's checks do: the error then reaches our caller with its
 * hint, inside the "fetch failed" of undici.
 *
 * @throws {@link VerificationError} when the URL is not https or names an address that is not public
 */
export function checkPublicUrl(url: URL): undefined {
  if (url.protocol !== 'https:') throw refused(url.host, `${url.protocol} is not https:`)
  const reason = checkUnicastPolicy(url)
  if (reason !== undefined) throw refused(url.host, reason)
}

/** For redirects of a loopback host, which may lead to nowhere else. @throws {@link VerificationError} */
export function checkLoopbackUrl(url: URL): undefined {
  if (!isLoopback(url)) throw refused(url.host, 'a local address may only redirect to a local address')
}

/** Name resolution that refuses names standing for private addresses, when the connection is made. */
export const publicLookup: LookupFunction = (hostname, options, callback) => {
  unicastLookup(hostname, options, (error, address, family) => {
    // Errors of the resolver itself have a code (ENOTFOUND) and may pass; those of the policy have none.
    const isPolicy = error !== null && error.code === undefined
    callback(isPolicy ? refused(hostname, error.message) : error, address, family)
  })
}

function refused(host: string, reason: string): VerificationError {
  return new VerificationError(`Requests to ${host} are not allowed: ${reason}`, {
    hint: 'A DID document or a redirect led there. For a server on this machine, allow localhost.',
  })
}
