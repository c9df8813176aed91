/** A lone surrogate: half of a UTF-16 pair, which UTF-8 and so Postgres cannot hold. */
const LONE_SURROGATE = /[\uD800-\uDBFF](?![\uDC00-\uDFFF])|(?<![\uD800-\uDBFF])[\uDC00-\uDFFF]/

/**
 * Why Postgres cannot store a value, with the path of the text that it would refuse; null when it can. One such
 * text anywhere fails a whole call before our function starts, so it is looked for before sending.
 */
export function unstorableReason(value: unknown, path = '$'): string | null {
  if (typeof value === 'string') {
    if (value.includes('\u0000')) return `${path} contains U+0000, which Postgres cannot store`
    if (LONE_SURROGATE.test(value))
      return `${path} contains half of a surrogate pair, which Postgres cannot store`
    return null
  }
  if (value === null || typeof value !== 'object') return null
  for (const [key, item] of Object.entries(value)) {
    const reason = unstorableReason(key, `${path} (a key)`) ?? unstorableReason(item, `${path}.${key}`)
    if (reason !== null) return reason
  }
  return null
}
