/**
 * Characters of text in a value, keys included: how much of a batch it takes up. Not exact on purpose: exact would
 * be a second JSON.stringify of everything that is indexed.
 */
export function textLength(value: unknown): number {
  if (typeof value === 'string') return value.length
  if (ArrayBuffer.isView(value)) return Math.ceil((value.byteLength * 4) / 3)
  if (value === null || typeof value !== 'object') return 5
  let length = 2
  if (Array.isArray(value)) for (const item of value) length += textLength(item) + 1
  else for (const [key, item] of Object.entries(value)) length += key.length + 4 + textLength(item)
  return length
}
