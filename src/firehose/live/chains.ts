import type { CommitFrame } from '../frame.ts'

/** The last commit that was seen of a repo. */
interface Link {
  rev: string
  /** Root of its tree, as text; undefined where the frame did not concern us and was not verified. */
  data: string | undefined
}

export type ChainStep =
  | { kind: 'fits' }
  /** Seen before: a relay may send a frame twice, and a consumer that goes on behind its cursor meets some again. */
  | { kind: 'old' }
  | { kind: 'broken'; reason: string }

const FITS: ChainStep = { kind: 'fits' }

/**
 * Whether each commit follows the one that was seen before it (Sync 1.1): `since` names its rev, `prevData` its tree.
 * A repo that is not known is trusted from its next commit on: what was lost before, while nobody looked, is the
 * business of gaps. The repos seen longest ago are forgotten first, so that memory is bounded.
 */
export class RepoChains {
  readonly #links = new Map<string, Link>()
  readonly #maxRepos: number

  constructor(maxRepos: number) {
    this.#maxRepos = maxRepos
  }

  stepOf(frame: CommitFrame): ChainStep {
    const known = this.#links.get(frame.repo)
    if (known === undefined) return FITS
    // A rev that nothing proved must not make frames pass for old ones that can prove theirs.
    if (frame.rev === known.rev || (known.data !== undefined && frame.rev < known.rev)) {
      return known.data === undefined ? FITS : { kind: 'old' }
    }
    // Null for a repo's first commit; older hosts leave it out. Then only the tree can tell.
    if (frame.since !== undefined && frame.since !== known.rev) {
      return broken(`its commit ${frame.rev} follows ${frame.since}, but the last that came was ${known.rev}`)
    }
    if (
      known.data !== undefined &&
      frame.prevData !== undefined &&
      frame.prevData.toString() !== known.data
    ) {
      return broken(`its commit ${frame.rev} changes another tree than ${known.rev} left`)
    }
    return FITS
  }

  /** @param data root of the tree as text, where the commit was verified */
  advance(did: string, rev: string, data: string | undefined): void {
    this.#links.delete(did)
    this.#links.set(did, { rev, data })
    if (this.#links.size > this.#maxRepos) this.forget(this.#links.keys().next().value ?? did)
  }

  /** True when this commit of the repo, or its very tree, is what was seen last. */
  isAt(did: string, { rev, data }: { rev: string; data: string }): boolean {
    const known = this.#links.get(did)
    return known !== undefined && (known.rev === rev || known.data === data)
  }

  has(did: string): boolean {
    return this.#links.has(did)
  }

  forget(did: string): void {
    this.#links.delete(did)
  }
}

function broken(reason: string): ChainStep {
  return { kind: 'broken', reason }
}
