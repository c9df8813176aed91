import { type Budget, newBudget, type PointLimits, stricter } from '../pds/budget.ts'

/** What this process knows of the points that accounts may still spend, over all its runs. */
export interface KeptBudgets {
  /** The stricter of what is kept and `other`. */
  of(did: string, nowMs: number, other?: Budget): Budget
  keep(did: string, budget: Budget): void
}

/**
 * A run carries its own budget through its steps; this is for what runs do to each other. It is lost with the
 * process, and not shared with others: a run then learns from the host's headers, or from a 429.
 */
export function keepBudgets(limits?: PointLimits): KeptBudgets {
  const kept = new Map<string, Budget>()
  return {
    of(did, nowMs, other = newBudget(limits)) {
      const found = kept.get(did)
      return found === undefined ? other : stricter(other, found, nowMs)
    },
    keep: (did, budget) => {
      kept.set(did, budget)
    },
  }
}
