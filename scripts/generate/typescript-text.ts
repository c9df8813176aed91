/** An object type without members, as the Supabase CLI writes it. */
export const EMPTY = '{ [_ in never]: never }'

/** Lines between braces, indented by two more spaces than what is around them. */
export function block(lines: readonly string[], open = '{', close = '}'): string {
  const indented = lines.map((line) => line.replaceAll(/^/gm, '  '))
  return [open, ...indented, close].join('\n')
}

/** A property's name, quoted where TypeScript needs it. */
export function key(name: string): string {
  return /^[A-Za-z_$][\w$]*$/.test(name) ? name : JSON.stringify(name)
}
