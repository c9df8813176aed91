/**
 * Breaks a line at spaces to fit a width; a word that is longer than the width is broken anywhere.
 *
 * @param indent spaces before every line but the first; at most half the width
 */
export function wrap(text: string, width: number, indent = 0): string[] {
  const margin = ' '.repeat(Math.min(indent, width >> 1))
  const lines: string[] = []
  let rest = text
  while (rest.length > width) {
    const space = rest.lastIndexOf(' ', width)
    const isUsable = rest.slice(0, Math.max(space, 0)).trim() !== ''
    const end = isUsable ? space : width
    lines.push(rest.slice(0, end))
    rest = margin + rest.slice(end).trimStart()
  }
  return [...lines, rest]
}
