import { describe, expect, test } from 'vitest'
import { type Database, openDatabase } from '../../../src/database/client.ts'
import { type ExactRow, readPages } from '../../../src/database/exact.ts'

interface Server {
  /** What the first page counts, and what is counted after the last one; the same where none is given. */
  counts: number[]
  /** Rows as long as this. */
  rowChars?: number
  /** Rows that one answer holds at most. */
  limit?: number
  rowCount: number
}

/** A table of numbered rows behind an API that cuts and counts as it is told. */
async function read(server: Server): Promise<{ rows: ExactRow[]; sizes: number[] }> {
  const sizes: number[] = []
  const answer = (url: URL, { method, headers }: RequestInit): Response => {
    if (method === 'HEAD') {
      return new Response(null, { headers: { 'content-range': `*/${server.counts[1] ?? server.counts[0]}` } })
    }
    const asked = Number(url.searchParams.get('limit'))
    sizes.push(asked)
    const last = Number(url.searchParams.get('id')?.replace('gt.', '') ?? 0)
    const length = Math.min(asked, server.limit ?? asked, server.rowCount - last)
    const rows = Array.from({ length }, (_, i) => ({
      c0: `${last + i + 1}`,
      c1: 'x'.repeat(server.rowChars ?? 1),
    }))
    const counted = new Headers(headers).get('prefer')?.includes('count=exact')
    return Response.json(rows, { headers: { 'content-range': `0-9/${counted ? server.counts[0] : '*'}` } })
  }
  const rows: ExactRow[] = []
  const table = { table: 't', columns: ['id', 'text'], key: ['id'] }
  for await (const page of readPages(databaseWith(answer), table)) rows.push(...page)
  return { rows, sizes }
}

function databaseWith(answer: (url: URL, init: RequestInit) => Response): Database {
  const database = openDatabase({ url: 'http://127.0.0.1:9', serviceKey: 'sb_secret_x', label: 'backup' })
  const rest: { fetch: typeof fetch } = Object(database.client).rest
  rest.fetch = async (url, init) => answer(new URL(`${url}`), init ?? {})
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
    ['a row comes meanwhile', { rowCount: 151, counts: [150, 151] }],
    ['a row comes where the pages have been', { rowCount: 150, counts: [150, 151] }],
    ['a row goes meanwhile', { rowCount: 149, counts: [150, 149] }],
    ['one comes and is seen by neither count', { rowCount: 151, counts: [150] }],
    ['a limit cuts answers and there is no more', { rowCount: 100, counts: [150] }],
    ['the first page alone has more than there are', { rowCount: 11, counts: [10] }],
    ['rows are counted and none is given', { rowCount: 0, counts: [3] }],
    ['rows are given that are not counted', { rowCount: 3, counts: [0] }],
  ])('are refused when %s', async (_, server) => {
    await expect(read(server)).rejects.toMatchObject({ code: 'COUNT', table: 't' })
  })
})
