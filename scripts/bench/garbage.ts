import { setTimeout as wait } from 'node:timers/promises'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'

/** For what goes on behind an answer that has been given. */
const QUIET_MS = 500

/** Waits until this process has come to rest, and empties its heap. */
export async function collectGarbage(): Promise<void> {
  await wait(QUIET_MS)
  setFlagsFromString('--expose-gc')
  const gc: unknown = runInNewContext('gc')
  if (typeof gc === 'function') gc()
}
