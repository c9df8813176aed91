import { expect, test } from 'vitest'
import { SNAPSHOT_FORMAT, type Snapshot } from '../../../src/backup/snapshot.ts'
import { createMask } from '../../../src/report/mask.ts'
import { maskedReconcile } from '../../../src/restore/masked-reconcile.ts'

const TOKEN = '11111111-1111-4111-8111-111111111111'
const column = (name: string) => ({ name, type: 'text', generated: false })
const SNAPSHOT: Snapshot = {
  did: 'did:plc:author',
  meta: { format: SNAPSHOT_FORMAT, extractedAt: '', from: '', appview: 'drafts' },
  tables: [
    {
      table: 'drafts',
      section: 'drafts',
      key: ['token', 'post'],
      columns: ['token', 'post', 'email'].map(column),
      rows: [{ token: TOKEN, post: 'p', email: 'me@example' }],
    },
  ],
  parents: [],
}
const mask = createMask({ sensitiveColumns: ['drafts.token', 'drafts.email'] })

test('rows are told without the keys and values that nobody else may know', () => {
  const id = JSON.stringify([TOKEN, 'p'])
  const reason = `held by drafts {"token": "${TOKEN}"}`
  const result = {
    did: SNAPSHOT.did,
    tables: [{ table: 'drafts', rows: [{ id, outcome: 'conflict', reason }] }],
    overwritten: [{ table: 'drafts', id, columns: ['email'], old: { email: 'now@example' } }],
  }
  const shown = maskedReconcile(result, SNAPSHOT, mask)
  const hash = mask.value('drafts', 'token', TOKEN)
  expect(JSON.stringify(shown)).not.toMatch(/11111111-|@example/)
  expect(shown).toMatchObject({
    did: SNAPSHOT.did,
    tables: [{ table: 'drafts', rows: [{ id: JSON.stringify([hash, 'p']), outcome: 'conflict' }] }],
    overwritten: [{ id: JSON.stringify([hash, 'p']), columns: ['email'] }],
  })
  expect(result.tables[0]?.rows[0]?.id).toBe(id)
})
