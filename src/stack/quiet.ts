import { AsyncLocalStorage } from 'node:async_hooks'
import type { Cleanup } from './cleanup.ts'

/**
 * Supabase Lite prints every failed statement with its stack on stderr and offers no switch. The caller gets the
 * same error as the answer to its request, so nothing is lost by dropping the print; only calls made while handling
 * a request of Lite are dropped, everybody else's go through.
 */
const insideLite = new AsyncLocalStorage<true>()

/** Returns a function that runs `handle` with its calls of console.error dropped, also those after an await. */
export function dropErrorOutput(cleanup: Cleanup): <T>(handle: () => T) => T {
  const before = globalThis.console.error
  const filtered = (...values: unknown[]) => {
    if (insideLite.getStore() === undefined) before(...values)
  }
  globalThis.console.error = filtered
  cleanup.defer(() => {
    // Whoever put another function on top of ours still calls it, and may take theirs away later.
    if (globalThis.console.error === filtered) globalThis.console.error = before
  })
  return (handle) => insideLite.run(true, handle)
}
