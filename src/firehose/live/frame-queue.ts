import { setImmediate as nextTurn } from 'node:timers/promises'
import PQueue from 'p-queue'

export interface FrameQueueOptions {
  /** Frames that may wait or be under way; with as many, `room` waits. */
  maxFrames: number
  /** Their bytes, as they came over the wire; a single larger frame is let through when nothing else is there. */
  maxBytes: number
  /** Accounts whose frames are handled at one time. */
  concurrency: number
  /** A task that rejected. Nothing further is begun. */
  onFailure: (error: unknown) => void
  /** Told when `frames` or `bytes` has changed. */
  onSize?: (frames: number, bytes: number) => void
}

interface Task {
  bytes: number
  run: () => Promise<void>
}

/**
 * A checked signature costs a fraction of a millisecond of this thread: without a pause now and then a full queue
 * would keep timers, signals and the metrics server waiting.
 */
const TURN_MS = 20

/**
 * Frames in the order of their account and in parallel across accounts. An account has at most one place among
 * `concurrency`, however much it sends: a busy one cannot hold up the others.
 */
export class FrameQueue {
  readonly #options: FrameQueueOptions
  readonly #accounts: PQueue
  readonly #lanes = new Map<string, Task[]>()
  #frames = 0
  #bytes = 0
  #isClosed = false
  #waiting: (() => void)[] = []
  #turnBeganMs = performance.now()

  constructor(options: FrameQueueOptions) {
    this.#options = options
    this.#accounts = new PQueue({ concurrency: options.concurrency })
  }

  /** Waiting or under way. */
  get frames(): number {
    return this.#frames
  }

  get bytes(): number {
    return this.#bytes
  }

  /** Resolves when there is room for one more, or the queue is closed. That is the backpressure. */
  async room(): Promise<void> {
    while (!this.#isClosed && this.#isFull())
      await new Promise<void>((resolve) => this.#waiting.push(resolve))
  }

  /** @param bytes of the frame, counted until `run` has settled */
  add(did: string, bytes: number, run: () => Promise<void>): void {
    if (this.#isClosed) return
    this.#resize(1, bytes)
    const lane = this.#lanes.get(did)
    if (lane !== undefined) {
      lane.push({ bytes, run })
      return
    }
    const started: Task[] = [{ bytes, run }]
    this.#lanes.set(did, started)
    void this.#accounts.add(() => this.#runLane(did, started))
  }

  /** Begins nothing further; what waits is dropped. Resolves when what is under way has settled. */
  async close(): Promise<void> {
    this.#isClosed = true
    this.#wake()
    await this.#accounts.onIdle()
  }

  #resize(frames: number, bytes: number): void {
    this.#frames += frames
    this.#bytes += bytes
    this.#options.onSize?.(this.#frames, this.#bytes)
  }

  #isFull(): boolean {
    const { maxFrames, maxBytes } = this.#options
    return this.#frames >= maxFrames || this.#bytes >= maxBytes
  }

  async #runLane(did: string, lane: Task[]): Promise<void> {
    for (let task = lane[0]; task !== undefined && !this.#isClosed; task = lane[0]) {
      try {
        await task.run()
      } catch (error) {
        this.#isClosed = true
        this.#options.onFailure(error)
      }
      lane.shift()
      this.#resize(-1, -task.bytes)
      if (!this.#isFull()) this.#wake()
      if (performance.now() - this.#turnBeganMs > TURN_MS) await this.#giveWay()
    }
    this.#lanes.delete(did)
  }

  async #giveWay(): Promise<void> {
    await nextTurn()
    this.#turnBeganMs = performance.now()
  }

  #wake(): void {
    const waiting = this.#waiting
    this.#waiting = []
    for (const resolve of waiting) resolve()
  }
}
