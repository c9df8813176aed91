import { newUploadBudget } from '../pds/blobs/uploader.ts'
import { type Budget, charge, newBudget, type PointLimits, stricter } from '../pds/budget.ts'

/** What this process knows of what may still be written and uploaded, over all its runs. */
export interface KeptBudgets {
  /** Points of an account: the stricter of what is kept and `other`. */
  of(did: string, nowMs: number, other?: Budget): Budget
  keep(did: string, budget: Budget): void
  /** Uploads to a PDS: the stricter of what is kept and `other`. */
  uploadsTo(pdsUrl: string, nowMs: number, other?: Budget): Budget
  /** One run's count of its uploads has gone from `before` to `after`. */
  keepUploads(pdsUrl: string, before: Budget, after: Budget, nowMs: number): void
}

/**
 * A run carries its own budgets through its steps; this is for what runs do to each other. It is lost with the
 * process, and not shared with others: a run then learns from the host's headers, or from a 429.
 *
 * A PDS counts points for an account and uploads for the address that they come from, so that uploads are counted for
 * this process and PDS, whichever account they are of. The two are never held against each other: both have a window
 * of a day.
 *
 * @param limits of points
 */
export function keepBudgets(limits?: PointLimits): KeptBudgets {
  const points = new Map<string, Budget>()
  const uploads = new Map<string, Budget>()
  const uploadsTo = (pdsUrl: string, nowMs: number, other: Budget = newUploadBudget()) => {
    const found = uploads.get(pdsUrl)
    return found === undefined ? other : stricter(other, found, nowMs)
  }
  return {
    of(did, nowMs, other = newBudget(limits)) {
      const found = points.get(did)
      return found === undefined ? other : stricter(other, found, nowMs)
    },
    keep: (did, budget) => {
      points.set(did, budget)
    },
    uploadsTo,
    keepUploads(pdsUrl, before, after, nowMs) {
      const found = uploads.get(pdsUrl)
      // What two accounts upload at once adds up; what the host says of all of them does not.
      if (found !== undefined && isOneMore(before, after)) uploads.set(pdsUrl, charge(found, 1, nowMs))
      uploads.set(pdsUrl, uploadsTo(pdsUrl, nowMs, after))
    },
  }
}

function isOneMore(before: Budget, after: Budget): boolean {
  return after.windows.every(({ spent }, index) => spent === (before.windows[index]?.spent ?? 0) + 1)
}
