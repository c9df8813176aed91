import { AtUri } from '@atproto/syntax'
import { ConfigError, PdsError, ReplayError, VerificationError } from '../../errors.ts'
import type { RecordUpsert } from '../../events.ts'
import { type AccountIdentity, type Identity, NoRepositoryError } from '../../network/identity.ts'
import type { Xrpc } from '../../network/xrpc.ts'
import { verifyRecordProof } from '../../repo/proof.ts'
import { SignatureError } from '../../repo/repo-errors.ts'
import type { ForeignRecord } from './foreign-records.ts'
import { Hosts, type HostsOptions } from './hosts.ts'

/** What an account's repo says of one of its records. */
export type RecordAnswer =
  /** Proven to be there; as the event that a replay of its repo would hand on. */
  | { record: 'present'; event: RecordUpsert }
  /** Proven to be absent. */
  | { record: 'absent'; rev: string }
  /** There is no repo that could say it. */
  | { record: 'without-account'; reason: string }
  /** Nobody said anything that can be believed. */
  | { record: 'unreachable'; reason: string }

export interface LookupOptions extends HostsOptions {
  network: { identity: Pick<Identity, 'refresh'>; xrpc: Pick<Xrpc, 'getRecordProof'> }
  /** How long what a DID document says is believed, in milliseconds. */
  maxAgeMs: number
}

/**
 * The queue of did:plc look-ups. A name only: the directory in use is known to `Identity` alone, and there is one.
 */
const DIRECTORY = 'https://plc.directory'
/** At one time: one directory answers for all accounts, and from memory. */
const DIRECTORY_REQUESTS = 12

/** What a host answers for an account that is not to be seen, and in words. */
const ACCOUNT_STATES: Readonly<Record<string, string>> = {
  RepoNotFound: 'its account is not on its host any more',
  RepoDeactivated: 'its account is deactivated',
  RepoTakendown: 'its account is taken down',
  RepoSuspended: 'its account is suspended',
}

interface Account {
  identity: Promise<AccountIdentity>
  askedAtMs: number
}

/**
 * Looks records up in their accounts' repos, where the DID documents point now. Nothing is believed without a proof:
 * an answer that a record is not there, but for a proof of it, is none.
 */
export class RecordLookup {
  readonly #options: LookupOptions
  readonly #hosts: Hosts
  readonly #directories: Hosts
  readonly #accounts = new Map<string, Account>()

  constructor(options: LookupOptions) {
    this.#options = options
    this.#hosts = new Hosts(options)
    this.#directories = new Hosts({ ...options, perHost: DIRECTORY_REQUESTS })
  }

  /** @throws only what is nobody's answer: an abort, or a fault of ours */
  async look(record: ForeignRecord): Promise<RecordAnswer> {
    if (record.did === '') return { record: 'unreachable', reason: 'its URI names no record of a DID' }
    try {
      return await this.#proveSomewhere(record)
    } catch (error) {
      // Without the DID, reasons can be counted.
      if (error instanceof NoRepositoryError)
        return { record: 'without-account', reason: error.message.replaceAll(record.did, 'its account') }
      const state = error instanceof PdsError ? ACCOUNT_STATES[error.error] : undefined
      if (state !== undefined) return { record: 'without-account', reason: state }
      if (error instanceof ReplayError) return { record: 'unreachable', reason: error.message }
      throw error
    }
  }

  /** An account that moved or changed its key since its document was read is asked again, where it is now. */
  async #proveSomewhere(record: ForeignRecord): Promise<RecordAnswer> {
    const identity = await this.#resolve(record.did)
    try {
      return await this.#prove(identity, record)
    } catch (error) {
      if (!(error instanceof SignatureError) && !(error instanceof PdsError)) throw error
      const now = await this.#resolve(record.did, identity)
      if (now.pdsUrl === identity.pdsUrl && now.signingKey === identity.signingKey) throw error
      return this.#prove(now, record)
    }
  }

  async #prove({ pdsUrl, signingKey }: AccountIdentity, record: ForeignRecord): Promise<RecordAnswer> {
    const { uri, did, collection, rkey } = record
    checkUrl(pdsUrl, did)
    const car = await this.#hosts.ask(pdsUrl, () =>
      this.#options.network.xrpc.getRecordProof(pdsUrl, did, collection, rkey),
    )
    const proof = verifyRecordProof(car, { did, signingKey, collection, rkey })
    if (proof.present === null) return { record: 'absent', rev: proof.rev }
    const { present: cid, record: value, rev, commit } = proof
    const event: RecordUpsert = {
      event: 'create',
      seq: 0,
      time: new Date().toISOString(),
      commit,
      rev,
      uri: new AtUri(uri),
      did,
      collection,
      rkey,
      source: 'repo',
      cid,
      record: value,
    }
    return { record: 'present', event }
  }

  /** @param stale what led nowhere: the document is read again, once for all records that found it so */
  async #resolve(did: string, stale?: AccountIdentity): Promise<AccountIdentity> {
    const known = this.#accounts.get(did)
    if (known !== undefined && Date.now() - known.askedAtMs < this.#options.maxAgeMs) {
      const identity = await known.identity
      if (stale === undefined || identity !== stale) return identity
      // Another record of the account may have had it read again while this one waited.
      const current = this.#accounts.get(did)
      if (current !== undefined && current !== known) return current.identity
    }
    const url = did.startsWith('did:web:') ? `https://${webHost(did)}` : DIRECTORY
    const identity = this.#directories.ask(url, () => this.#options.network.identity.refresh(did))
    this.#accounts.set(did, { identity, askedAtMs: Date.now() })
    return identity
  }
}

function webHost(did: string): string {
  const [host = ''] = did.slice('did:web:'.length).split(':')
  const name = decodeURIComponent(host)
  if (URL.canParse(`https://${name}`)) return name
  throw new ConfigError(`${did} names no host`, { did, hint: 'Check the DID.' })
}

function checkUrl(pdsUrl: string, did: string): void {
  if (URL.canParse(pdsUrl)) return
  throw new VerificationError(`The DID document of ${did} names a PDS that is no URL`, {
    did,
    hint: 'The account has no repository at present. Its owner must put its DID document in order first.',
  })
}
