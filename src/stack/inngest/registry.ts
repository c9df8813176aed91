import { ConfigError, UnavailableError } from '../../errors.ts'
import type { Json, JsonObject } from '../../events.ts'
import { condition, keyExpression } from './expression.ts'
import { DEFAULT_RETRIES, type FunctionConfig, type InngestEvent } from './protocol.ts'
import { signature } from './signature.ts'

/** A registered function, its expressions compiled. */
export interface RegisteredFunction {
  id: string
  /** Where it is called. */
  url: string
  maxAttempts: number
  triggeredBy(event: InngestEvent): boolean
  idempotencyKey: ((event: InngestEvent) => string) | undefined
  singletonKey: ((event: InngestEvent) => string) | undefined
  limits: { limit: number; key: (event: InngestEvent) => string }[]
}

/**
 * Asks a served app for its functions (in-band, so the app calls nobody).
 *
 * @throws UnavailableError when the app does not answer with its functions
 * @throws ConfigError when a function uses what this executor cannot honour
 */
export async function discover(serveUrl: string, signingKey?: string): Promise<RegisteredFunction[]> {
  const body: JsonObject = { url: serveUrl }
  const response = await fetch(serveUrl, {
    method: 'PUT',
    headers: {
      'content-type': 'application/json',
      'x-inngest-sync-kind': 'in_band',
      ...signatureHeader(body, signingKey),
    },
    body: JSON.stringify(body),
  })
  if (!response.ok) {
    throw new UnavailableError(`${serveUrl} did not register: ${response.status} ${await response.text()}`, {
      hint: 'Look whether the app is served there and has the same signing key.',
    })
  }
  const { functions } = (await response.json()) as { functions: FunctionConfig[] }
  return functions.map(compile)
}

export function signatureHeader(body: Json, signingKey: string | undefined): Record<string, string> {
  if (signingKey === undefined) return {}
  return { 'x-inngest-signature': signature(body, signingKey, Math.floor(Date.now() / 1000)) }
}

export function compile(config: FunctionConfig): RegisteredFunction {
  const { retries, runtime } = config.steps.step
  if (config.singleton?.mode === 'cancel') {
    throw new ConfigError(`Function ${config.id} asks for singleton mode cancel.`, {
      hint: 'The embedded executor has mode skip only; use a real Inngest server.',
    })
  }
  return {
    id: config.id,
    url: runtime.url,
    maxAttempts: (retries?.attempts ?? DEFAULT_RETRIES) + 1,
    triggeredBy: trigger(config),
    idempotencyKey: config.idempotency === undefined ? undefined : keyExpression(config.idempotency),
    singletonKey: config.singleton === undefined ? undefined : optionalKey(config.singleton.key),
    limits: concurrencyLimits(config.concurrency).map(({ limit, key }) => ({ limit, key: optionalKey(key) })),
  }
}

function trigger(config: FunctionConfig): (event: InngestEvent) => boolean {
  const triggers = config.triggers
    .filter(({ event }) => event !== undefined)
    .map(({ event, expression }) => ({
      name: event,
      holds: expression === undefined ? () => true : condition(expression),
    }))
  return (event) => triggers.some(({ name, holds }) => name === event.name && holds(event))
}

function concurrencyLimits(value: FunctionConfig['concurrency']): { limit: number; key?: string }[] {
  if (value === undefined) return []
  if (typeof value === 'number') return [{ limit: value }]
  return Array.isArray(value) ? value : [value]
}

function optionalKey(expression: string | undefined): (event: InngestEvent) => string {
  return expression === undefined ? () => '' : keyExpression(expression)
}
