import { connectionClosed } from './relay-socket.ts'

/** When a connection has nothing more to give: it was closed, or it is alive and has been silent for long enough. */
export class Silence {
  #state: 'busy' | 'paused' | 'pinged' | 'drained' | 'closed' = 'busy'

  get isBusy(): boolean {
    return this.#state === 'busy'
  }

  get isDrained(): boolean {
    return this.#state === 'drained'
  }

  get isOver(): boolean {
    return this.#state === 'drained' || this.#state === 'closed'
  }

  /** A moment first, so that the position can be noted. */
  waitMs(quietMs: number, momentMs: number): number {
    return this.#state === 'busy' ? Math.min(momentMs, quietMs) : quietMs
  }

  /** Nothing came while it was waited for. @throws UnavailableError when not even a ping is answered */
  next(): 'wait' | 'ping' {
    if (this.isOver) return 'wait'
    if (this.#state === 'pinged') throw connectionClosed()
    this.#state = this.#state === 'paused' ? 'pinged' : 'paused'
    return this.#state === 'pinged' ? 'ping' : 'wait'
  }

  onMessage(): void {
    if (this.#state !== 'closed') this.#state = 'busy'
  }

  onPong(): void {
    // Answered behind all that was on its way; a message that comes along with it revokes it.
    if (this.#state === 'pinged') this.#state = 'drained'
  }

  onClose(): void {
    this.#state = 'closed'
  }
}
