import { expect, test } from 'vitest'
import { catalogOf } from '../../../src/database/catalog.ts'
import type { Database } from '../../../src/database/client.ts'
import { DatabaseError, UnavailableError } from '../../../src/errors.ts'
import { TriggerWatch } from '../../../src/reconcile/trigger-watch.ts'

const column = (name: string, type: string, fallback: string | null = null) => ({
  name,
  type,
  nullable: false,
  default: fallback,
  generated: false,
  identity: null,
})
const catalog = catalogOf({
  instance: 'one',
  tables: [
    {
      name: 'plots',
      columns: [column('id', 'integer'), column('visits', 'integer', '0')],
      primaryKey: ['id'],
      uniqueKeys: [['id']],
      triggers: [],
    },
    {
      name: 'visits',
      columns: [column('id', 'integer'), column('plot', 'integer')],
      primaryKey: ['id'],
      uniqueKeys: [['id']],
      triggers: ['count_visit'],
    },
  ],
  foreignKeys: [
    {
      name: 'visits_plot',
      child: 'visits',
      childSchema: 'public',
      parent: 'plots',
      parentSchema: 'public',
      columns: ['plot'],
      parentColumns: ['id'],
      onDelete: 'cascade',
      deferrable: false,
    },
  ],
})
const visits = {
  table: 'visits',
  section: 'visits',
  columns: catalog.table('visits').columns,
  key: ['id'],
  rows: Array.from({ length: 60 }, (_, index) => ({ id: String(index), plot: '1' })),
}

/** A watch on a database that refuses to try out more than `bearable` rows; and how many it was asked to try. */
function watchOn(bearable: number, refusal: Error) {
  const asked: number[] = []
  const call: Database['call'] = async (_name, argument) => {
    const { rows } = argument as { rows: unknown[] }
    asked.push(rows.length)
    if (rows.length > bearable) throw refusal
    return { observed: [{ table: 'plots', column: 'visits' }], tried: rows.length }
  }
  const watch = new TriggerWatch({
    database: { call } as Database,
    catalog,
    tables: [visits],
    isThere: () => true,
  })
  return { asked, watch }
}

const timedOut = () => new UnavailableError('too slow', { hint: '', cause: { code: '57014' } })

test.each([
  ['takes too long', timedOut()],
  ['is refused', new DatabaseError('refused', { code: 'SUP' })],
])('what %s with many rows is tried with fewer', async (_, refusal) => {
  const { asked, watch } = watchOn(3, refusal)
  await watch.lookInto('plots', new Set(['visits']))
  expect(asked).toEqual([50, 12, 3])
  expect(watch.keeps('plots', 'visits')).toBe(true)
  expect(watch.isUnknown('plots', 'visits')).toBe(false)
})

test('what cannot be tried at all stays unknown, and ends nothing', async () => {
  const { asked, watch } = watchOn(0, timedOut())
  await watch.lookInto('plots', new Set(['visits']))
  expect(asked).toEqual([50, 12, 3])
  expect(watch.keeps('plots', 'visits')).toBe(false)
  expect(watch.isUnknown('plots', 'visits')).toBe(true)
})

test('a database that is away is no reason to know less', async () => {
  const { watch } = watchOn(0, new TypeError('a fault of ours'))
  await expect(watch.lookInto('plots', new Set(['visits']))).rejects.toThrow('a fault of ours')
})
