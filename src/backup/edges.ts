import type { Catalog, ForeignKey } from '../database/catalog.ts'
import type { ExactRow } from '../database/exact.ts'
import { ConfigError } from '../errors.ts'
import type { AppView, VirtualReference } from '../events.ts'

/** A reference from rows of one table to rows of another: a foreign key, or one that only the description knows. */
export interface Edge {
  kind: 'foreign-key' | 'virtual'
  /** The constraint's name; of a virtual one `child.path`, as `comments.record.reply.parent`. */
  name: string
  child: string
  /** Columns of the child, each beside the one of `parentColumns` that it refers to. */
  columns: readonly string[]
  /** Keys that lead to the value inside the only column, which holds JSON; empty where the column itself refers. */
  keys: readonly string[]
  parent: string
  parentColumns: readonly string[]
  /** Of a virtual one: what the appview's own code does. `no action` then leaves the row as it is, and blocks nothing. */
  onDelete: ForeignKey['onDelete']
  onUpdate: ForeignKey['onUpdate']
  /** Columns that lose their value on `set null` and `set default`; empty for the other actions. */
  emptied: readonly string[]
  deferrable: boolean
  initiallyDeferred: boolean
}

/** What PostgREST reads without quotes in a path into JSON. */
const KEY = /^[A-Za-z_$][\w$]*$/

/**
 * All references between tables of schema public. A virtual one that the schema has come to declare is only the
 * foreign key.
 *
 * @throws ConfigError when a virtual reference names a table or column that the database does not have
 */
export function edgesOf(
  catalog: Pick<Catalog, 'foreignKeys' | 'table'>,
  { virtualReferences = [] }: Pick<AppView, 'virtualReferences'>,
): Edge[] {
  const declared = catalog.foreignKeys.map(declaredEdge)
  const virtual = virtualReferences.map((reference) => virtualEdge(catalog, reference))
  return [...declared, ...virtual.filter((edge) => !declared.some((other) => isSame(edge, other)))]
}

/** What a filter names the child's side by, in PostgREST's words: columns, or `data->site->>uri`. */
export function filterColumns({ columns, keys }: Pick<Edge, 'columns' | 'keys'>): readonly string[] {
  const last = keys.at(-1)
  if (last === undefined) return columns
  return [[...columns, ...keys.slice(0, -1)].join('->').concat('->>', last)]
}

/** What a row of the child refers to: a value per column of the parent; undefined where it refers to nothing. */
export function referenceOf(
  row: ExactRow,
  { columns, keys }: Pick<Edge, 'columns' | 'keys'>,
): string[] | undefined {
  const values = columns.map((column) => row[column] ?? null).map((text) => within(text, keys))
  return values.every((value) => value !== null) ? values : undefined
}

function declaredEdge(key: ForeignKey): Edge {
  const { name, child, columns, parent, parentColumns, onDelete, onUpdate, deferrable, initiallyDeferred } =
    key
  const empties = onDelete === 'set null' || onDelete === 'set default'
  const emptied = !empties ? [] : key.setColumns.length > 0 ? key.setColumns : columns
  const shared = {
    name,
    child,
    columns,
    parent,
    parentColumns,
    onDelete,
    onUpdate,
    deferrable,
    initiallyDeferred,
  }
  return { kind: 'foreign-key', ...shared, keys: [], emptied }
}

function virtualEdge(catalog: Pick<Catalog, 'table'>, reference: VirtualReference): Edge {
  const { child, path, parent, parentColumn, onDelete } = reference
  const [column, ...keys] = path
  const name = [child, ...path].join('.')
  const type = typeOf(catalog, name, child, column)
  typeOf(catalog, name, parent, parentColumn)
  if (keys.length > 0 && !/^jsonb?$/.test(type)) {
    throw unfit(name, `"${child}.${column}" is of type ${type}, which has no keys inside`, child)
  }
  const odd = keys.find((key) => !KEY.test(key))
  if (odd !== undefined) throw unfit(name, `${JSON.stringify(odd)} cannot be a key of its path`, child)
  if (keys.length > 0 && onDelete === 'set null') {
    throw unfit(name, 'a path into JSON is never set to null', child)
  }
  return {
    kind: 'virtual',
    name,
    child,
    columns: [column],
    keys,
    parent,
    parentColumns: [parentColumn],
    onDelete,
    onUpdate: 'no action',
    emptied: onDelete === 'set null' ? [column] : [],
    deferrable: false,
    initiallyDeferred: false,
  }
}

function typeOf(catalog: Pick<Catalog, 'table'>, name: string, table: string, column: string): string {
  const found = catalog.table(table).columns.find((candidate) => candidate.name === column)
  if (found !== undefined) return found.type
  throw unfit(name, `the database has no column "${table}.${column}"`, table)
}

function unfit(name: string, why: string, table: string): ConfigError {
  return new ConfigError(`The description's virtual reference ${name} does not fit: ${why}.`, {
    hint: 'Correct virtualReferences in the description of the appview, or check which database this is.',
    table,
  })
}

function isSame(a: Edge, b: Edge): boolean {
  const sides = ({ child, columns, keys, parent, parentColumns }: Edge) =>
    JSON.stringify([child, columns, keys, parent, parentColumns])
  return sides(a) === sides(b)
}

function within(text: string | null, keys: readonly string[]): string | null {
  if (text === null || keys.length === 0) return text
  let value: unknown = JSON.parse(text, numberAsText)
  for (const key of keys) {
    if (value === null || typeof value !== 'object' || Array.isArray(value)) return null
    value = Object.hasOwn(value, key) ? Object(value)[key] : null
  }
  // Only texts and numbers name a row; `->>` would give the text of an object or a list.
  return typeof value === 'string' ? value : null
}

/** Numbers as they are written: a double would round some of them. */
function numberAsText(_key: string, value: unknown, context?: { source?: string }): unknown {
  return typeof value === 'number' ? (context?.source ?? String(value)) : value
}
