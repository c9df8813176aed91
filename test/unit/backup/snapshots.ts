import type { Snapshot } from '../../../src/backup/snapshot.ts'

const text = (name: string) => ({ name, type: 'text', generated: false })

/** A small snapshot with a table of every kind: root, section, none of its own, empty, parent. */
export const SNAPSHOT: Snapshot = {
  did: 'did:plc:alice',
  tables: [
    {
      table: 'documents',
      section: 'documents',
      columns: [
        text('uri'),
        { name: 'data', type: 'jsonb', generated: false },
        { name: 'sort_date', type: 'timestamp with time zone', generated: true },
      ],
      key: ['uri'],
      rows: [
        { uri: 'at://did:plc:alice/d/1', data: '{"n": 123456789012345678901.10}', sort_date: null },
        { uri: 'at://did:plc:alice/d/2', data: '"ü 🙂 \\" \\n"', sort_date: '2026-02-14 08:00:00.000001+00' },
      ],
    },
    {
      table: 'comments_on_documents',
      section: 'comments',
      columns: [text('uri')],
      key: ['uri'],
      rows: [],
    },
    {
      table: 'document_tags',
      section: 'otherTables.document_tags',
      columns: [text('uri'), text('tag')],
      key: ['uri', 'tag'],
      rows: [{ uri: 'at://did:plc:alice/d/1', tag: '' }],
    },
  ],
  parents: [
    {
      table: 'identities',
      section: 'parents.identities',
      columns: [text('id'), text('email')],
      key: ['id'],
      rows: [{ id: '1', email: 'secret@example.com' }],
    },
  ],
  meta: {
    format: 2,
    extractedAt: '2026-09-01T00:00:00.000Z',
    from: 'backup.example:443',
    appview: 'leaflet',
    emptySections: ['documentMentions'],
    lacking: [{ table: 'publication_pages' }, { table: 'documents', columns: ['indexed'] }],
    dropped: [],
  },
}
