import { describe, expect, test } from 'vitest'
import { bytesSource } from '../../../src/backup/json-places.ts'
import { parseSnapshot } from '../../../src/backup/parse-snapshot.ts'
import type { Snapshot, SnapshotTable } from '../../../src/backup/snapshot.ts'
import { snapshotText } from '../../../src/backup/snapshot-text.ts'
import { SnapshotError } from '../../../src/errors.ts'
import { SNAPSHOT } from './snapshots.ts'

type FileRow = Record<string, unknown>
/** The file as a person with an editor sees it. */
interface File {
  [section: string]: unknown
  did: string
  documents: FileRow[]
  otherTables: Record<string, FileRow[]>
  parents: Record<string, FileRow[]>
  meta: {
    format: number
    extractedAt: string
    from: string
    emptySections: string[]
    lacking: { table: string }[]
    tables: { count: number; columns: { type: string }[]; key: string[] }[]
  }
}

function textOf(snapshot: Snapshot): string {
  return [...snapshotText(snapshot)].join('')
}

/** Whole, as arrays. */
function read(text: string): Snapshot {
  const snapshot = parseSnapshot(bytesSource(Buffer.from(text)))
  const held = (table: SnapshotTable): SnapshotTable => ({ ...table, rows: [...table.rows] })
  return { ...snapshot, tables: snapshot.tables.map(held), parents: snapshot.parents.map(held) }
}

function edited(edit: (file: File) => void): string {
  const file = JSON.parse(textOf(SNAPSHOT)) as File
  edit(file)
  return JSON.stringify(file)
}

function fault(text: string): SnapshotError {
  try {
    parseSnapshot(bytesSource(Buffer.from(text)))
  } catch (error) {
    if (error instanceof SnapshotError) return error
    throw error
  }
  throw new Error('The snapshot was taken for a good one.')
}

const first = <T>(items: readonly T[]): T => {
  const [item] = items
  if (item === undefined) throw new Error('There is no first one.')
  return item
}

describe('the file', () => {
  test('comes back as it was', () => {
    expect(read(textOf(SNAPSHOT))).toEqual(SNAPSHOT)
  })

  test("has the restoration plan's shape, one row to a line, and meta last", () => {
    const text = textOf(SNAPSHOT)
    const file = JSON.parse(text)
    expect(Object.keys(file)).toEqual([
      'did',
      'documents',
      'comments',
      'documentMentions',
      'otherTables',
      'parents',
      'meta',
    ])
    expect(file).toMatchObject({
      did: 'did:plc:alice',
      documents: SNAPSHOT.tables[0]?.rows,
      comments: [],
      documentMentions: [],
      otherTables: { document_tags: [{ uri: 'at://did:plc:alice/d/1', tag: '' }] },
      parents: { identities: [{ id: '1', email: 'secret@example.com' }] },
    })
    expect(file.meta.tables[0]).toMatchObject({ table: 'documents', section: 'documents', count: 2 })
    expect(text.split('\n').filter((line) => line.includes('did:plc:alice/d/2'))).toHaveLength(1)
  })

  test('may be laid out anew: what it says is the same', () => {
    expect(read(JSON.stringify(JSON.parse(textOf(SNAPSHOT)), null, 4))).toEqual(SNAPSHOT)
  })

  test('without any table is one too', () => {
    const empty: Snapshot = { ...SNAPSHOT, tables: [], parents: [] }
    expect(read(textOf(empty))).toEqual(empty)
  })
})

describe('a fault', () => {
  test('cut short anywhere', () => {
    const text = textOf(SNAPSHOT).trimEnd()
    for (let length = 0; length < text.length; length++) {
      const { message, hint } = fault(text.slice(0, length))
      expect(message).toContain('cut short')
      expect(hint).toBe('Run extract again.')
    }
  })

  test('another JSON file', () => {
    for (const text of ['[]', 'null', '{}', '{"did":"did:plc:alice","publications":[]}', '{"meta":{}}']) {
      expect(fault(text).message).toContain('no snapshot')
    }
  })

  test('another format version: both are named', () => {
    const { message } = fault(
      edited((file) => {
        file.meta.format = 7
      }),
    )
    expect(message).toContain('version 7')
    expect(message).toContain('version 2')
  })

  const edits: Record<string, (file: File) => void> = {
    'a value': (file) => {
      first(file.documents).data = '{}'
    },
    'a value to NULL': (file) => {
      first(file.documents).data = null
    },
    'a parent': (file) => {
      first(file.parents.identities ?? []).email = 'other@example.com'
    },
    'a row of a table without a section': (file) => {
      first(file.otherTables.document_tags ?? []).tag = 'cats'
    },
    'the order of rows': (file) => {
      file.documents.reverse()
    },
    'the account': (file) => {
      file.did = 'did:plc:bob'
    },
    'when it was taken': (file) => {
      file.meta.extractedAt = '2026-09-02T00:00:00.000Z'
    },
    'what it lacks': (file) => {
      file.meta.lacking = []
    },
    'where it was taken': (file) => {
      file.meta.from = 'other.example'
    },
    "a column's type": (file) => {
      first(first(file.meta.tables).columns).type = 'uuid'
    },
    'a key': (file) => {
      first(file.meta.tables).key = ['data']
    },
    'a row with its count': (file) => {
      file.documents.pop()
      first(file.meta.tables).count = 1
    },
  }
  test.each(Object.entries(edits))('edited by hand: %s', (_, edit) => {
    const { message, hint } = fault(edited(edit))
    expect(message).toContain('digest')
    expect(hint).toContain('Run extract again.')
  })

  test('a row more or fewer than counted', () => {
    expect(fault(edited((file) => file.documents.pop())).message).toBe(
      'The snapshot lists 2 rows in "documents" but holds 1.',
    )
    expect(
      fault(
        edited((file) => {
          file.parents = {}
        }),
      ).message,
    ).toContain('"parents.identities" but holds no such section')
  })

  test('a row with other columns', () => {
    const { message } = fault(
      edited((file) => {
        file.documents[1] = { uri: 'at://did:plc:alice/d/2', data: '{}', mood: 'fine' }
      }),
    )
    expect(message).toContain('Row 2 of "documents"')
    expect(message).toContain('unexpected "mood", missing "sort_date"')
  })

  test('rows that meta does not list', () => {
    const additions: ((file: File) => void)[] = [
      (file) => {
        file.extra = []
      },
      (file) => {
        file.otherTables.extra = []
      },
      (file) => {
        file.parents.extra = []
      },
    ]
    for (const add of additions) expect(fault(edited(add)).message).toContain('does not account for "extra"')
    const filled = edited((file) => {
      file.documentMentions = [{ uri: 'x' }]
    })
    expect(fault(filled).message).toContain('does not account for "documentMentions"')
  })

  test('values that are no text: the place is named and the value is not', () => {
    const { message } = fault(
      edited((file) => {
        first(file.documents).data = { hidden: 'capability' }
      }),
    )
    expect(message).toContain('documents.0.data')
    expect(message).not.toContain('capability')
  })
})
