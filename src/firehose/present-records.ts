import { type HeadNetwork, pathOf, withHead } from './repo-head.ts'

/**
 * Which records an account has at present, fetched when it is first asked. A window of the past holds deletes of
 * records that have come back since; a target that cannot tell what is newer must not be given these.
 */
export class PresentRecords {
  readonly #did: string
  readonly #network: HeadNetwork
  #paths: Promise<ReadonlySet<string>> | undefined

  constructor(did: string, network: HeadNetwork) {
    this.#did = did
    this.#network = network
  }

  /** @throws as replayRepo: where the repo cannot be had, nothing is known */
  async has(record: { collection: string; rkey: string }): Promise<boolean> {
    // An account that is gone has no records.
    this.#paths ??= withHead(
      this.#did,
      this.#network,
      (repo) => new Set([...(repo?.paths() ?? [])].map(pathOf)),
    )
    return (await this.#paths).has(pathOf(record))
  }
}
