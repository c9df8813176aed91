/** One frame under way: its seq, and what to call when it is done with. */
interface Entry {
  seq: number | undefined
  isDone: boolean
  onPassed: (() => void) | undefined
}

/** Finished entries that may stand at the head of the array before it is cut: cutting costs its whole length. */
const CUT_AFTER = 1024

/**
 * How far consecutive work is finished, where frames of different accounts finish in any order. `safe` is the seq of
 * the last frame before which, in the order of the stream, no frame is unfinished: a cursor there loses nothing.
 */
export class SeqTracker {
  #entries: (Entry | undefined)[] = []
  #head = 0
  #safe: number | undefined

  constructor(start: number | undefined) {
    this.#safe = start
  }

  get safe(): number | undefined {
    return this.#safe
  }

  /** Nothing before this one is anybody's business here: the consumer began with the frame after it. */
  startAfter(seq: number): void {
    if (this.aheadCount === 0) this.#safe ??= seq
  }

  /** Frames that are not passed yet: unfinished ones, and finished ones after them. */
  get aheadCount(): number {
    return this.#entries.length - this.#head
  }

  /**
   * @param seq undefined: of a message before any position is known, which is waited for and moves nothing
   * @param onPassed called once this frame and all before it are finished, in the order of the stream
   * @returns what to call when the frame is finished
   */
  begin(seq: number | undefined, onPassed?: () => void): () => void {
    const entry: Entry = { seq, isDone: false, onPassed }
    this.#entries.push(entry)
    return () => {
      entry.isDone = true
      if (this.#entries[this.#head] === entry) this.#advance()
    }
  }

  #advance(): void {
    for (;;) {
      const entry = this.#entries[this.#head]
      if (entry?.isDone !== true) break
      // Not kept until the array is cut: what is told of passing may hold a whole frame.
      this.#entries[this.#head++] = undefined
      this.#safe = entry.seq ?? this.#safe
      entry.onPassed?.()
    }
    if (this.#head < CUT_AFTER && this.#head < this.#entries.length) return
    this.#entries = this.#entries.slice(this.#head)
    this.#head = 0
  }
}
