import { z } from 'zod'
import { ConfigError } from '../errors.ts'
import type { Database } from './client.ts'
import { functionShape, readTriggers, type Trigger, triggerShape } from './triggers.ts'

const column = z.object({
  name: z.string(),
  type: z.string(),
  nullable: z.boolean(),
  default: z.string().nullable(),
  generated: z.boolean(),
  identity: z.string().nullable(),
})

const action = z.enum(['cascade', 'set null', 'set default', 'restrict', 'no action'])

const catalogShape = z.object({
  instance: z.string(),
  tables: z.array(
    z.object({
      name: z.string(),
      columns: z.array(column),
      primaryKey: z.array(z.string()).nullable(),
      uniqueKeys: z.array(z.array(z.string())),
      /** Names. */
      triggers: z.array(z.string()),
      triggerDetails: z.array(triggerShape).default([]),
      /** Whether row-level security decides which rows the caller sees. */
      rowSecurity: z.boolean().default(false),
      /** What the caller may do; null where the database was not asked. */
      privileges: z.array(z.string()).nullable().default(null),
      /** What the planner believes; -1 where nobody has looked yet. */
      estimatedRows: z.number().default(-1),
    }),
  ),
  foreignKeys: z.array(
    z.object({
      name: z.string(),
      child: z.string(),
      childSchema: z.string(),
      parent: z.string(),
      parentSchema: z.string(),
      columns: z.array(z.string()),
      parentColumns: z.array(z.string()),
      onDelete: action,
      onUpdate: action.default('no action'),
      /** Columns that ON DELETE SET NULL or SET DEFAULT was told to empty; none: all of them. */
      setColumns: z.array(z.string()).default([]),
      deferrable: z.boolean(),
      initiallyDeferred: z.boolean().default(false),
    }),
  ),
  functions: z.array(functionShape).default([]),
  installed: z.array(z.object({ name: z.string(), md5: z.string() })).default([]),
})

export type Column = z.infer<typeof column>
export type Table = z.infer<typeof catalogShape>['tables'][number]
export type ForeignKey = z.infer<typeof catalogShape>['foreignKeys'][number]

/** Tables of schema public with their columns, keys and foreign keys, as pg_catalog has them. */
export interface Catalog {
  /** Tells this running database from any other, also from one restored from the same backup. */
  instance: string
  table(name: string): Table
  has(name: string): boolean
  tables: readonly Table[]
  /** Foreign keys between tables of public. */
  foreignKeys: readonly ForeignKey[]
  /** Foreign keys with at least one side in another schema, which the API does not expose. */
  outsideKeys: readonly ForeignKey[]
  /** @returns none of a table that is not there */
  triggersOf(name: string): readonly Trigger[]
  /** Our own functions there, each with the MD5 of its body. */
  installed: readonly { name: string; md5: string }[]
  /**
   * The columns by which rows are told apart: the primary key, else the first unique key whose columns are never NULL.
   *
   * @throws ConfigError when the table has neither
   */
  keyOf(name: string): readonly string[]
  /** Columns that an insert may name: all but the generated ones. */
  writableColumns(name: string): readonly string[]
  /** Timestamps that the database fills in when a row is made: later than they were means made anew. */
  birthColumns(name: string): readonly string[]
}

/** @throws ConfigError when our migration is not installed there. */
export async function readCatalog(database: Database): Promise<Catalog> {
  return catalogOf(await database.call('firehose_replay_catalog'))
}

/** @param answer what `firehose_replay_catalog()` returned */
export function catalogOf(answer: unknown): Catalog {
  const { instance, tables, foreignKeys, functions, installed } = catalogShape.parse(answer)
  const byName = new Map(tables.map((table) => [table.name, table]))
  // The functions' sources end here: they may hold secrets, and nobody needs more than what is read from them.
  const triggers = new Map(
    tables.map(({ name, triggerDetails }) => [name, readTriggers(triggerDetails, functions)]),
  )
  const inside = ({ childSchema, parentSchema }: ForeignKey) =>
    childSchema === 'public' && parentSchema === 'public'
  const table = (name: string): Table => {
    const found = byName.get(name)
    if (found !== undefined) return found
    throw new ConfigError(`The database has no table "${name}".`, {
      hint: 'The description of the appview does not fit this database: check which project and description are used.',
      table: name,
    })
  }
  return {
    instance,
    table,
    tables,
    has: (name) => byName.has(name),
    foreignKeys: foreignKeys.filter(inside),
    outsideKeys: foreignKeys.filter((key) => !inside(key)),
    triggersOf: (name) => triggers.get(name) ?? [],
    installed,
    keyOf(name) {
      const { primaryKey, uniqueKeys, columns } = table(name)
      const nullable = new Set(columns.filter((c) => c.nullable).map((c) => c.name))
      // Rows with a NULL in it a unique key does not tell apart, and no page after one of them would begin.
      const key = primaryKey ?? uniqueKeys.find((names) => !names.some((column) => nullable.has(column)))
      if (key !== undefined) return key
      throw new ConfigError(
        `Table "${name}" has no primary key, and no unique one without NULLs; its rows cannot be told apart.`,
        { hint: 'Give it a primary key in production, and in the backup if it has rows there.', table: name },
      )
    },
    writableColumns: (name) =>
      table(name)
        .columns.filter((c) => !c.generated)
        .map((c) => c.name),
    birthColumns: (name) =>
      table(name)
        .columns.filter((c) => /^timestamp(\(\d\))? with time zone$/.test(c.type) && !c.generated)
        .filter((c) => constantDefault(c) === undefined)
        .map((c) => c.name),
  }
}

/**
 * The text of a column's constant default, null where there is none; undefined where the default is computed, as
 * `now()` is. Postgres prints constants as `false`, `0` or `'text'::type`.
 */
export function constantDefault(column: Column): string | null | undefined {
  if (column.default === null) return null
  return constantText(column.default)
}

function constantText(expression: string): string | null | undefined {
  const literal = LITERAL.exec(expression)
  if (literal !== null) {
    const [, escaped, text = ''] = literal
    const unquoted = text.replaceAll("''", "'")
    return escaped === undefined ? unquoted : unquoted.replaceAll('\\\\', '\\')
  }
  if (/^-?\d+(\.\d+)?$/.test(expression)) return expression
  if (expression === 'true' || expression === 'false') return expression
  if (NULL.test(expression)) return null
  // `0::bigint` is printed as `(0)::bigint`. Of other casts the value may change, and `('now'::text)::date` is
  // computed at each insert.
  const cast = CAST.exec(expression)?.[1]
  const inner = cast === undefined ? undefined : constantText(cast)
  return inner != null && /^-?\d+$/.test(inner) ? inner : undefined
}

/** `text`, `character varying(10)`, `timestamp(3) with time zone`, `app."Kind"[]` */
const TYPE = String.raw`(?:[\w\s.]|"(?:[^"]|"")*")+(?:\(\d+(?:,\d+)?\)[\w\s]*)?(?:\[\])*`
const LITERAL = new RegExp(`^(E)?'((?:[^']|'')*)'(?:::${TYPE})?$`)
const NULL = new RegExp(`^NULL(?:::${TYPE})?$`)
const CAST = new RegExp(String.raw`^\((.+)\)::${TYPE}$`)
