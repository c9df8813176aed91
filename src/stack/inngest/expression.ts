import { ConfigError } from '../../errors.ts'
import type { Json } from '../../events.ts'
import type { InngestEvent } from './protocol.ts'

/**
 * The part of CEL that keys and triggers of ordinary functions need: paths below `event`, string literals, `+` to
 * join them, and for triggers one `==`.
 */

const TERM = /^(?:event((?:\.\w+)+)|'([^']*)'|"([^"]*)")$/

type Term = (event: InngestEvent) => string

/** The value of a key expression, for example `event.data.did + '/' + event.data.kind`. Missing values read as ''. */
export function keyExpression(expression: string): Term {
  const terms = expression.split('+').map((part) => term(part.trim(), expression))
  return (event) => terms.map((value) => value(event)).join('')
}

/** Whether a trigger's expression, for example `event.data.function_id == 'app-fn'`, holds. */
export function condition(expression: string): (event: InngestEvent) => boolean {
  const sides = expression.split('==').map((side) => keyExpression(side.trim()))
  const [left, right] = sides
  if (left === undefined || right === undefined || sides.length !== 2) throw unsupported(expression)
  return (event) => left(event) === right(event)
}

function term(text: string, expression: string): Term {
  const match = TERM.exec(text)
  if (match === null) throw unsupported(expression)
  const [, path, single, double] = match
  if (path === undefined) return () => single ?? double ?? ''
  const names = path.slice(1).split('.')
  return (event) => textAt(event, names)
}

function textAt(event: InngestEvent, names: readonly string[]): string {
  let value: Json | undefined = event
  for (const name of names) {
    value = typeof value === 'object' && value !== null && !Array.isArray(value) ? value[name] : undefined
  }
  if (value === undefined || value === null) return ''
  return typeof value === 'string' ? value : JSON.stringify(value)
}

function unsupported(expression: string): ConfigError {
  return new ConfigError(`The embedded Inngest executor cannot evaluate the expression ${expression}`, {
    hint: 'Use paths below event, string literals, + and ==, or run against a real Inngest server.',
  })
}
