import type { RowOutcome } from '../events.ts'
import type { ConsentDecision } from './consent/decision.ts'
import type { ReconcilePolicy } from './input.ts'

/**
 * Why a row that was made from another account's record is not brought back.
 *
 * @param decision undefined: nobody was asked
 * @returns undefined where it is
 */
export function refusalOf(
  decision: ConsentDecision | undefined,
  unreachable: ReconcilePolicy['unreachable'],
): { outcome: RowOutcome; reason: string } | undefined {
  switch (decision?.consent) {
    case 'changed':
      return {
        outcome: 'derived',
        reason: 'its author has changed it since: its present value goes through its handler',
      }
    case 'withdrawn':
      return { outcome: 'withdrawn', reason: decision.reason }
    case 'unreachable':
      return unreachable === 'skip'
        ? { outcome: 'blocked', reason: `its author could not be asked: ${decision.reason}` }
        : undefined
    default:
      return undefined
  }
}
