import { describe, expect, test } from 'vitest'
import { createMask } from '../../../src/report/mask.ts'
import { exitCodeOf, failureOf, type Report, reportSchema, verdictOf } from '../../../src/report/report.ts'
import { MAX_LISTED_ROWS, tableReport } from '../../../src/report/row-entries.ts'
import { renderReport } from '../../../src/report/terminal.ts'
import { appview, like, NOTE, note, table } from './small-world.ts'

function report(changes: Partial<Report> = {}): Report {
  const judged: Report = {
    format: 1,
    did: 'did:plc:author',
    verdict: 'complete',
    generatedAt: '2026-03-01T00:00:00.000Z',
    backup: 'backup.example',
    production: 'production.example',
    roots: 1,
    tables: [{ table: 'notes', ...counts, expected: 1, equal: 1 }],
    records: {
      expected: 1,
      equal: 1,
      explained: 0,
      different: 0,
      missing: 0,
      identicalCid: 1,
      proven: 1,
      selfConsistent: 0,
      items: [
        { uri: NOTE, class: 'equal', cid: 'bafy', repoCid: 'bafy', indexedCid: 'bafy', proof: 'proven' },
      ],
    },
    untouched: {
      tables: [{ table: 'tokens', expected: 1, equal: 1, changed: 0, missing: 0, rows: [], rowsOmitted: 0 }],
      sinceStart: 'same',
      changedTables: [],
    },
    unverified: 0,
    notes: [],
    ...changes,
  }
  return { ...judged, verdict: verdictOf(judged) }
}
const counts = {
  expected: 0,
  equal: 0,
  explained: 0,
  different: 0,
  missing: 0,
  extra: 0,
  policies: {},
  rows: [],
  rowsOmitted: 0,
}
const one = (
  kind: 'missing' | 'different' | 'extra',
  id = '["x"]',
  reason = '',
): Report['tables'][number] => ({
  ...counts,
  table: 'likes',
  expected: kind === 'extra' ? 0 : 1,
  [kind]: 1,
  rows: [{ id, class: kind, reason }],
})
const tokens = { table: 'tokens', expected: 1, equal: 0, changed: 0, missing: 0, rows: [], rowsOmitted: 0 }

describe('the verdict', () => {
  test('is complete when everything is equal or explained', () => {
    const explained: Report['tables'][number] = {
      ...counts,
      table: 'likes',
      expected: 1,
      explained: 1,
      policies: { withdrawn: 1, 'newer-than-backup': 1 },
      rows: [
        { id: '["a"]', class: 'explained', policy: 'withdrawn' },
        { id: '["b"]', class: 'explained', policy: 'newer-than-backup' },
      ],
    }
    const untouched = { ...report().untouched, tables: [{ ...tokens, changed: 1 }] }
    expect(report({ tables: [explained], untouched }).verdict).toBe('complete')
    expect(exitCodeOf('complete')).toBe(0)
  })

  test.each<[string, Partial<Report>]>([
    ['a row is missing', { tables: [one('missing')] }],
    ['a row is different', { tables: [one('different')] }],
    ['a row is extra', { tables: [one('extra')] }],
    ['a record is missing', { records: { ...report().records, equal: 0, missing: 1 } }],
    ['a record is different', { records: { ...report().records, equal: 0, different: 1 } }],
    [
      'a row is gone that a restore never writes',
      { untouched: { ...report().untouched, tables: [{ ...tokens, missing: 1 }] } },
    ],
    [
      'what must stay untouched changed',
      { untouched: { tables: [], sinceStart: 'changed', changedTables: ['tokens'] } },
    ],
  ])('is incomplete when %s', (_, changes) => {
    expect(report(changes).verdict).toBe('incomplete')
    expect(exitCodeOf('incomplete')).toBe(1)
  })

  test.each<[string, Partial<Report>]>([
    ['there were no records', { roots: 0 }],
    ['a table does not add up', { tables: [{ ...counts, table: 'likes', expected: 2, equal: 1 }] }],
    ['a policy does not add up', { tables: [{ ...counts, table: 'likes', expected: 1, explained: 1 }] }],
    ['a row is in no list', { tables: [{ ...one('missing'), rows: [] }] }],
    ['the records do not add up', { records: { ...report().records, equal: 0 } }],
    ['fewer records were compared than the snapshot holds', { roots: 2 }],
    ['the untouched do not add up', { untouched: { ...report().untouched, tables: [tokens] } }],
  ])('is failed when %s', (_, changes) => {
    const failed = report(changes)
    expect(failed.verdict).toBe('failed')
    expect(failureOf(failed)).toBeDefined()
    expect(exitCodeOf('failed')).toBe(3)
  })
})

test('the JSON is what the schema says, and nothing more', () => {
  const value: unknown = JSON.parse(JSON.stringify(report()))
  expect(reportSchema.parse(value)).toEqual(report())
  expect(reportSchema.safeParse({ ...report(), more: 1 }).success).toBe(false)
  expect(reportSchema.safeParse({ ...report(), verdict: 'fine' }).success).toBe(false)
})

test("a table's part adds up, keeps what counts when it cuts, and counts newer rows under their policy only", () => {
  const uri = (index: number) => `at://did:plc:r/com.example.like/${index}`
  const rows = Array.from({ length: 300 }, (_, index) => like({ uri: uri(index) }))
  const part = tableReport(
    table('likes', rows),
    [
      ...rows.map((backup, index) =>
        index === 299
          ? ({ class: 'missing', backup, production: undefined } as const)
          : ({
              class: 'explained',
              policy: 'kept-newer',
              columns: ['note'],
              backup,
              production: like({ note: 'x' }),
            } as const),
      ),
      { class: 'explained', policy: 'newer-than-backup', backup: undefined, production: like() },
      { class: 'extra', backup: undefined, production: like({ uri: 'at://x' }) },
    ],
    createMask(appview),
  )
  expect(part).toMatchObject({
    expected: 300,
    equal: 0,
    explained: 299,
    different: 0,
    missing: 1,
    extra: 1,
    policies: { 'kept-newer': 299, 'newer-than-backup': 1 },
    rowsOmitted: 102,
  })
  expect(part.rows).toHaveLength(MAX_LISTED_ROWS)
  expect(part.rows.slice(0, 3).map((row) => row.class)).toEqual(['missing', 'extra', 'explained'])
  expect(part.rows[2]?.columns).toEqual([{ name: 'note', backup: NOTE, production: 'x' }])
  expect(failureOf(report({ tables: [part] }))).toBeUndefined()
})

describe('in a terminal', () => {
  const width = (text: string) => Math.max(...text.split('\n').map((line) => line.length))
  const escapeCode = String.fromCharCode(27)
  const many = Array.from({ length: 30 }, (_, index) => ({
    ...one(
      'missing',
      `["at://did:plc:${'a'.repeat(24)}/site.standard.document/${index}", "${'t'.repeat(90)}"]`,
      'because it is so',
    ),
    table:
      index === 0
        ? 'a_table_with_a_name_that_is_longer_than_a_line_has_room_for'
        : `documents_in_publications${index}`,
  }))

  test('fits 80 columns without colour codes, and the verdict comes last', () => {
    const text = renderReport(report({ tables: many, unverified: 3, notes: ['n'.repeat(100)] }), {
      color: false,
    })
    expect(width(text)).toBeLessThanOrEqual(80)
    expect(text).not.toContain(escapeCode)
    expect(text.indexOf('What is not as it was')).toBeLessThan(text.indexOf('expected'))
    expect(text).toContain('and 10 more')
    expect(text.trimEnd().split('\n').at(-1)).toMatch(/different\.$/)
    expect(text).toContain('INCOMPLETE: rows: 30 missing')
  })

  test('shows the numbers in their columns', () => {
    const lines = renderReport(report(), { color: false }).split('\n')
    const head = lines.findIndex((line) => line.startsWith('table'))
    expect(lines[head]).toBe('table     expected  equal  explained  different  missing  extra')
    expect(lines[head + 1]).toBe('notes            1      1          0          0        0      0')
    expect(lines.join('\n')).toContain('COMPLETE: 1 rows and 1 records are back as they were.')
  })

  test('is coloured only when asked', () => {
    expect(renderReport(report(), { color: true })).toContain(`${escapeCode}[32mCOMPLETE`)
  })

  test('escapes what records and rows could do to a terminal', () => {
    const hostile = `${escapeCode}[2J\u202Eevil\r\n\u2028`
    const text = renderReport(report({ tables: [one('missing', hostile, hostile)], notes: [hostile] }), {
      color: false,
    })
    expect(text).toContain('\\u{1b}[2J\\u{202e}evil\\u{d}\\u{a}\\u{2028}')
    expect(/[\p{Cf}\p{Zl}]|\r/u.test(text)).toBe(false)
    expect(text).not.toContain(escapeCode)
  })

  test('says why it failed', () => {
    expect(renderReport(report({ roots: 0 }), { color: false })).toContain('FAILED: nothing was shown')
  })
})

test('equal rows are counted, not listed', () => {
  const part = tableReport(
    table('notes', [note()]),
    [{ class: 'equal', backup: note(), production: note() }],
    createMask(appview),
  )
  expect(part).toMatchObject({ expected: 1, equal: 1, rows: [], rowsOmitted: 0 })
})
