import { describe, expect, test } from 'vitest'
import { type Database, openDatabase } from '../../../src/database/client.ts'
import { type ExactRow, readPages } from '../../../src/database/exact.ts'

interface Server {
  /** What each count answers, one after the other; the last one stays. */
  counts: number[]
  /** Rows as long as this. */
  rowChars?: number
  /** Rows that one answer holds at most. */
  limit?: number
  rowCount: number
}

/** A table of numbered rows behind an API that cuts and counts as it is told. */
async function read(server: Server): Promise<{ rows: ExactRow[]; sizes: number[] }> {
  const counts = [...server.counts]
  const sizes: number[] = []
  const answer = (url: URL, method: string): Response => {
    if (method === 'HEAD') {
      const count = counts.length > 1 ? counts.shift() : counts[0]
      return new Response(null, { headers: { 'content-range': `*/${count}` } })
    }
    const asked = Number(url.searchParams.get('limit'))
    sizes.push(asked)
    const last = Number(url.searchParams.get('id')?.replace('gt.', '') ?? 0)
    const length = Math.min(asked, server.limit ?? asked, server.rowCount - last)
    const rows = Array.from({ length }, (_, i) => ({
      c0: `${last + i + 1}`,
      c1: 'x'.repeat(server.rowChars ?? 1),
    }))
    return Response.json(rows)
  }
  const rows: ExactRow[] = []
  const table = { table: 't', columns: ['id', 'text'], key: ['id'] }
  for await (const page of readPages(databaseWith(answer), table)) rows.push(...page)
  return { rows, sizes }
}

function databaseWith(answer: (url: URL, method: string) => Response): Database {
  const database = openDatabase({ url: 'http://127.0.0.1:9', serviceKey: 'sb_secret_x', label: 'backup' })
  const rest: { fetch: typeof fetch } = Object(database.client).rest
  rest.fetch = async (url, init) => answer(new URL(`${url}`), init?.method ?? 'GET')
  return database
}

describe('pages', () => {
  test('give every row once, in order', async () => {
    const { rows, sizes } = await read({ rowCount: 2500, counts: [2500] })
    expect(rows.map(({ id }) => Number(id))).toEqual(Array.from({ length: 2500 }, (_, i) => i + 1))
    expect(sizes).toEqual([100, 1000, 1000, 1000])
  })

  test('that the server cuts short are gone on from', async () => {
    const { rows } = await read({ rowCount: 300, counts: [300], limit: 70 })
    expect(rows).toHaveLength(300)
  })

  test('of wide rows are short ones', async () => {
    const { rows, sizes } = await read({ rowCount: 160, counts: [160], rowChars: 100_000 })
    expect(rows).toHaveLength(160)
    expect(sizes.slice(1).every((size) => size < 25)).toBe(true)
  })

  test('of nothing are none', async () => {
    expect((await read({ rowCount: 0, counts: [0] })).rows).toEqual([])
  })

  test.each<[string, Server]>([
    ['a row comes meanwhile', { rowCount: 11, counts: [10, 11] }],
    ['a row goes meanwhile', { rowCount: 9, counts: [10, 9] }],
    ['one comes and is seen by neither count', { rowCount: 11, counts: [10, 10] }],
    ['a limit cuts answers and there is no more', { rowCount: 100, counts: [150] }],
    ['rows are counted and none is given', { rowCount: 0, counts: [3] }],
    ['rows are given that are not counted', { rowCount: 3, counts: [0] }],
  ])('are refused when %s', async (_, server) => {
    await expect(read(server)).rejects.toMatchObject({ code: 'COUNT', table: 't' })
  })
})
