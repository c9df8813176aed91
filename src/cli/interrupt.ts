import { EXIT, ReplayError } from '../errors.ts'
import { say } from './output.ts'

/** The operator ended the command at a place from which the next run goes on: exit code 75, as for all that may. */
export class InterruptedError extends ReplayError {
  override readonly exitCode = EXIT.tryLater
}

/**
 * One signal sent once may come twice: from the terminal to every process, and again passed on by npm. A person
 * who means it twice takes longer than this.
 */
const SAME_SIGNAL_MS = 500

/**
 * Runs `act` so that SIGINT and SIGTERM end it by its signal, whose reason is an InterruptedError: after the batch
 * under way, so that nothing is half done. A second one ends the process at once.
 */
export async function interruptible<T>(act: (signal: AbortSignal) => Promise<T>): Promise<T> {
  const stopping = new AbortController()
  let firstMs = 0
  const stop = (name: NodeJS.Signals): void => {
    if (stopping.signal.aborted) {
      if (Date.now() - firstMs > SAME_SIGNAL_MS) process.exit(EXIT.tryLater)
      return
    }
    firstMs = Date.now()
    say(`${name}: stopping after the batch that is under way; once more to stop at once.`)
    stopping.abort(interrupted(name))
  }
  process.on('SIGINT', stop).on('SIGTERM', stop)
  try {
    return await act(stopping.signal)
  } finally {
    process.off('SIGINT', stop).off('SIGTERM', stop)
  }
}

function interrupted(name: string): InterruptedError {
  return new InterruptedError(`Interrupted by ${name}. What was written stays.`, {
    hint: 'Run the same command again to go on. What Inngest was asked for goes on there by itself.',
  })
}
