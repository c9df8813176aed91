import { NonRetriableError, RetryAfterError } from 'inngest'
import { ReplayError } from '../errors.ts'

/**
 * Tells Inngest what our errors know: try again, when, or never. The new error has the message and the hint of ours
 * but not its cause, which may quote a request and would be stored with the run.
 */
export function inngestErrorOf(error: unknown): unknown {
  if (!(error instanceof ReplayError)) return error
  const message = error.hint === undefined ? error.message : `${sentence(error.message)} ${error.hint}`
  if (!error.shouldRetry()) return named(new NonRetriableError(message), error.name)
  if (error.retryAtMs === undefined) return named(new Error(message), error.name)
  return named(new RetryAfterError(message, new Date(error.retryAtMs)), error.name)
}

/** Runs `work`; what it throws is turned into Inngest's errors. */
export async function withInngestErrors<T>(work: () => T | Promise<T>): Promise<T> {
  try {
    return await work()
  } catch (error) {
    throw inngestErrorOf(error)
  }
}

/** The name goes through to the run's output, where a client sees from it what kind of failure it was. */
function named(error: Error, name: string): Error {
  error.name = name
  return error
}

/** With a full stop at its end. */
export function sentence(text: string): string {
  return /[.!?]$/.test(text) ? text : `${text}.`
}
