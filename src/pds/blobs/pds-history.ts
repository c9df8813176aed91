import { UnavailableError, VerificationError } from '../../errors.ts'
import { bodyBytes } from '../../network/body.ts'
import type { Fetch } from '../../network/fetch.ts'
import { retryAtMsOf } from '../../network/retry-after.ts'

/** An operation is at most 7,500 bytes; a thousand of them are more than any account has. */
const MAX_LOG_BYTES = 16 * 1024 ** 2

/**
 * Every PDS that a DID's directory entry has named, newest first, each once. A host that the account has left may
 * still serve its blobs. For did:web there is no history.
 *
 * Operations that a recovery key has undone count as well: a wrong host gives no bytes that fit a CID.
 *
 * @throws UnavailableError when the directory does not answer; VerificationError when it answers nonsense
 */
export async function pdsHistory(
  did: string,
  { plcUrl, fetch }: { plcUrl: string; fetch: Fetch },
): Promise<string[]> {
  if (!did.startsWith('did:plc:')) return []
  const url = new URL(`/${did}/log/audit`, plcUrl)
  const response = await fetch(url)
  if (!response.ok) {
    await response.body?.cancel()
    throw new UnavailableError(
      `${url.host} answered ${response.status} when asked for the history of ${did}`,
      {
        did,
        hint: `Try again later; if it stays so, check that ${url.host} is the directory of this DID.`,
        ...retryAtMsOf(response.headers),
      },
    )
  }
  return hostsIn(parsed(await bodyBytes(response, url.host, { maxBytes: MAX_LOG_BYTES }), did))
}

function parsed(bytes: Uint8Array, did: string): unknown[] {
  try {
    const log: unknown = JSON.parse(Buffer.from(bytes).toString())
    if (Array.isArray(log)) return log
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error
  }
  throw new VerificationError(`The directory's history of ${did} cannot be read.`, {
    did,
    hint: 'Check the address of the PLC directory.',
  })
}

/** The log is oldest first. */
function hostsIn(log: readonly unknown[]): string[] {
  const hosts = log.map(endpointOf).filter((endpoint) => endpoint !== undefined)
  return [...new Set(hosts.reverse())]
}

/** Operations of today name services; those of the first months, a PDS in `service`; tombstones, nothing. */
function endpointOf(entry: unknown): string | undefined {
  const operation = field(entry, 'operation')
  const endpoint =
    field(field(field(operation, 'services'), 'atproto_pds'), 'endpoint') ?? field(operation, 'service')
  if (typeof endpoint !== 'string' || !URL.canParse(endpoint)) return undefined
  const { origin, protocol } = new URL(endpoint)
  return protocol === 'https:' || protocol === 'http:' ? origin : undefined
}

function field(value: unknown, name: string): unknown {
  return value !== null && typeof value === 'object'
    ? Object.getOwnPropertyDescriptor(value, name)?.value
    : undefined
}
