import { setTimeout as sleep } from 'node:timers/promises'
import { DatabaseError } from '../errors.ts'

/** Reads of one account's rows take well under a second; people seldom write in the midst of five in a row. */
const ATTEMPTS = 5
const PAUSE_MS = 200

/**
 * Reads again where rows and counts disagreed: production goes on being written while it is compared.
 *
 * @throws DatabaseError code `COUNT` when they disagree each time
 */
export async function readAtRest<T>(read: () => Promise<T>): Promise<T> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await read()
    } catch (error) {
      const isMoving = error instanceof DatabaseError && error.code === 'COUNT'
      if (!isMoving || attempt === ATTEMPTS) throw error
      await sleep(PAUSE_MS * attempt)
    }
  }
}
