import { isValidRecordKey } from '@atproto/syntax'
import type { CommitFrame } from '../frame.ts'

export interface RecordPath {
  collection: string
  rkey: string
}

/**
 * Which records the frames that wait or are under way name as deleted, by account. A frame that cannot be believed is
 * answered by a replay of its repo, and a repo does not say what it has no more; frames that wait behind it and turn
 * out to be broken, too, are not replayed once more. Holds no more than the queue does.
 */
export class NamedDeletes {
  readonly #isWanted: (collection: string) => boolean
  readonly #named = new Map<string, Map<CommitFrame, RecordPath[]>>()

  constructor(isWanted: (collection: string) => boolean) {
    this.#isWanted = isWanted
  }

  add(frame: CommitFrame): void {
    const paths = frame.ops.flatMap(({ action, path }) => {
      const [collection = '', rkey = '', ...rest] = path.split('/')
      const isPath = rest.length === 0 && isValidRecordKey(rkey)
      return action === 'delete' && isPath && this.#isWanted(collection) ? [{ collection, rkey }] : []
    })
    if (paths.length === 0) return
    const frames = this.#named.get(frame.repo) ?? new Map<CommitFrame, RecordPath[]>()
    this.#named.set(frame.repo, frames.set(frame, paths))
  }

  /** The frame is done with. */
  remove(frame: CommitFrame): void {
    const frames = this.#named.get(frame.repo)
    if (frames?.delete(frame) && frames.size === 0) this.#named.delete(frame.repo)
  }

  /** Each once. */
  of(did: string): RecordPath[] {
    const byPath = new Map<string, RecordPath>()
    for (const paths of this.#named.get(did)?.values() ?? [])
      for (const path of paths) byPath.set(`${path.collection}/${path.rkey}`, path)
    return [...byPath.values()]
  }
}
