import type { Readings } from './readings.ts'

export const LEVELS = ['ok', 'warning', 'problem'] as const

/** One line of what `doctor` says. */
export interface Finding {
  /** What was looked at, in a word or two; the same for all findings of one check. */
  check: string
  /** `problem`: a restore would fail or go wrong. `warning`: somebody should know before one begins. */
  level: (typeof LEVELS)[number]
  said: string
  /** What to do about it; absent where nothing is to be done. */
  todo?: string
}

/** Judges what was read. Pure: it reads nothing itself. None: what it needs could not be read, which others say. */
export type Check = (readings: Readings) => readonly Finding[]

export function ok(check: string, said: string): Finding {
  return { check, level: 'ok', said }
}

export function warning(check: string, said: string, todo: string): Finding {
  return { check, level: 'warning', said, todo }
}

export function problem(check: string, said: string, todo: string): Finding {
  return { check, level: 'problem', said, todo }
}
