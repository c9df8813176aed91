/**
 * Why Postgres cannot store a value, with the path of the text that it would refuse; null when it can. One such
 * text anywhere fails a whole call before our function starts, so it is looked for before sending.
 */
export function unstorableReason(value: unknown): string | null {
  // Paths are only made up for what is refused: nearly every value is fine, and every one is looked at.
  return isStorable(value) ? null : reasonAt(value, '$')
}

function isStorable(value: unknown): boolean {
  if (typeof value === 'string') return textReason(value) === null
  if (value === null || typeof value !== 'object') return true
  if (Array.isArray(value)) return value.every(isStorable)
  return Object.entries(value).every(([key, item]) => textReason(key) === null && isStorable(item))
}

/** A lone surrogate is half of a UTF-16 pair, which UTF-8 and so Postgres cannot hold. */
function textReason(text: string): string | null {
  if (text.includes('\u0000')) return 'contains U+0000, which Postgres cannot store'
  return text.isWellFormed() ? null : 'contains half of a surrogate pair, which Postgres cannot store'
}

function reasonAt(value: unknown, path: string): string | null {
  if (typeof value === 'string') {
    const reason = textReason(value)
    return reason === null ? null : `${path} ${reason}`
  }
  if (value === null || typeof value !== 'object') return null
  for (const [key, item] of Object.entries(value)) {
    const reason = reasonAt(key, `${path} (a key)`) ?? reasonAt(item, `${path}.${key}`)
    if (reason !== null) return reason
  }
  return null
}
