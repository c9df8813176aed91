/**
 * Text from records and rows, safe to print: control characters, invisible format characters (bidirectional
 * controls among them), lone surrogates and line separators are written as their code points.
 */
export function escapeText(text: string): string {
  return text.replace(
    /[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/gu,
    (character) => `\\u{${character.codePointAt(0)?.toString(16) ?? ''}}`,
  )
}
