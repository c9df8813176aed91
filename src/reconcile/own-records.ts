import type { RecordState } from '../database/record-state.ts'
import type { Refusal } from '../events.ts'
import { recordNameOf } from '../pds/lost-record.ts'
import type { VerifiedRepo } from '../repo/verified-repo.ts'

/** By URI, the account's records that were not written back, and why: by the write plan, or by the writer later. */
export type RefusedRecords = ReadonlyMap<string, { refusal: Refusal; reason: string }>

/** The account's repo, and its revision where that is known. */
export type RepoRecords = Pick<VerifiedRepo, 'get'> & { rev?: string }

/** Why the rows of a record that has not been written back come all the same. */
const NOT_IN_REPO = 'its record is not in the repo: the row rests on the backup alone'

export interface OwnRecordsInput {
  /** What the index knows of the account's own records. */
  states: ReadonlyMap<string, RecordState>
  /** The account's repo as it is now. */
  repo?: RepoRecords | undefined
  refused?: RefusedRecords | undefined
  /** URIs of records whose rows are to come from the backup where the repo does not have them. See `includedRecords`. */
  included?: ReadonlySet<string> | undefined
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
    if (state?.deleted && !this.#isOutdated(state)) return false
    return this.#input.repo === undefined ? state !== undefined : this.#isInRepo(uri)
  }

  /**
   * Why a row has no record, for now or for good, and comes all the same; undefined where the record is there, or was
   * neither refused nor included. A conflict is no such reason: another record is there.
   */
  whyWithout(uri: string): string | undefined {
    const why = this.#whyRefused(uri) ?? (this.#isIncluded(uri) ? NOT_IN_REPO : undefined)
    return why === undefined || this.isStanding(uri) || this.#isInRepo(uri) ? undefined : why
  }

  #whyRefused(uri: string): string | undefined {
    const refused = this.#input.refused?.get(uri)
    if (refused === undefined || refused.refusal === 'conflict') return undefined
    return `its record could not be written (${refused.refusal}): ${refused.reason}`
  }

  /** What the index saw come after the repo was read is not missing. */
  #isIncluded(uri: string): boolean {
    const { included, states, repo } = this.#input
    if (included?.has(uri) !== true) return false
    const state = states.get(uri)
    return state === undefined || state.deleted || repo?.rev === undefined || state.rev <= repo.rev
  }

  /** Where no replay need have finished, the repo may have the record again at a revision that the index has not seen. */
  #isOutdated({ uri, rev }: RecordState): boolean {
    const { included, repo } = this.#input
    return included !== undefined && repo?.rev !== undefined && rev < repo.rev && this.#isInRepo(uri)
  }

  #isInRepo(uri: string): boolean {
    const name = recordNameOf(uri)
    return name !== undefined && this.#input.repo?.get(name.collection, name.rkey) !== undefined
  }
}
