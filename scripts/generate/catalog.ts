import type { PostgresClient } from './fresh-database.ts'

/** What PostgREST offers of schema public. Types are PostgreSQL's own names, an array's with a leading `_`. */
export interface Schema {
  columns: readonly Column[]
  relationships: readonly Relationship[]
  functions: readonly SchemaFunction[]
}

export interface Column {
  table: string
  name: string
  type: string
  nullable: boolean
  /** An insert may leave it out. */
  hasDefault: boolean
  /** PostgreSQL refuses a value: a generated column, or an identity that is always generated. */
  generated: boolean
}

export interface Relationship {
  table: string
  name: string
  columns: string[]
  referencedTable: string
  referencedColumns: string[]
  /** The columns are a key of their own table. */
  isOneToOne: boolean
}

export interface SchemaFunction {
  name: string
  returnType: string
  returnsSet: boolean
  /** Table whose row type it returns. */
  returnTable: string | null
  parameters: Parameter[]
  /** How many of the last input parameters may be left out. */
  defaultCount: number
}

export interface Parameter {
  /** Empty where the function does not name it. */
  name: string
  type: string
  /** pg_proc.proargmodes: in, out, in and out, variadic, column of RETURNS TABLE. */
  mode: 'i' | 'o' | 'b' | 'v' | 't'
}

// Every ORDER BY is by byte ("C"), so that the text does not depend on a machine's locale.

const COLUMNS = `
  select
    c.relname as "table", a.attname as name, t.typname as type, not a.attnotnull as nullable,
    a.atthasdef or a.attidentity <> '' as "hasDefault",
    a.attgenerated <> '' or a.attidentity = 'a' as generated
  from pg_attribute a
  join pg_class c on c.oid = a.attrelid
  join pg_type t on t.oid = a.atttypid
  where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'p')
    and a.attnum > 0 and not a.attisdropped
  order by c.relname collate "C", a.attname collate "C"
`

const RELATIONSHIPS = `
  select
    c.relname as "table", k.conname as name, p.relname as "referencedTable",
    array(
      select a.attname::text from unnest(k.conkey) with ordinality as u (attnum, position)
      join pg_attribute a on a.attrelid = k.conrelid and a.attnum = u.attnum order by position
    ) as columns,
    array(
      select a.attname::text from unnest(k.confkey) with ordinality as u (attnum, position)
      join pg_attribute a on a.attrelid = k.confrelid and a.attnum = u.attnum order by position
    ) as "referencedColumns",
    exists (
      select from pg_index i
      where i.indrelid = k.conrelid and i.indisunique and i.indpred is null and i.indexprs is null
        and array(select unnest(i.indkey::int2[]) order by 1) = array(select unnest(k.conkey) order by 1)
    ) as "isOneToOne"
  from pg_constraint k
  join pg_class c on c.oid = k.conrelid
  join pg_class p on p.oid = k.confrelid
  where k.contype = 'f' and k.connamespace = 'public'::regnamespace
  order by c.relname collate "C", k.conname collate "C"
`

// Trigger functions are left out: nobody can call them.
const FUNCTIONS = `
  select
    f.proname as name, r.typname as "returnType", f.proretset as "returnsSet",
    (select c.relname from pg_class c where c.oid = r.typrelid and c.relkind in ('r', 'p')) as "returnTable",
    f.pronargdefaults as "defaultCount",
    coalesce((
      select json_agg(json_build_object(
        'name', coalesce(f.proargnames[u.position], ''),
        'type', t.typname,
        'mode', coalesce(f.proargmodes[u.position], 'i')
      ) order by u.position)
      from unnest(coalesce(f.proallargtypes, f.proargtypes::oid[])) with ordinality as u (type, position)
      join pg_type t on t.oid = u.type
    ), '[]') as parameters
  from pg_proc f
  join pg_type r on r.oid = f.prorettype
  where f.pronamespace = 'public'::regnamespace and f.prokind = 'f'
    and r.typname not in ('trigger', 'event_trigger')
  order by f.proname collate "C", pg_get_function_identity_arguments(f.oid) collate "C"
`

/** Reads schema public of the connected database. */
export async function readSchema(client: PostgresClient): Promise<Schema> {
  const columns = await client.query<Column>(COLUMNS)
  const relationships = await client.query<Relationship>(RELATIONSHIPS)
  const functions = await client.query<SchemaFunction>(FUNCTIONS)
  return { columns: columns.rows, relationships: relationships.rows, functions: functions.rows }
}
