import type { Snapshot } from '../../backup/snapshot.ts'
import type { RecordUpsert } from '../../events.ts'
import type { ConsentDecision, ConsentDecisions } from './decision.ts'
import { type ForeignRecord, foreignRecords, type RecordTables } from './foreign-records.ts'
import { likenessOf } from './likeness.ts'
import { type LookupOptions, type RecordAnswer, RecordLookup } from './lookup.ts'

export interface ConsentOptions extends Omit<LookupOptions, 'maxAgeMs'> {
  snapshot: Snapshot
  appview: RecordTables
  /** How long an answer holds, in milliseconds. @defaultValue 300000 */
  maxAgeMs?: number
}

const DEFAULT_MAX_AGE_MS = 5 * 60_000

interface Answered {
  decision: ConsentDecision
  /** The record's present value, where it is another than the backup's. */
  event: RecordUpsert | undefined
  atMs: number
}

/**
 * Whether rows made from other accounts' records may come back. Answers are kept for minutes; who asks later than
 * that has the account asked again.
 */
export class Consent {
  readonly #options: ConsentOptions
  readonly #maxAgeMs: number
  readonly #lookup: RecordLookup
  readonly #records: ReadonlyMap<string, ForeignRecord>
  readonly #answered = new Map<string, Answered>()

  constructor(options: ConsentOptions) {
    this.#options = options
    this.#maxAgeMs = options.maxAgeMs ?? DEFAULT_MAX_AGE_MS
    this.#lookup = new RecordLookup({ ...options, maxAgeMs: this.#maxAgeMs })
    this.#records = foreignRecords(options.snapshot, options.appview)
  }

  /**
   * @param uris of records that rows of the snapshot were made from; others are left out of the answer
   * @param onProgress told of accounts' answers as they come
   */
  async decide(
    uris: Iterable<string>,
    onProgress: (done: number, total: number) => void = () => undefined,
  ): Promise<ConsentDecisions> {
    const asked = [...new Set(uris)].flatMap((uri) => this.#records.get(uri) ?? [])
    const open = asked.filter(({ uri }) => !this.#isFresh(uri))
    let done = asked.length - open.length
    await Promise.all(
      open.map(async (record) => {
        this.#answered.set(record.uri, this.#answer(record, await this.#lookup.look(record)))
        onProgress(++done, asked.length)
      }),
    )
    return new Map(
      asked.flatMap(({ uri }) => {
        const answered = this.#answered.get(uri)
        return answered === undefined ? [] : [[uri, answered.decision] as const]
      }),
    )
  }

  /** Of the records that were found changed, parents first: what their handlers are to be told instead. */
  changed(): RecordUpsert[] {
    const ranks = new Map(this.#options.appview.handlers.map(({ collection, rank }) => [collection, rank]))
    return [...this.#answered.values()]
      .flatMap(({ event }) => event ?? [])
      .sort((a, b) => (ranks.get(a.collection) ?? 0) - (ranks.get(b.collection) ?? 0))
  }

  /** By URI, what was last decided of everything that was ever asked. */
  decisions(): ConsentDecisions {
    return new Map([...this.#answered].map(([uri, { decision }]) => [uri, decision]))
  }

  #isFresh(uri: string): boolean {
    const answered = this.#answered.get(uri)
    return answered !== undefined && Date.now() - answered.atMs < this.#maxAgeMs
  }

  #answer(record: ForeignRecord, answer: RecordAnswer): Answered {
    const atMs = Date.now()
    if (answer.record !== 'present')
      return { decision: decisionWithoutRecord(answer), event: undefined, atMs }
    const { event } = answer
    const known = { cid: event.cid.toString(), rev: event.rev }
    const handler = this.#options.appview.handlers.find(({ collection }) => collection === record.collection)
    const likeness = likenessOf(event, record.rows, handler)
    switch (likeness.is) {
      case 'same':
        return { decision: { consent: 'same', ...known }, event: undefined, atMs }
      case 'changed':
        return { decision: { consent: 'changed', ...known }, event, atMs }
      case 'rowless': {
        const reason = `its author has changed the record since, to one that stands for no row: ${likeness.reason}`
        return { decision: { consent: 'withdrawn', reason }, event: undefined, atMs }
      }
    }
  }
}

function decisionWithoutRecord(answer: Exclude<RecordAnswer, { record: 'present' }>): ConsentDecision {
  switch (answer.record) {
    case 'absent':
      return { consent: 'withdrawn', reason: 'its author has deleted the record' }
    case 'without-account':
      return { consent: 'withdrawn', reason: answer.reason }
    case 'unreachable':
      return { consent: 'unreachable', reason: answer.reason }
  }
}
