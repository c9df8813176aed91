import { describe, expect, test } from 'vitest'
import { rowId, type Snapshot, type SnapshotTable } from '../../../src/backup/snapshot.ts'
import { catalogOf } from '../../../src/database/catalog.ts'
import type { ExactRow } from '../../../src/database/exact.ts'
import type { RecordState } from '../../../src/database/record-state.ts'
import type { AppView, DerivedTable, Handler, Refusal } from '../../../src/events.ts'
import { type PlannedRow, planReconcile } from '../../../src/reconcile/plan.ts'
import { encodeRecord } from '../../../src/repo/record.ts'

// A small world: posts hang on nothing; likes (of readers) and mails hang on posts by a cascade; a draft names a post
// until that goes; a pin hangs on a mail.

const AUTHOR = 'did:plc:author'
const INSTANT = 'timestamp with time zone'
const BORN = '2026-01-01 00:00:00.000001+00'
const MARKED = '2026-03-01 00:00:00+00'
const REBORN = '2026-03-01 00:00:01+00'
const uriOf = (rkey: string, did = AUTHOR) => `at://${did}/com.example.post/${rkey}`
const likeOf = (rkey: string, did = 'did:plc:reader') => `at://${did}/com.example.like/${rkey}`

const POSTS: DerivedTable = { table: 'posts', of: 'uri', key: ['uri'], columns: ['uri', 'data'] }
const LIKES: DerivedTable = { table: 'likes', of: 'uri', key: ['uri'], columns: ['uri', 'post'] }
const handler = (collection: string, derived: DerivedTable): Handler => ({
  collection,
  derives: [derived],
  rank: 0,
  rows: () => ({ outcome: 'skipped', reason: '' }),
})
const appview: AppView = {
  name: 'posts',
  handlers: [handler('com.example.post', POSTS), handler('com.example.like', LIKES)],
  roots: [{ section: 'posts', table: 'posts', uriColumn: 'uri', recordColumn: 'data' }],
  sections: {},
  sensitiveColumns: [],
  untouchableTables: [],
  guardTables: ['mails'],
}

const column = (name: string, change: object = {}) => ({
  name,
  type: 'text',
  nullable: true,
  default: null,
  generated: false,
  identity: null,
  ...change,
})
const foreignKey = (child: string, parent: string, columns: string[], onDelete = 'cascade') => ({
  name: `${child}_${parent}`,
  child,
  childSchema: 'public',
  parent,
  parentSchema: 'public',
  columns,
  parentColumns: parent === 'mails' ? ['post'] : ['uri'],
  onDelete,
  deferrable: false,
})
const columnsOf: Record<string, ReturnType<typeof column>[]> = {
  posts: [
    column('uri'),
    column('data', { type: 'jsonb' }),
    column('indexed_at', { type: INSTANT, default: 'now()' }),
    column('likes', { type: 'integer', default: '0' }),
    column('note'),
    column('sort', { generated: true, default: 'lower(uri)' }),
  ],
  likes: [column('uri'), column('post'), column('indexed_at', { type: INSTANT, default: 'now()' })],
  drafts: [column('id'), column('post'), column('title')],
  mails: [column('post'), column('status', { default: "'pending'::text" })],
  pins: [column('post'), column('mail')],
}
const keyOf: Record<string, string[]> = {
  posts: ['uri'],
  likes: ['uri'],
  drafts: ['id'],
  mails: ['post'],
  pins: ['post'],
}
const catalog = catalogOf({
  instance: '1',
  tables: Object.entries(columnsOf).map(([name, columns]) => ({
    name,
    columns,
    primaryKey: keyOf[name],
    uniqueKeys: [keyOf[name]],
    triggers: [],
  })),
  foreignKeys: [
    foreignKey('likes', 'posts', ['post']),
    foreignKey('mails', 'posts', ['post']),
    foreignKey('drafts', 'posts', ['post'], 'set null'),
    foreignKey('pins', 'mails', ['mail']),
  ],
})

const post = (rkey: string, change: ExactRow = {}): ExactRow => ({
  uri: uriOf(rkey),
  data: '{"n": 1}',
  indexed_at: BORN,
  likes: '3',
  note: null,
  sort: 'x',
  ...change,
})
const like = (rkey: string, of: string, change: ExactRow = {}): ExactRow => ({
  uri: likeOf(rkey),
  post: uriOf(of),
  indexed_at: BORN,
  ...change,
})
type Rows = Record<string, ExactRow[]>

const TABLES = ['posts', 'likes', 'drafts', 'pins', 'mails']
function tableOf(name: string, rows: ExactRow[]): SnapshotTable {
  const columns = (columnsOf[name] ?? []).map(({ name: column, type, generated }) => ({
    name: column,
    type,
    generated,
  }))
  return { table: name, section: name, columns, key: keyOf[name] ?? [], rows }
}

interface World {
  before: Rows
  now?: Rows
  /** Record keys of posts: there or deleted. Those of the snapshot are there by default. */
  states?: Record<string, 'there' | 'deleted' | 'unknown'>
  marked?: string[]
  replayed?: boolean
  markedAt?: string | undefined
  /** Record keys of posts that were not written back. */
  refused?: Record<string, Refusal>
  /** Record keys of posts in the repo; undefined: it is not at hand. */
  repo?: string[]
}

/** `table key: action outcome columns`, for each row. */
function plan({
  before,
  now = {},
  states = {},
  marked = [],
  replayed = true,
  markedAt = MARKED,
  refused = {},
  repo,
}: World) {
  const snapshot: Snapshot = {
    did: AUTHOR,
    tables: TABLES.map((name) => tableOf(name, before[name] ?? [])),
    parents: [],
    meta: { format: 1, extractedAt: '', from: '', appview: 'posts' },
  }
  const current = new Map(
    TABLES.map((name) => [
      name,
      new Map((now[name] ?? []).map((row) => [rowId(row, keyOf[name] ?? []), row])),
    ]),
  )
  const known = new Map<string, RecordState>()
  for (const { uri } of before.posts ?? []) {
    const state = states[String(uri).split('/').at(-1) ?? ''] ?? 'there'
    if (state !== 'unknown')
      known.set(String(uri), { uri: String(uri), rev: '3a', cid: null, deleted: state === 'deleted' })
  }
  return planReconcile({
    snapshot,
    appview,
    catalog,
    current,
    states: known,
    replayed: { has: (table) => replayed && table === 'posts' },
    markedAt: marked.length === 0 && markedAt === MARKED ? undefined : markedAt,
    marked: new Set(marked.map((rkey) => uriOf(rkey))),
    refused: new Map(
      Object.entries(refused).map(([rkey, refusal]) => [uriOf(rkey), { refusal, reason: 'no picture' }]),
    ),
    repo: repo && {
      get: (collection, rkey) =>
        repo.includes(rkey) ? { collection, rkey, ...encodeRecord({ $type: collection }) } : undefined,
    },
  })
}
function only(world: World, table: string): PlannedRow {
  const rows = plan(world).tables.find((candidate) => candidate.table === table)?.rows ?? []
  expect(rows).toHaveLength(1)
  const [row] = rows
  if (row === undefined) throw new Error('no row')
  return row
}

describe('what a replay gives back', () => {
  const remade = post('a', { indexed_at: REBORN, likes: '0' })

  test('is left to it, and said when it has not come', () => {
    expect(only({ before: { posts: [post('a')] } }, 'posts')).toMatchObject({
      action: 'none',
      outcome: 'derived',
      reason: expect.any(String),
    })
  })

  test.each(['deleted', 'unknown'] as const)('is withdrawn where its record is %s', (state) => {
    const world: World = { before: { posts: [post('a')] }, states: { a: state } }
    expect(only(world, 'posts')).toMatchObject({ action: 'none', outcome: 'withdrawn' })
  })

  test('a row that no replay gives, of a record that is there, is inserted', () => {
    const world: World = { before: { posts: [post('a')] }, replayed: false }
    expect(only(world, 'posts')).toMatchObject({ action: 'insert', outcome: 'restored' })
  })

  test('its columns that no handler writes are set back in a row made anew', () => {
    const world: World = { before: { posts: [post('a')] }, now: { posts: [remade] }, marked: ['a'] }
    expect(only(world, 'posts')).toMatchObject({
      action: 'set',
      outcome: 'derived',
      columns: ['indexed_at', 'likes'],
    })
  })

  test('but for those that have been written since', () => {
    const now = { ...remade, likes: '5', note: 'new' }
    const world: World = { before: { posts: [post('a')] }, now: { posts: [now] }, marked: ['a'] }
    expect(only(world, 'posts')).toMatchObject({ action: 'set', columns: ['indexed_at'] })
  })

  test('and of none whose record is another by now', () => {
    const world: World = {
      before: { posts: [post('a')] },
      now: { posts: [{ ...remade, data: '{"n": 2}' }] },
      marked: ['a'],
    }
    expect(only(world, 'posts')).toMatchObject({
      action: 'none',
      outcome: 'kept',
      reason: expect.stringContaining('data'),
    })
  })

  test('the same JSON in another order is the same record', () => {
    const before = post('a', { data: '{"a": 1, "b": 2}' })
    const world: World = {
      before: { posts: [before] },
      now: { posts: [{ ...remade, data: '{"b": 2, "a": 1.0}' }] },
      marked: ['a'],
    }
    expect(only(world, 'posts')).toMatchObject({ action: 'set' })
  })

  test('in a row made anew before the restore began nothing is set back', () => {
    const now = { ...remade, indexed_at: '2026-02-01 00:00:00+00' }
    expect(
      only({ before: { posts: [post('a')] }, now: { posts: [now] }, marked: ['b'] }, 'posts'),
    ).toMatchObject({ action: 'none', outcome: 'kept' })
  })

  test('in a row that stood all along nothing is set back', () => {
    const now = post('a', { likes: '0' })
    expect(
      only({ before: { posts: [post('a')] }, now: { posts: [now] }, marked: ['b'] }, 'posts'),
    ).toMatchObject({ action: 'none', outcome: 'kept' })
    expect(
      only({ before: { posts: [post('a')] }, now: { posts: [now] }, markedAt: undefined }, 'posts'),
    ).toMatchObject({ action: 'none', outcome: 'kept' })
  })

  test('in one that an earlier run inserted with defaults, they are', () => {
    const now = post('a', { likes: '0' })
    const world: World = {
      before: { posts: [post('a')] },
      now: { posts: [now] },
      marked: ['a'],
      replayed: false,
    }
    expect(only(world, 'posts')).toMatchObject({ action: 'set', columns: ['likes'] })
  })

  test('a generated column is never a difference', () => {
    const world: World = { before: { posts: [post('a')] }, now: { posts: [post('a', { sort: 'y' })] } }
    expect(only(world, 'posts')).toMatchObject({ action: 'none', outcome: 'derived' })
  })
})

describe('a row whose record was refused', () => {
  const before: Rows = { posts: [post('a')], likes: [like('x', 'a')] }
  const gone: World = { before, states: { a: 'deleted' }, refused: { a: 'blob-missing' } }

  test.each<[string, Partial<World>]>([
    ['and deleted', {}],
    ['and never seen by the index', { states: { a: 'unknown' } }],
    ['and that the index has not seen go, which the repo knows', { states: {}, repo: [] }],
  ])('comes from the backup: %s', (_, world) => {
    expect(only({ ...gone, ...world }, 'posts')).toMatchObject({
      action: 'insert',
      outcome: 'restored',
      withoutRecord: true,
      reason: 'its record could not be written (blob-missing): no picture',
    })
    expect(only({ ...gone, ...world }, 'likes')).toMatchObject({ action: 'insert', outcome: 'restored' })
  })

  test.each<[string, Partial<World>, string]>([
    ['for another record that is there', { refused: { a: 'conflict' } }, 'withdrawn'],
    ['but is in the repo', { states: {}, repo: ['a'] }, 'derived'],
    ['but is in the repo, and was deleted as we looked', { repo: ['a'] }, 'withdrawn'],
  ])('does not, where it was refused %s', (_, world, outcome) => {
    expect(only({ ...gone, ...world }, 'posts')).toMatchObject({ action: 'none', outcome })
  })

  test('is said to have none, once it is there', () => {
    expect(only({ ...gone, now: { posts: [post('a')] } }, 'posts')).toMatchObject({
      action: 'none',
      outcome: 'unchanged',
      reason: expect.stringContaining('could not be written'),
    })
  })

  test('and what hangs there comes back in the run after one that was cut short, not where it stood all along', () => {
    const now = { posts: [post('a')] }
    expect(only({ ...gone, now, marked: ['a'] }, 'likes')).toMatchObject({ action: 'insert' })
    expect(only({ ...gone, now }, 'likes')).toMatchObject({ action: 'none', outcome: 'withdrawn' })
  })

  test('lets in what waits for it, now and in the run after', () => {
    const swept = (world: World) =>
      plan(world)
        .tables.filter(({ sweep }) => sweep)
        .map(({ table }) => table)
    expect(swept(gone)).toEqual(['posts', 'likes'])
    expect(swept({ ...gone, now: { posts: [post('a')], likes: [like('x', 'a')] } })).toEqual(['posts'])
    expect(swept({ before, now: { posts: [post('a')], likes: [like('x', 'a')] } })).toEqual([])
  })
})

describe('a row that is absent', () => {
  const before: Rows = {
    posts: [post('a')],
    likes: [like('x', 'a')],
    mails: [{ post: uriOf('a'), status: 'sent' }],
  }
  const remade = post('a', { indexed_at: REBORN })

  test.each<[string, ExactRow[]]>([
    ['is absent still', []],
    ['was made anew', [remade]],
  ])('comes back where what it hung on %s', (_, posts) => {
    const world: World = { before, now: { posts }, marked: ['a'] }
    expect(only(world, 'likes')).toMatchObject({ action: 'insert', outcome: 'restored' })
    expect(only(world, 'mails')).toMatchObject({ action: 'insert', outcome: 'restored' })
  })

  test('stays deleted where that stood all along, whatever else was lost', () => {
    const world: World = {
      before: { ...before, posts: [post('a'), post('b')] },
      now: { posts: [post('a')] },
      marked: ['b'],
    }
    expect(only(world, 'likes')).toMatchObject({
      action: 'none',
      outcome: 'withdrawn',
      reason: expect.any(String),
    })
    expect(only(world, 'mails')).toMatchObject({ action: 'none', outcome: 'withdrawn' })
  })

  test('comes back where what it hung on was brought by a run that was cut short', () => {
    const world: World = { before, now: { posts: [post('a')] }, marked: ['a'], replayed: false }
    expect(only(world, 'likes')).toMatchObject({ action: 'insert' })
  })

  test('and where a row in between came already', () => {
    const pins = [{ post: uriOf('p'), mail: uriOf('a') }]
    const world: World = {
      before: { ...before, pins },
      now: { posts: [remade], mails: before.mails ?? [] },
      marked: ['a'],
    }
    expect(only(world, 'pins')).toMatchObject({ action: 'insert' })
    const stood: World = {
      before: { ...before, pins },
      now: { posts: [post('a')], mails: before.mails ?? [] },
    }
    expect(only(stood, 'pins')).toMatchObject({ action: 'none', outcome: 'withdrawn' })
  })

  test('a draft, which no cascade takes, was deleted by someone', () => {
    const world: World = {
      before: { ...before, drafts: [{ id: '1', post: uriOf('a'), title: 't' }] },
      now: { posts: [remade] },
      marked: ['a'],
    }
    expect(only(world, 'drafts')).toMatchObject({ action: 'none', outcome: 'withdrawn' })
  })
})

describe('a column that was emptied', () => {
  const draft = { id: '1', post: uriOf('a'), title: 'old' }
  const before: Rows = { posts: [post('a')], drafts: [draft] }
  const now = (change: ExactRow, posts = [post('a', { indexed_at: REBORN })]): World => ({
    before,
    now: { posts, drafts: [{ ...draft, ...change }] },
    marked: ['a'],
  })

  test('is filled, and what else is new is left', () => {
    expect(only(now({ post: null, title: 'new' }), 'drafts')).toMatchObject({
      action: 'set',
      outcome: 'filled',
      columns: ['post'],
    })
  })

  test('is not filled once it names something else', () => {
    expect(only(now({ post: uriOf('b') }), 'drafts')).toMatchObject({ action: 'none', outcome: 'kept' })
  })

  test('is not filled where the row it named stood all along: somebody took it off', () => {
    expect(only(now({ post: null }, [post('a')]), 'drafts')).toMatchObject({
      action: 'none',
      outcome: 'kept',
    })
  })

  test('any other empty column was emptied by someone', () => {
    expect(only(now({ title: null }), 'drafts')).toMatchObject({
      action: 'none',
      outcome: 'kept',
      reason: expect.stringContaining('title'),
    })
  })

  test('unchanged is unchanged', () => {
    expect(only(now({}), 'drafts')).toEqual({ id: '["1"]', action: 'none', outcome: 'unchanged' })
  })
})

describe('a plan', () => {
  test('has the tables that keep side effects from firing as early as their parents allow', () => {
    const order = plan({ before: {} }).tables.map(({ table }) => table)
    expect(order).toEqual(['posts', 'mails', 'likes', 'drafts', 'pins'])
  })

  test('has each row of the snapshot once, and no bodies', () => {
    const before: Rows = {
      posts: [post('a'), post('b', { data: '{"secret": 1}' })],
      likes: [like('x', 'a')],
      drafts: [{ id: '1', post: null, title: 'secret' }],
    }
    const made = plan({ before })
    expect(made.tables.map(({ rows }) => rows.length).reduce((a, b) => a + b)).toBe(4)
    expect(JSON.stringify(made)).not.toContain('secret')
  })
})
