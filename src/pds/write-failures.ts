import { PdsError, UnavailableError } from '../errors.ts'

/** How a run ends that may go on another time. */
export function tryLater(did: string, what: string, cause: PdsError | UnavailableError): UnavailableError {
  return new UnavailableError(`The repo of ${did} ${what}. ${cause.message}`, {
    did,
    hint: 'Run the same command again later; it goes on where it stopped.',
    cause,
  })
}

export function keepsFailing(did: string, cause: UnavailableError): UnavailableError {
  return tryLater(did, 'could not be written to: its host keeps failing', cause)
}

/** @param counts records that were refused alone, in a row, and those that were not tried for it */
export function refusesAll(
  did: string,
  refusal: PdsError,
  counts: { refused: number; untried: number },
): PdsError {
  const { refused, untried } = counts
  const inARow = `It did so ${refused} times in a row, each time to one record alone`
  return new PdsError(`${refusal.message} ${inARow}; ${untried} more were not tried.`, {
    did,
    error: refusal.error,
    hint:
      'Ask the host why it takes no writes, or leave out the records that it refuses. ' +
      'What is written stays, and the same command goes on from there.',
    cause: refusal,
  })
}
