import { mkdtemp, readdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { fileLogs, memoryLogs, type RowLogs, type Values } from '../../src/backup/row-log.ts'
import { SnapshotError } from '../../src/errors.ts'

let folder: string

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'row-log-test-'))
})
afterAll(() => rm(folder, { recursive: true, force: true }))

const ROWS: Values[] = Array.from({ length: 3000 }, (_, i) => [
  `${i}`,
  i % 3 === 0 ? null : `ü\n"🙂${'x'.repeat(i % 200)}`,
  // Longer than what is read at a time.
  i % 1000 === 7 ? 'long '.repeat(100_000) : '',
])

test.each<[string, () => RowLogs]>([
  ['in memory', memoryLogs],
  ['on disk', () => fileLogs(join(folder, 'logs'))],
])('rows kept %s come back in their order, also from the middle and while more come', (_, open) => {
  const logs = open()
  try {
    const log = logs.open()
    const other = logs.open()
    for (const row of ROWS.slice(0, 1500)) log.append(row)
    other.append(['other'])
    const middle = log.end
    for (const row of ROWS.slice(1500)) log.append(row)
    const { end } = log
    const read: Values[] = []
    for (const row of log.read(middle, end)) {
      read.push(row)
      log.append(['later'])
    }
    expect(read).toEqual(ROWS.slice(1500))
    expect([...log.read(0, end)]).toEqual(ROWS)
    expect(log).toHaveLength(4500)
    expect([...other.read(0, other.end)]).toEqual([['other']])
  } finally {
    logs.close()
  }
})

test('nothing is left of them, and a folder that cannot be had is said', async () => {
  const logs = fileLogs(join(folder, 'logs'))
  logs.open().append(['x'])
  expect(await readdir(join(folder, 'logs'))).toEqual([])
  logs.close()
  expect(() => fileLogs('/dev/null/nowhere').open()).toThrow(SnapshotError)
})
