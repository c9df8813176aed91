import { createHmac, randomBytes } from 'node:crypto'
import type { ExactRow } from '../database/exact.ts'
import type { AppView } from '../events.ts'

/** Characters of a value that a report carries: enough to see a difference, and 200 rows stay readable. */
const MAX_VALUE_LENGTH = 400
/** Of these, how many come before the first difference. */
const LEAD = 40

/** Takes capabilities and personal values out of what a report says. */
export interface Mask {
  /** A sensitive column's value as a hash: equal for equal values within one report, and of no use outside it. */
  value(table: string, column: string, text: string | null): string | null
  /** As `rowId`, sensitive columns masked. */
  rowId(table: string, row: ExactRow, key: readonly string[]): string
  /** A message about a row, without the sensitive values that it may quote. */
  reason(table: string, row: ExactRow, text: string): string
}

/** @param key of the hashes. @defaultValue random, so that no two reports can be joined by them */
export function createMask(appview: Pick<AppView, 'sensitiveColumns'>, key = randomBytes(32)): Mask {
  const sensitive = new Set(appview.sensitiveColumns)
  const hash = (text: string): string =>
    `hmac:${createHmac('sha256', key).update(text).digest('hex').slice(0, 16)}`
  const value: Mask['value'] = (table, column, text) =>
    text !== null && sensitive.has(`${table}.${column}`) ? hash(text) : text
  return {
    value,
    rowId: (table, row, key) =>
      JSON.stringify(key.map((column) => value(table, column, row[column] ?? null))),
    reason(table, row, text) {
      let masked = maskKeys(text, table, value)
      for (const [column, content] of Object.entries(row)) {
        if (content !== null && content !== '' && sensitive.has(`${table}.${column}`))
          masked = masked.replaceAll(content, hash(content))
      }
      return masked
    },
  }
}

/**
 * Apply's reasons end with the key of another row: `held by {"leaflet": "..."}` of the same table, or
 * `permission_tokens {"id": "..."}` of the one it names.
 */
function maskKeys(text: string, table: string, value: Mask['value']): string {
  const start = text.indexOf('{')
  if (start < 0) return text
  const named = text.slice(0, start).trim().split(' ').at(-1) ?? ''
  try {
    const key: unknown = JSON.parse(text.slice(start))
    if (key === null || typeof key !== 'object') return text
    const masked = Object.entries(key).map(([column, content]) => {
      if (content === null) return [column, content]
      const plain = typeof content === 'string' ? content : JSON.stringify(content)
      const there = value(named, column, plain)
      const hashed = there === plain ? value(table, column, plain) : there
      return [column, hashed === plain ? content : hashed]
    })
    return text.slice(0, start) + JSON.stringify(Object.fromEntries(masked))
  } catch (error) {
    if (error instanceof SyntaxError) return text.slice(0, start).trimEnd()
    throw error
  }
}

/** Two long values, each cut to the neighbourhood of their first difference. */
export function excerpts(a: string | null, b: string | null): [a: string | null, b: string | null] {
  if ((a?.length ?? 0) <= MAX_VALUE_LENGTH && (b?.length ?? 0) <= MAX_VALUE_LENGTH) return [a, b]
  const start = Math.max(0, firstDifference(a ?? '', b ?? '') - LEAD)
  return [excerpt(a, start), excerpt(b, start)]
}

function excerpt(text: string | null, start: number): string | null {
  if (text === null) return null
  const end = start + MAX_VALUE_LENGTH
  const middle = text.slice(start, end).toWellFormed()
  return `${start > 0 ? '…' : ''}${middle}${end < text.length ? `… (${text.length} characters)` : ''}`
}

function firstDifference(a: string, b: string): number {
  let index = 0
  while (index < a.length && index < b.length && a[index] === b[index]) index++
  return index
}
