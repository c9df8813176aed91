import { CEILINGS, type Ceilings, countThatFits, type Sized } from './batches.ts'
import { available, type Budget, charge, POINTS, readyAtMs } from './budget.ts'

/**
 * applyWrites takes up to 200 records in one commit, at 3 points a create. putRecord costs 2, also when it creates,
 * but is a call and a commit for each record.
 */
const WAYS = ['applyWrites', 'putRecord'] as const
export type Way = (typeof WAYS)[number]

/** Records a second, as measured on the reference PDS (0.5.35): the slower end of what was seen. */
const RECORDS_PER_SECOND: Readonly<Record<Way, number>> = { applyWrites: 700, putRecord: 45 }

export interface Operation extends Sized {
  isCreate: boolean
}

export interface Estimate {
  points: number
  commits: number
  /** From now to the last commit, waits for the rate limit included. */
  durationMs: number
}

export interface ChosenWay {
  way: Way
  /** In words, for people. */
  why: string
  estimates: Record<Way, Estimate>
}

/** The way that ends sooner with what the account may still write; of two that end together the one with fewer commits. */
export function chooseWay(operations: readonly Operation[], budget: Budget, nowMs: number): ChosenWay {
  const estimates = {
    applyWrites: estimate(operations, 'applyWrites', budget, nowMs),
    putRecord: estimate(operations, 'putRecord', budget, nowMs),
  }
  const { applyWrites, putRecord } = estimates
  const way = putRecord.durationMs < applyWrites.durationMs ? 'putRecord' : 'applyWrites'
  return { way, why: whyOf(way, estimates), estimates }
}

export function pointsOf({ isCreate }: Pick<Operation, 'isCreate'>, way: Way): number {
  if (way === 'putRecord') return POINTS.put
  return isCreate ? POINTS.create : POINTS.update
}

/**
 * How many of the operations from `from` on go into the next call: what the ceilings and the budget allow. A batch
 * that asks for more points than are left would be refused and take them all, so it is cut to fit. 0: none is left.
 */
export function nextCount(
  operations: readonly Operation[],
  { way, points, ceilings = CEILINGS, from = 0 }: NextCall,
): number {
  const most = way === 'putRecord' ? 1 : countThatFits(operations, ceilings, from)
  let left = points
  let count = 0
  for (; count < most; count++) {
    const operation = operations[from + count]
    if (operation === undefined) break
    left -= pointsOf(operation, way)
    if (left < 0) break
  }
  return count
}

interface NextCall {
  way: Way
  /** That may be spent. */
  points: number
  ceilings?: Ceilings
  from?: number
}

/** Plays the work through, call by call as `writeRecords` would make it, against the budget. */
function estimate(operations: readonly Operation[], way: Way, budget: Budget, startMs: number): Estimate {
  const total = { points: 0, commits: 0 }
  let left = budget
  let nowMs = startMs
  for (let from = 0; from < operations.length; ) {
    const count = nextCount(operations, { way, points: available(left, nowMs), from })
    const calls = operations.slice(from, from + Math.max(1, count))
    const points = calls.reduce((sum, operation) => sum + pointsOf(operation, way), 0)
    if (count === 0) {
      nowMs = readyAtMs(left, points, nowMs)
      continue
    }
    left = charge(left, points, nowMs)
    nowMs += (count / RECORDS_PER_SECOND[way]) * 1000
    total.points += points
    total.commits++
    from += count
  }
  return { ...total, durationMs: Math.round(nowMs - startMs) }
}

function whyOf(way: Way, { applyWrites, putRecord }: Record<Way, Estimate>): string {
  if (applyWrites.commits === 0) return 'nothing is to be written'
  const other = way === 'applyWrites' ? putRecord : applyWrites
  const chosen = way === 'applyWrites' ? applyWrites : putRecord
  const otherWay = way === 'applyWrites' ? 'putRecord' : 'applyWrites'
  return (
    `${way} ends in ${durationText(chosen.durationMs)} (${chosen.points} points, ${commitsText(chosen)}), ` +
    `${otherWay} in ${durationText(other.durationMs)} (${other.points} points, ${commitsText(other)})`
  )
}

function commitsText({ commits }: Estimate): string {
  return commits === 1 ? '1 commit' : `${commits} commits`
}

/** As `40 s`, `12 min` or `1 h 5 min`. */
export function durationText(ms: number): string {
  if (ms < 90_000) return `${Math.max(1, Math.round(ms / 1000))} s`
  const minutes = Math.round(ms / 60_000)
  if (minutes < 60) return `${minutes} min`
  const hours = Math.floor(minutes / 60)
  return minutes % 60 === 0 ? `${hours} h` : `${hours} h ${minutes % 60} min`
}
