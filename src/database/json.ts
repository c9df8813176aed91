/**
 * JSON that loses nothing. `JSON.parse` rounds numbers that a double cannot hold; Node 22 gives a reviver the source
 * text of each number (`context.source`, TC39 proposal "JSON.parse source text access"), which is kept instead.
 */

/** The same text for JSON values that mean the same: keys sorted, numbers by value, no white space. */
export function canonicalJson(text: string): string {
  return write(JSON.parse(text, keepSource))
}

class NumberSource {
  readonly text: string
  constructor(text: string) {
    this.text = text
  }
}

function keepSource(_key: string, value: unknown, context?: { source?: string }): unknown {
  return typeof value === 'number' ? new NumberSource(context?.source ?? String(value)) : value
}

function write(value: unknown): string {
  if (value instanceof NumberSource) return canonicalNumber(value.text)
  if (Array.isArray(value)) return `[${value.map(write).join(',')}]`
  if (value === null || typeof value !== 'object') return JSON.stringify(value)
  const entries = Object.entries(value).sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0))
  return `{${entries.map(([key, item]) => `${JSON.stringify(key)}:${write(item)}`).join(',')}}`
}

/** A decimal number by value: no exponent, no leading or trailing zeros. `1.50e2`, `150` and `150.0` are one. */
export function canonicalNumber(text: string): string {
  const match = /^([+-]?)(\d*)(?:\.(\d*))?(?:[eE]([+-]?\d+))?$/.exec(text)
  if (match === null) return text // NaN and Infinity of numeric columns
  const [, sign = '', whole = '', fraction = '', exponent = '0'] = match
  const digits = (whole + fraction).replace(/^0+/, '')
  const significant = digits.replace(/0+$/, '')
  if (significant === '') return '0'
  // The value is 0.significant times ten to the power of `magnitude`.
  const magnitude = digits.length - fraction.length + Number(exponent)
  return `${sign === '-' ? '-' : ''}0.${significant}e${magnitude}`
}
