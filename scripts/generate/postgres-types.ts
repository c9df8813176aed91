/** PostgreSQL's type names by what supabase-js returns for them. */
const TYPE_NAMES: Readonly<Record<string, readonly string[]>> = {
  boolean: ['bool'],
  number: ['int2', 'int4', 'int8', 'float4', 'float8', 'numeric'],
  string: [
    'bpchar',
    'bytea',
    'date',
    'interval',
    'name',
    'text',
    'time',
    'timestamp',
    'timestamptz',
    'timetz',
    'uuid',
    'varchar',
  ],
  Json: ['json', 'jsonb'],
  undefined: ['void'],
  'Record<string, unknown>': ['record'],
}

const BY_POSTGRES_NAME = new Map(
  Object.entries(TYPE_NAMES).flatMap(([type, names]) => names.map((name) => [name, type] as const)),
)

/** The TypeScript type of a PostgreSQL type; `unknown` for one that JSON does not say the shape of. */
export function typescriptType(name: string): string {
  if (name.startsWith('_')) return `${typescriptType(name.slice(1))}[]`
  return BY_POSTGRES_NAME.get(name) ?? 'unknown'
}
