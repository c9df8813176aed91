/**
 * What the triggers of a table do besides: found by reading the sources of their functions, and of the functions that
 * these call, as far as they can be read. Reading by words finds too much rather than too little.
 */

import { z } from 'zod'

export const triggerShape = z.object({
  name: z.string(),
  timing: z.enum(['before', 'after', 'instead of']),
  level: z.enum(['row', 'statement']),
  events: z.array(z.enum(['insert', 'update', 'delete', 'truncate'])),
  /** `replica` triggers fire only while changes are replicated in; `origin` and `always` ones on every write of ours. */
  enabled: z.enum(['origin', 'always', 'replica', 'disabled']),
  function: z.object({ id: z.string(), schema: z.string(), name: z.string() }),
})

export const functionShape = z.object({
  id: z.string(),
  schema: z.string(),
  name: z.string(),
  language: z.string(),
  extension: z.string().nullable(),
  /** Null where the language is none that we can read. */
  source: z.string().nullable(),
})

export type TriggerFunction = z.infer<typeof functionShape>

export interface Trigger extends Omit<z.infer<typeof triggerShape>, 'function'> {
  /** As `schema.name`. */
  function: string
  /** Whether a write of ours can fire it. */
  fires: boolean
  /** What leaves the database: each way out once, as `pg_net (net.http_post)`. */
  callsOut: readonly string[]
  /** Functions that nobody can read the text of, and statements put together while running: what they do is unknown. */
  unreadable: readonly string[]
  /** Words after INSERT INTO, UPDATE and DELETE FROM: the tables it writes are among them. */
  writes: readonly string[]
}

/** Each way out of a database that Supabase projects have, by what is written where it is used. */
const WAYS_OUT: readonly (readonly [label: string, pattern: RegExp])[] = [
  ['pg_net', /\bnet"?\s*\.\s*"?(?:http_\w+|_http_\w+)/],
  ['http', /(?<!\bnet"?\s*\.\s*"?)\b(?:http|http_(?:get|post|put|patch|delete|head))"?\s*\(/],
  ['supabase_functions', /\bsupabase_functions"?\s*\.\s*"?http_request/],
  ['notify', /\bpg_notify"?\s*\(|\bnotify\s+[\w"]+/],
  ['realtime', /\brealtime"?\s*\.\s*"?(?:send|broadcast_changes)/],
  ['dblink', /\bdblink\w*"?\s*\(/],
  ['pgmq', /\bpgmq\w*"?\s*\.\s*"?\w+/],
  ['pg_cron', /\bcron"?\s*\.\s*"?(?:schedule\w*|alter_job|job)\b/],
  ['aws_lambda', /\baws_lambda"?\s*\.\s*"?invoke/],
  ['program', /\bcopy\b[^;]*\bprogram\b/],
]

/** Extensions whose C functions only compute. */
const COMPUTING = [
  'uuid-ossp',
  'pgcrypto',
  'citext',
  'pg_trgm',
  'unaccent',
  'hstore',
  'ltree',
  'moddatetime',
  'vector',
]

/** Reads what each trigger does. @param functions those that triggers call, directly or through others */
export function readTriggers(
  triggers: readonly z.infer<typeof triggerShape>[],
  functions: readonly TriggerFunction[],
): Trigger[] {
  return triggers.map(({ function: called, ...trigger }) => {
    const reached = reachedFrom(called, functions)
    return {
      ...trigger,
      function: `${called.schema}.${called.name}`,
      fires: trigger.enabled === 'origin' || trigger.enabled === 'always',
      callsOut: unique(reached.flatMap(waysOut)),
      unreadable: unique(reached.flatMap(unreadableParts)),
      writes: unique(reached.flatMap(writtenTables)),
    }
  })
}

/** Functions built into PostgreSQL are not listed: a trigger that calls one reaches none. */
function reachedFrom(
  start: { id: string },
  functions: readonly TriggerFunction[],
): readonly TriggerFunction[] {
  // A Set gives what is added while it is walked.
  const reached = new Set(functions.filter(({ id }) => id === start.id))
  for (const one of reached) {
    const names = calledNames(one)
    for (const other of functions) {
      if (names.has(other.name) || names.has(`${other.schema}.${other.name}`)) reached.add(other)
    }
  }
  return [...reached]
}

/** Bare names, and `schema.name` where a schema is given. */
function calledNames({ source }: TriggerFunction): Set<string> {
  const names = new Set<string>()
  const calls = /(?:"?([\w$]+)"?\s*\.\s*)?"?([\w$]+)"?\s*\(/g
  for (const [, schema, name = ''] of withoutComments(source).matchAll(calls)) {
    const full = schema === undefined ? name : `${schema}.${name}`
    names.add(full).add(full.toLowerCase())
  }
  return names
}

function waysOut(one: TriggerFunction): string[] {
  // Its own name as well: a webhook of Supabase is a trigger on a function that is a way out itself.
  const text = `${one.schema}.${one.name}( ${withoutComments(one.source)}`
  return WAYS_OUT.flatMap(([label, pattern]) => {
    const found = new RegExp(pattern, 'i').exec(text)?.[0]
    if (found === undefined) return []
    return [
      `${label} (${found
        .replaceAll(/["(]/g, '')
        .replaceAll(/\s+/g, ' ')
        .replaceAll(/ ?\. ?/g, '.')
        .trim()})`,
    ]
  })
}

function unreadableParts(one: TriggerFunction): string[] {
  const name = `${one.schema}.${one.name}`
  if (one.source === null) {
    const isKnown = one.extension !== null && COMPUTING.includes(one.extension)
    return isKnown ? [] : [`${name} is in language ${one.language} and cannot be read`]
  }
  const isDynamic =
    one.language === 'plpgsql' &&
    /\bexecute\s+(?!(?:function|procedure)\b)/i.test(withoutComments(one.source))
  return isDynamic ? [`${name} runs statements that it puts together`] : []
}

function writtenTables({ source }: TriggerFunction): string[] {
  const statements =
    /\b(?:insert\s+into|update|delete\s+from|merge\s+into)\s+(?:only\s+)?(?:"?public"?\s*\.\s*)?"?([\w$]+)"?/gi
  return [...withoutComments(source).matchAll(statements)].flatMap(([, table]) => table ?? [])
}

/** Texts stay: what is in them may be run. */
function withoutComments(source: string | null): string {
  return (source ?? '').replace(
    /('(?:[^']|'')*')|--[^\n]*|\/\*[\s\S]*?\*\//g,
    (_, text: string | undefined) => text ?? ' ',
  )
}

function unique(values: readonly string[]): string[] {
  return [...new Set(values)]
}
