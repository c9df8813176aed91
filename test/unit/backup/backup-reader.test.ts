import { describe, expect, test } from 'vitest'
import { allRows, type BackupReader, openBackupReader } from '../../../src/backup/backup-reader.ts'
import { catalogOf } from '../../../src/database/catalog.ts'
import { openDatabase } from '../../../src/database/client.ts'
import { ConfigError } from '../../../src/errors.ts'

const column = (name: string, type: string) => ({
  name,
  type,
  nullable: name !== 'id',
  default: null,
  generated: false,
  identity: null,
})
const CATALOG = catalogOf({
  instance: 'here',
  tables: [
    {
      name: 'notes',
      columns: [column('id', 'text'), column('day', 'date')],
      primaryKey: ['id'],
      uniqueKeys: [['id']],
      triggers: [],
    },
  ],
  foreignKeys: [],
})

/** Of a backup that answers each list of ids with what `rowsOf` makes of them, the first ones last; or refuses it. */
function reader(rowsOf: (ids: string[]) => Record<string, string>[] | undefined): BackupReader {
  const database = openDatabase({ url: 'http://127.0.0.1:9', serviceKey: 'sb_secret_x', label: 'backup' })
  const rest: { fetch: typeof fetch } = Object(database.client).rest
  let asked = 0
  rest.fetch = async (url) => {
    const list = /^in\.\((.*)\)$/.exec(new URL(`${url}`).searchParams.get('id') ?? '')?.[1]
    if (list === undefined) return Response.json([])
    const turns = 10 - asked++
    for (let turn = 0; turn < turns; turn++) await new Promise(setImmediate)
    const rows = rowsOf(list.split(',').map((id) => id.slice(1, -1)))
    if (rows === undefined) return Response.json({ code: '22P02', message: 'no' }, { status: 400 })
    return Response.json(rows, { headers: { 'content-range': `0-9/${rows.length}` } })
  }
  return openBackupReader(database, CATALOG)
}

const IDS = Array.from({ length: 60 }, (_, i) => [`${i}`.padStart(900, '0')])
const sameDay = (ids: string[]) => ids.map((id) => ({ c0: id, c1: '2026-01-02' }))

describe('rows by key', () => {
  test('come in the order that was asked for, whichever answer is first', async () => {
    const rows = await allRows(reader(sameDay).readByKeys('notes', ['id'], IDS))
    expect(rows.map(({ id }) => [id])).toEqual(IDS)
  })

  test('are refused when any of them cannot be read', async () => {
    const broken = reader((ids) => (ids.includes(IDS[10]?.[0] ?? '') ? undefined : sameDay(ids)))
    await expect(allRows(broken.readByKeys('notes', ['id'], IDS))).rejects.toThrow('22P02')
  })

  test.each(['01/02/2026', '02.01.2026', '02-01-2026'])('are refused with a date like %s', async (day) => {
    const odd = reader((ids) => ids.map((id) => ({ c0: id, c1: day })))
    await expect(allRows(odd.readByKeys('notes', ['id'], IDS))).rejects.toThrow(ConfigError)
    await expect(allRows(odd.readByKeys('notes', ['id'], IDS))).rejects.toThrow('"notes.day"')
  })

  test.each(['2026-01-02', '0044-03-15 BC', '294276-12-31', 'infinity', '-infinity'])(
    'may have a date like %s',
    async (day) => {
      const rows = await allRows(
        reader((ids) => ids.map((id) => ({ c0: id, c1: day }))).readByKeys('notes', ['id'], IDS),
      )
      expect(rows).toHaveLength(IDS.length)
    },
  )
})
