import type { Report, ReportRecord, ReportTable } from '../../src/report/report.ts'
import { verdictOf } from '../../src/report/report.ts'

/** What a record or a row may hold: markup, a script's end, a URL that runs, controls that turn text around. */
export const HOSTILE =
  '</script><script>pwned = 1</script><img src=x onerror="pwned = 2">\u202Ejavascript:pwned=3\u202C" onload="pwned=4'

const NO_ROWS: Omit<ReportTable, 'table'> = {
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

/** A report of a small restore. @param text of titles, reasons and names, where they can be anything */
export function sampleReport(
  verdict: Report['verdict'],
  recordCount = 3,
  text = 'the database refused it',
): Report {
  const isIncomplete = verdict === 'incomplete'
  const items = Array.from({ length: recordCount }, (_, index): ReportRecord => {
    const uri = `at://did:plc:author/site.standard.document/record-${index}${text === HOSTILE ? HOSTILE : ''}`
    if (isIncomplete && index === 0) return { uri, class: 'missing', refusal: 'conflict', reason: text }
    const cid = `bafyreib${index}`
    return { uri, class: 'equal', cid, originalCid: cid, repoCid: cid, indexedCid: cid, proof: 'proven' }
  })
  const lost = isIncomplete ? 1 : 0
  const equal = recordCount - lost
  const judged: Omit<Report, 'verdict'> = {
    format: 1,
    did: 'did:plc:author',
    generatedAt: '2026-03-01T00:00:00.000Z',
    backup: 'backup.example',
    production: 'production.example',
    roots: verdict === 'failed' ? 0 : recordCount,
    tables: [
      { ...NO_ROWS, table: 'documents', expected: 4, equal: 4 },
      {
        ...NO_ROWS,
        table: 'comments',
        expected: 8,
        equal: 7 - lost,
        explained: 1,
        missing: lost,
        policies: { 'kept-newer': 1 },
        rows: [
          { id: '["a"]', class: 'explained', policy: 'kept-newer' },
          ...(isIncomplete ? [{ id: `["${text}"]`, class: 'missing' as const, reason: text }] : []),
        ],
      },
    ],
    records: {
      expected: recordCount,
      equal,
      explained: 0,
      different: 0,
      missing: lost,
      identicalCid: equal,
      proven: equal,
      selfConsistent: 0,
      items,
    },
    untouched: {
      tables: [
        { table: 'identities', expected: 2, equal: 2, changed: 0, missing: 0, rows: [], rowsOmitted: 0 },
      ],
      sinceStart: 'same',
      changedTables: [],
    },
    unverified: 0,
    notes: [`Note that ${text}.`],
    run: {
      startedAt: '2026-03-01T00:00:00.000Z',
      phases: [
        { phase: 'extract', startedAt: '2026-03-01T00:00:00.000Z', seconds: 0.5 },
        { phase: 'write', startedAt: '2026-03-01T00:00:00.500Z', seconds: 90 },
      ],
      tables: [
        { table: 'documents', atStart: 1, outcomes: { derived: 4 } },
        { table: 'comments', atStart: 0, outcomes: { restored: 7, filled: 1 } },
      ],
    },
  }
  return { ...judged, verdict: verdict === 'failed' ? 'failed' : verdictOf(judged) }
}
