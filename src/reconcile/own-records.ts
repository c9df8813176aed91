import type { RecordState } from '../database/record-state.ts'
import type { Refusal } from '../events.ts'
import { recordNameOf } from '../pds/lost-record.ts'
import type { VerifiedRepo } from '../repo/verified-repo.ts'

/** By URI, the account's records that were not written back, and why: by the write plan, or by the writer later. */
export type RefusedRecords = ReadonlyMap<string, { refusal: Refusal; reason: string }>

export type RepoRecords = Pick<VerifiedRepo, 'get'>

export interface OwnRecordsInput {
  /** What the index knows of the account's own records. */
  states: ReadonlyMap<string, RecordState>
  /** The account's repo as it is now. */
  repo?: RepoRecords | undefined
  refused?: RefusedRecords | undefined
}

/** Tells which of the account's records are there, and which cannot be. */
export class OwnRecords {
  readonly #input: OwnRecordsInput

  constructor(input: OwnRecordsInput) {
    this.#input = input
  }

  /** A tombstone wins: where the repo still shows the record, it was deleted after the repo was read. */
  isStanding(uri: string): boolean {
    const state = this.#input.states.get(uri)
    if (state?.deleted) return false
    return this.#input.repo === undefined ? state !== undefined : this.#isInRepo(uri)
  }

  /**
   * Why a row has no record and will have none; undefined where the record is there, or nobody refused it. A
   * conflict is no such reason: another record is there.
   */
  whyWithout(uri: string): string | undefined {
    const refused = this.#input.refused?.get(uri)
    if (refused === undefined || refused.refusal === 'conflict') return undefined
    if (this.isStanding(uri) || this.#isInRepo(uri)) return undefined
    return `its record could not be written (${refused.refusal}): ${refused.reason}`
  }

  #isInRepo(uri: string): boolean {
    const name = recordNameOf(uri)
    return name !== undefined && this.#input.repo?.get(name.collection, name.rkey) !== undefined
  }
}
