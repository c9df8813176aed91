import { PdsError } from '../errors.ts'
import type { Identity } from '../network/identity.ts'
import type { Xrpc } from '../network/xrpc.ts'
import { openRepo } from '../repo/verified-repo.ts'

/**
 * Which records an account has at present, fetched when it is first asked. A window of the past holds deletes of
 * records that have come back since; a target that cannot tell what is newer must not be given these.
 */
export class PresentRecords {
  readonly #did: string
  readonly #network: { identity: Identity; xrpc: Xrpc }
  #paths: Promise<ReadonlySet<string>> | undefined

  constructor(did: string, network: { identity: Identity; xrpc: Xrpc }) {
    this.#did = did
    this.#network = network
  }

  /** @throws as replayRepo: where the repo cannot be had, nothing is known */
  async has({ collection, rkey }: { collection: string; rkey: string }): Promise<boolean> {
    this.#paths ??= this.#read()
    return (await this.#paths).has(`${collection}/${rkey}`)
  }

  async #read(): Promise<ReadonlySet<string>> {
    const did = this.#did
    const { identity, xrpc } = this.#network
    const { pdsUrl, signingKey } = await identity.refresh(did)
    try {
      const repo = await openRepo(await xrpc.getRepoStream(pdsUrl, did), { did, signingKey })
      try {
        return new Set([...repo.paths()].map(({ collection, rkey }) => `${collection}/${rkey}`))
      } finally {
        repo.close()
      }
    } catch (error) {
      // An account that is gone has no records.
      if (error instanceof PdsError && error.error === 'RepoNotFound') return new Set()
      throw error
    }
  }
}
