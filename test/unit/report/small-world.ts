/** An appview of two tables made from records, a third that hangs on them, and a fourth of tags that triggers fill. */
import type { Snapshot, SnapshotTable } from '../../../src/backup/snapshot.ts'
import { type Catalog, catalogOf } from '../../../src/database/catalog.ts'
import type { ExactRow } from '../../../src/database/exact.ts'
import type { AppView, DerivedTable } from '../../../src/events.ts'
import { type Evidence, outcomesOf } from '../../../src/report/evidence.ts'
import { refusalsOf } from '../../../src/report/refused.ts'

export const AUTHOR = 'did:plc:author'
export const NOTE = `at://${AUTHOR}/com.example.note/1`
export const LIKE = 'at://did:plc:reader/com.example.like/1'

const NOTES: DerivedTable = { table: 'notes', of: 'uri', key: ['uri'], columns: ['uri', 'data'] }
const LIKES: DerivedTable = { table: 'likes', of: 'uri', key: ['uri'], columns: ['uri', 'note'] }

export const appview: AppView = {
  name: 'small',
  handlers: [
    {
      collection: 'com.example.note',
      derives: [NOTES],
      rank: 0,
      rows: () => ({ outcome: 'rows', mutations: [] }),
    },
    {
      collection: 'com.example.like',
      derives: [LIKES],
      rank: 1,
      rows: () => ({ outcome: 'rows', mutations: [] }),
    },
  ],
  roots: [{ section: 'notes', table: 'notes', uriColumn: 'uri', recordColumn: 'data' }],
  sections: {},
  sensitiveColumns: ['drafts.token', 'tokens.id'],
  untouchableTables: ['tokens'],
  guardTables: [],
}

type ColumnSpec = readonly [name: string, type: string, fallback?: string | undefined, generated?: boolean]
const COLUMNS: Record<string, ColumnSpec[]> = {
  notes: [
    ['uri', 'text'],
    ['data', 'jsonb'],
    ['made_at', 'timestamp with time zone', 'now()'],
    ['sort_at', 'timestamp with time zone', undefined, true],
    ['like_count', 'integer', '0'],
    ['shown', 'boolean', 'false'],
  ],
  likes: [
    ['uri', 'text'],
    ['note', 'text'],
    ['made_at', 'timestamp with time zone', 'now()'],
  ],
  drafts: [
    ['token', 'uuid'],
    ['note', 'text', "''::text"],
    ['title', 'text', "''::text"],
  ],
  tags: [
    ['note', 'text'],
    ['tag', 'text'],
  ],
  tokens: [['id', 'uuid']],
}
const KEYS: Record<string, string[]> = {
  notes: ['uri'],
  likes: ['uri'],
  drafts: ['token'],
  tags: ['note', 'tag'],
  tokens: ['id'],
}

export const catalog: Catalog = catalogOf({
  instance: 'here',
  tables: Object.entries(COLUMNS).map(([name, columns]) => ({
    name,
    columns: columns.map(([column, type, fallback, generated]) => ({
      name: column,
      type,
      nullable: true,
      default: fallback ?? null,
      generated: generated ?? false,
      identity: null,
    })),
    primaryKey: KEYS[name] ?? null,
    uniqueKeys: [],
    triggers: [],
  })),
  foreignKeys: (
    [
      ['likes', 'cascade'],
      ['drafts', 'set null'],
      ['tags', 'cascade'],
    ] as const
  ).map(([child, onDelete]) => ({
    name: `${child}_note`,
    child,
    childSchema: 'public',
    parent: 'notes',
    parentSchema: 'public',
    columns: ['note'],
    parentColumns: ['uri'],
    onDelete,
    deferrable: false,
  })),
})

export function table(name: string, rows: ExactRow[]): SnapshotTable {
  const columns = catalog.table(name).columns.map(({ name, type, generated }) => ({ name, type, generated }))
  return { table: name, section: name, columns, key: KEYS[name] ?? [], rows }
}

export const note = (changes: ExactRow = {}): ExactRow => ({
  uri: NOTE,
  data: '{"title": "One", "n": 1}',
  made_at: '2026-02-01 10:00:00.123456+00',
  sort_at: '2026-02-01 10:00:00.123456+00',
  like_count: '3',
  shown: 'true',
  ...changes,
})
export const like = (changes: ExactRow = {}): ExactRow => ({
  uri: LIKE,
  note: NOTE,
  made_at: '2026-02-02 10:00:00.5+00',
  ...changes,
})
export const draft = (changes: ExactRow = {}): ExactRow => ({
  token: '11111111-1111-4111-8111-111111111111',
  note: NOTE,
  title: 'One',
  ...changes,
})

export function snapshot(...tables: SnapshotTable[]): Snapshot {
  return {
    did: AUTHOR,
    tables,
    parents: [],
    meta: { format: 1, extractedAt: '2026-03-01T00:00:00.000Z', from: 'backup.example', appview: 'small' },
  }
}

export function evidence(of: Snapshot, changes: Partial<Evidence> = {}): Evidence {
  return {
    snapshot: of,
    appview,
    catalog,
    states: new Map(),
    records: new Map(),
    refusals: refusalsOf([...(changes.records?.values() ?? [])]),
    withoutRecord: new Map(),
    outcomes: undefined,
    triggerKept: new Set(),
    ...changes,
  }
}

export { outcomesOf }
