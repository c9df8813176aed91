/** What is as if the process that holds it were killed at one of its calls to the database. */

import type { Database } from '../../src/database/client.ts'

/** When a life ends: at this call, before it is sent or with its answer on the way. */
export interface Death {
  call: number
  isSent: boolean
}

export interface Mortal {
  database: Database
  /** For calls that do not go through `database.call`: the same life. */
  guarded: <T>(work: () => Promise<T>) => Promise<T>
  died: Promise<void>
  kill(): void
  /** Resolves when what was sent before the death has been done. */
  settled(): Promise<void>
}

/** Of a dead one no call is sent, and none is answered. */
export function mortal(database: Database, death?: Death): Mortal {
  const underWay = new Set<Promise<unknown>>()
  const dying = Promise.withResolvers<void>()
  let isDead = false
  let calls = 0
  const kill = () => {
    isDead = true
    dying.resolve()
  }
  const never = <T>() => new Promise<T>(() => undefined)
  async function guarded<T>(work: () => Promise<T>): Promise<T> {
    const isLast = ++calls === death?.call
    if (isLast && !death?.isSent) kill()
    if (isDead) return never<T>()
    const answer = work()
    underWay.add(answer)
    try {
      const value = await answer
      if (isLast) kill()
      return isDead ? await never<T>() : value
    } catch (error) {
      if (isDead) return never<T>()
      throw error
    }
  }
  return {
    database: { ...database, call: (name, batch) => guarded(() => database.call(name, batch)) },
    guarded,
    died: dying.promise,
    kill,
    settled: async () => void (await Promise.allSettled(underWay)),
  }
}
