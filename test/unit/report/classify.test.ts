import { describe, expect, test } from 'vitest'
import { rowId, type SnapshotTable } from '../../../src/backup/snapshot.ts'
import type { ExactRow } from '../../../src/database/exact.ts'
import type { RecordState } from '../../../src/database/record-state.ts'
import type { Refusal, RowOutcome } from '../../../src/events.ts'
import type { LostRecord } from '../../../src/pds/lost-record.ts'
import type { ClassifiedRow } from '../../../src/report/classified-row.ts'
import { classifyTable } from '../../../src/report/classify.ts'
import type { Evidence } from '../../../src/report/evidence.ts'
import { NewerRows } from '../../../src/report/newer-rows.ts'
import { draft, evidence, LIKE, like, NOTE, note, outcomesOf, snapshot, table } from './small-world.ts'

/** Classifies tables against the rows that production has of them, parents first; returns the last table's rows. */
function classify(pairs: [SnapshotTable, ExactRow[]][], changes: Partial<Evidence> = {}): ClassifiedRow[] {
  const all = evidence(snapshot(...pairs.map(([of]) => of)), changes)
  const newer = new NewerRows(all)
  let last: ClassifiedRow[] = []
  for (const [of, rows] of pairs) {
    last = classifyTable(of, new Map(rows.map((row) => [rowId(row, of.key), row])), all, newer)
  }
  return last
}
const short = (rows: ClassifiedRow[]) =>
  rows.map((row) => (row.policy === undefined ? row.class : `${row.class} ${row.policy}`))

function said(name: string, row: ExactRow, outcome: RowOutcome, reason?: string): Partial<Evidence> {
  const id = rowId(row, table(name, []).key)
  return {
    outcomes: outcomesOf([
      { table: name, rows: [reason === undefined ? { id, outcome } : { id, outcome, reason }] },
    ]),
  }
}
function states(...entries: [uri: string, cid: string | null, deleted: boolean][]): Map<string, RecordState> {
  return new Map(entries.map(([uri, cid, deleted]) => [uri, { uri, rev: '3a', cid, deleted }]))
}
const LOST: LostRecord = {
  uri: NOTE,
  collection: 'com.example.note',
  rkey: '1',
  cid: 'bafynote',
  bytes: 1,
  record: {},
  originalCid: undefined,
  proof: 'self-consistent',
}
const lost = new Map([[NOTE, LOST]])

describe('a row that is there', () => {
  test('is equal when every column means the same', () => {
    const now = note({ data: '{"n": 1.0, "title": "One"}', made_at: '2026-02-01 11:00:00.123456+01' })
    expect(short(classify([[table('notes', [note()]), [now]]]))).toEqual(['equal'])
  })

  test('is different otherwise, and says where', () => {
    const [row] = classify([[table('notes', [note()]), [note({ like_count: '4', shown: null })]]])
    expect(row).toMatchObject({ class: 'different', columns: ['like_count', 'shown'] })
  })

  test.each(['kept', 'filled'] as const)('is kept newer when the reconcile says %s', (outcome) => {
    const [row] = classify(
      [[table('notes', [note()]), [note({ data: '{}' })]]],
      said('notes', note(), outcome, 'why'),
    )
    expect(row).toMatchObject({ class: 'explained', policy: 'kept-newer', columns: ['data'], reason: 'why' })
  })

  test('is different while a column that the incident emptied is empty, whatever the reconcile says', () => {
    const rows = classify(
      [
        [table('notes', [note()]), [note()]],
        [table('drafts', [draft()]), [draft({ note: null, title: 'Two' })]],
      ],
      said('drafts', draft(), 'kept'),
    )
    expect(short(rows)).toEqual(['different'])
  })

  test('is different without a reconcile in this run', () => {
    expect(short(classify([[table('notes', [note()]), [note({ data: '{}' })]]]))).toEqual(['different'])
  })

  test('is kept newer where a column that no handler writes moved on after the replay made the row', () => {
    const rows = classify(
      [[table('notes', [note()]), [note({ like_count: '4' })]]],
      said('notes', note(), 'derived'),
    )
    expect(short(rows)).toEqual(['explained kept-newer'])
  })

  test.each([
    ['still holds its default', { like_count: '0' }],
    ['holds the time of the replay', { made_at: '2026-03-02 10:00:00+00' }],
    ['is generated', { sort_at: '2026-03-02 10:00:00+00' }],
    ['is one that a handler writes', { data: '{}' }],
  ])('is different where such a column %s', (_, changes: ExactRow) => {
    const rows = classify([[table('notes', [note()]), [note(changes)]]], said('notes', note(), 'derived'))
    expect(short(rows)).toEqual(['different'])
  })

  test('is trigger-kept only when all that differs is', () => {
    const triggerKept = new Set(['notes.like_count'])
    const now = (changes: ExactRow) =>
      short(classify([[table('notes', [note()]), [note(changes)]]], { triggerKept }))
    expect(now({ like_count: '9' })).toEqual(['explained trigger-kept'])
    expect(now({ like_count: '9', shown: 'false' })).toEqual(['different'])
  })
})

describe('a row that is not there', () => {
  test('is missing, with what the reconcile said', () => {
    const [row] = classify([[table('drafts', [draft()]), []]], said('drafts', draft(), 'blocked', 'no token'))
    expect(row).toMatchObject({ class: 'missing', reason: 'reconcile said blocked: no token' })
    expect(short(classify([[table('likes', [like()]), []]]))).toEqual(['missing'])
  })

  test("is withdrawn when its author's record is a tombstone, or the reconcile says so", () => {
    const likes: [SnapshotTable, ExactRow[]][] = [[table('likes', [like()]), []]]
    expect(short(classify(likes, { states: states([LIKE, 'bafy', true]) }))).toEqual(['explained withdrawn'])
    expect(short(classify(likes, said('likes', like(), 'withdrawn')))).toEqual(['explained withdrawn'])
  })

  test('is missing when it is of a lost record, tombstone or not: that is the incident', () => {
    const rows = classify([[table('notes', [note()]), []]], {
      records: lost,
      states: states([NOTE, 'bafynote', true]),
      ...said('notes', note(), 'withdrawn'),
    })
    expect(short(rows)).toEqual(['missing'])
  })

  test('says why its record was refused', () => {
    const records = new Map([
      [NOTE, { uri: NOTE, refusal: 'unencodable' as const, reason: 'paid text', originalCid: undefined }],
    ])
    const [row] = classify([[table('notes', [note()]), []]], { records })
    expect(row?.reason).toBe('its record is refused (unencodable): paid text')
    const blocked = classify([[table('notes', [note()]), []]], {
      records,
      ...said('notes', note(), 'blocked', 'no owner'),
    })
    expect(blocked[0]).toMatchObject({
      class: 'missing',
      reason: 'its record is refused (unencodable): paid text; reconcile said blocked: no owner',
    })
  })
})

describe('a row whose record could not be written', () => {
  const without = (refusal: Refusal): Partial<Evidence> => ({
    withoutRecord: new Map([[NOTE, { refusal, reason: 'no blob' }]]),
  })
  const notes = (now: ExactRow): [SnapshotTable, ExactRow[]][] => [[table('notes', [note()]), [now]]]

  test.each([
    ['blob-missing', 'blob-missing'],
    ['unencodable', 'record-refused'],
    ['too-large', 'record-refused'],
  ] as const)('refused as %s, is explained by %s while it equals the backup', (refusal, policy) => {
    const [row] = classify(notes(note()), without(refusal))
    expect(row).toMatchObject({
      class: 'explained',
      policy,
      reason: `rests on the backup alone: its record is refused (${refusal}): no blob`,
    })
    expect(row?.columns).toBeUndefined()
  })

  test('is different where it differs, and says so of what a trigger keeps', () => {
    expect(short(classify(notes(note({ data: '{}' })), without('blob-missing')))).toEqual(['different'])
    const [row] = classify(notes(note({ like_count: '9' })), {
      ...without('blob-missing'),
      triggerKept: new Set(['notes.like_count']),
    })
    expect(row).toMatchObject({ policy: 'trigger-kept', reason: expect.stringContaining('backup alone') })
  })

  test('says nothing of what hangs there', () => {
    const rows = classify([...notes(note()), [table('likes', [like()]), [like()]]], without('blob-missing'))
    expect(short(rows)).toEqual(['equal'])
  })
})

describe('a row more', () => {
  const LATER = 'at://did:plc:other/com.example.like/2'
  const later = like({ uri: LATER, made_at: '2026-02-20 10:00:00+00' })

  test('is newer when its record is current', () => {
    const rows = classify([[table('likes', [like()]), [like(), later]]], {
      states: states([LATER, 'bafy', false]),
    })
    expect(short(rows)).toEqual(['equal', 'explained newer-than-backup'])
  })

  test('is extra when its record was deleted', () => {
    const rows = classify([[table('likes', []), [later]]], { states: states([LATER, 'bafy', true]) })
    expect(short(rows)).toEqual(['extra'])
  })

  test('is extra when the same record made its rows before the backup', () => {
    const now = note()
    const rows = classify([[table('notes', []), [now]]], {
      records: lost,
      states: states([NOTE, 'bafynote', false]),
    })
    expect(short(rows)).toEqual(['extra'])
    const edited = classify([[table('notes', []), [now]]], {
      records: lost,
      states: states([NOTE, 'bafyother', false]),
    })
    expect(short(edited)).toEqual(['explained newer-than-backup'])
  })

  test('whose record the index does not know goes by its age', () => {
    expect(short(classify([[table('likes', [like()]), [like(), later]]])).at(-1)).toBe(
      'explained newer-than-backup',
    )
    const older = like({ uri: LATER, made_at: '2026-02-02 10:00:00.499999+00' })
    expect(short(classify([[table('likes', [like()]), [like(), older]]])).at(-1)).toBe('extra')
  })

  test('of a table that was empty goes by the age of the others, then of the extraction', () => {
    const old = like({ uri: LATER, made_at: '2026-01-20 10:00:00+00' })
    const notes: [SnapshotTable, ExactRow[]] = [table('notes', [note()]), [note()]]
    expect(short(classify([notes, [table('likes', []), [old]]]))).toEqual(['extra'])
    expect(short(classify([notes, [table('likes', []), [later]]]))).toEqual(['explained newer-than-backup'])
    expect(short(classify([[table('likes', []), [later]]]))).toEqual(['extra'])
  })

  test('that shows no age is as new as the row it hangs on', () => {
    const tag = (tag: string): ExactRow => ({ note: NOTE, tag })
    const now = (changed: ExactRow, changes: Partial<Evidence>) =>
      short(
        classify(
          [
            [table('notes', [note()]), [changed]],
            [table('tags', [tag('a')]), [tag('a'), tag('b')]],
          ],
          changes,
        ),
      )
    expect(now(note({ data: '{}' }), said('notes', note(), 'kept'))).toEqual([
      'equal',
      'explained newer-than-backup',
    ])
    expect(now(note(), {})).toEqual(['equal', 'extra'])
  })
})
