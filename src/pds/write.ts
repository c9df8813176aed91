import { PdsError, type ReplayError, UnavailableError } from '../errors.ts'
import type { JsonObject, RecordOutcome } from '../events.ts'
import { cidOfRecord, unencodableReason } from '../repo/record.ts'
import type { VerifiedRepo } from '../repo/verified-repo.ts'
import { packBatches } from './batches.ts'
import type { ConflictPolicy } from './plan.ts'
import type { Session, WriteOp } from './session.ts'

/** A record to be written: the shape of the Inngest event's entries. */
export interface RecordToWrite {
  collection: string
  rkey: string
  record: JsonObject
}

/** Where a repo stands: what a commit follows. */
export interface Head {
  commit: string
  rev: string
}

export interface WrittenRecord {
  collection: string
  rkey: string
  outcome: RecordOutcome
  reason?: string
}

export interface WriteResult {
  records: WrittenRecord[]
  /** Commits made. */
  commits: number
  head: Head
}

export interface WriteOptions {
  session: Session
  /** Reads the account's repo afresh: asked when the state is not what was thought. */
  readRepo(): Promise<VerifiedRepo>
  onConflict?: ConflictPolicy
  /** Where the repo stood when the caller last knew; undefined: read it first. */
  head?: Head
  /** Told after each commit. */
  onCommit?: (records: number) => void
}

/** How often the state may turn out to be another one before a batch gives up. */
const MAX_ATTEMPTS = 5

/**
 * Brings a repo to hold these records, in as few commits as the limits allow. Each commit names the one it follows;
 * when that fails, or the answer is lost, or the host says 500 (which is how it says "exists already"), the repo is
 * read again and only what is still missing is written: never a blind retry, never a second commit for what is there.
 *
 * @throws SessionError, UnavailableError; a record that the host refuses for good costs only that record
 */
export async function writeRecords(
  records: readonly RecordToWrite[],
  options: WriteOptions,
): Promise<WriteResult> {
  const run = new WriteRun(options)
  const written: WrittenRecord[] = []
  const pending: Pending[] = []
  for (const record of records) {
    const reason = unencodableReason(record.record, record)
    if (reason === null) pending.push(pendingOf(record))
    else written.push({ ...nameOf(record), outcome: 'refused', reason })
  }
  for (const batch of packBatches(await run.decide(pending, written))) {
    written.push(...(await run.writeBatch(batch)))
  }
  return { records: written, commits: run.commits, head: await run.head() }
}

interface Pending extends RecordToWrite {
  cid: string
  jsonBytes: number
  /** What the repo holds there now. */
  currentCid?: string
}

class WriteRun {
  commits = 0
  readonly #options: WriteOptions
  #repo: VerifiedRepo | undefined
  #head: Head | undefined

  constructor(options: WriteOptions) {
    this.#options = options
    this.#head = options.head
  }

  async head(): Promise<Head> {
    this.#head ??= headOf(await this.#readRepo())
    return this.#head
  }

  /** What is left to do, by the repo as it is; what needs no write gets its outcome. */
  async decide(pending: readonly Pending[], written: WrittenRecord[]): Promise<Pending[]> {
    const repo = this.#repo ?? (await this.#readRepo())
    const left: Pending[] = []
    for (const item of pending) {
      const currentCid = repo.get(item.collection, item.rkey)?.cid.toString()
      if (currentCid === undefined) left.push(withoutCurrent(item))
      else if (currentCid === item.cid) written.push({ ...nameOf(item), outcome: 'same' })
      else if (this.#options.onConflict === 'keep')
        written.push({ ...nameOf(item), outcome: 'kept', reason: 'another record is there now' })
      else if (this.#options.onConflict === 'fail')
        written.push({ ...nameOf(item), outcome: 'refused', reason: 'another record is there now' })
      else left.push({ ...item, currentCid })
    }
    return left
  }

  async writeBatch(batch: readonly Pending[]): Promise<WrittenRecord[]> {
    const written: WrittenRecord[] = []
    let left = [...batch]
    let lastError: ReplayError | undefined
    for (let attempt = 1; left.length > 0 && attempt <= MAX_ATTEMPTS; attempt++) {
      const { commit } = await this.head()
      try {
        const made = await this.#options.session.applyWrites(left.map(operationOf), commit)
        this.#head = { commit: made.commit, rev: made.rev }
        this.commits++
        this.#options.onCommit?.(left.length)
        written.push(...left.map((item) => ({ ...nameOf(item), outcome: outcomeOf(item) })))
        return written
      } catch (error) {
        if (error instanceof PdsError && error.error !== 'InvalidSwap') {
          return [...written, ...(await this.#writeHalves(left, error))]
        }
        const mayHaveMoved =
          error instanceof PdsError || (error instanceof UnavailableError && error.retryAtMs === undefined)
        if (!mayHaveMoved) throw error
        lastError = error
      }
      // Someone else committed, or the answer was lost: look again, and count what is there as ours.
      const before = left
      await this.#readRepo()
      left = await this.decide(left, written)
      this.#markLanded(before, written)
    }
    if (left.length === 0) return written
    throw new UnavailableError(
      `The repo of ${this.#options.session.did} kept changing or failing while ${left.length} records were to be written.`,
      {
        did: this.#options.session.did,
        hint: 'Run the same command again; it goes on where it stopped.',
        cause: lastError,
      },
    )
  }

  /** Refused as a whole: halved until the record that is refused stands alone. */
  async #writeHalves(batch: readonly Pending[], refusal: PdsError): Promise<WrittenRecord[]> {
    const [only] = batch
    if (only === undefined) return []
    if (batch.length === 1) return [{ ...nameOf(only), outcome: 'failed', reason: refusal.message }]
    const middle = batch.length >> 1
    return [
      ...(await this.writeBatch(batch.slice(0, middle))),
      ...(await this.writeBatch(batch.slice(middle))),
    ]
  }

  /** A record that we sent and that is there now with our CID landed with the answer that was lost. */
  #markLanded(sent: readonly Pending[], written: WrittenRecord[]): void {
    const sentByName = new Map(sent.map((item) => [`${item.collection}/${item.rkey}`, item]))
    for (const record of written) {
      const item = sentByName.get(`${record.collection}/${record.rkey}`)
      if (record.outcome === 'same' && item !== undefined) record.outcome = outcomeOf(item)
    }
  }

  async #readRepo(): Promise<VerifiedRepo> {
    this.#repo = await this.#options.readRepo()
    this.#head = headOf(this.#repo)
    return this.#repo
  }
}

function headOf(repo: VerifiedRepo): Head {
  return { commit: repo.commit.toString(), rev: repo.rev }
}

function pendingOf(record: RecordToWrite): Pending {
  const { collection, rkey } = record
  const json = JSON.stringify(operationOf({ ...record, cid: '', jsonBytes: 0 }))
  return {
    collection,
    rkey,
    record: record.record,
    cid: cidOfRecord(record.record),
    jsonBytes: Buffer.byteLength(json) + 1,
  }
}

function withoutCurrent({ collection, rkey, record, cid, jsonBytes }: Pending): Pending {
  return { collection, rkey, record, cid, jsonBytes }
}

function nameOf({ collection, rkey }: RecordToWrite): { collection: string; rkey: string } {
  return { collection, rkey }
}

function outcomeOf(item: Pending): RecordOutcome {
  return item.currentCid === undefined ? 'created' : 'overwritten'
}

function operationOf({ collection, rkey, record, currentCid }: Pending): WriteOp {
  return currentCid === undefined
    ? { $type: 'com.atproto.repo.applyWrites#create', collection, rkey, value: record }
    : { $type: 'com.atproto.repo.applyWrites#update', collection, rkey, value: record }
}
