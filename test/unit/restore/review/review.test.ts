import { chmod, mkdtemp, readFile, rm, stat } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { ConfigError } from '../../../../src/errors.ts'
import { csvLines } from '../../../../src/restore/review/csv.ts'
import type { ReviewedRow } from '../../../../src/restore/review/reviewed-row.ts'
import { statementOf } from '../../../../src/restore/review/statement.ts'
import { writeReview } from '../../../../src/restore/review/write-review.ts'

const inserted: ReviewedRow = {
  table: 'plantingCrops',
  key: { uri: 'at://x', Crop: "lamb's" },
  values: { uri: 'at://x', Crop: "lamb's", note: null, remark: '' },
}
const changed: ReviewedRow = {
  table: 'docs',
  key: { uri: 'at://x' },
  values: { title: '=HYPERLINK("http://evil")', seen: '2025-01-01 00:00:00.123456+00' },
  now: { title: 'two\nlines', seen: null },
  reason: 'emptied\nby the incident',
}

test('a CSV line for each value; NULL is not an empty text', () => {
  expect(csvLines(inserted)).toEqual([
    `plantingCrops,"{""uri"":""at://x"",""Crop"":""lamb's""}",insert,uri,,at://x,`,
    `plantingCrops,"{""uri"":""at://x"",""Crop"":""lamb's""}",insert,Crop,,lamb's,`,
    `plantingCrops,"{""uri"":""at://x"",""Crop"":""lamb's""}",insert,note,,,`,
    `plantingCrops,"{""uri"":""at://x"",""Crop"":""lamb's""}",insert,remark,,"",`,
  ])
})

test('a title never becomes a formula', () => {
  expect(csvLines(changed)[0]).toBe(
    `docs,"{""uri"":""at://x""}",set,title,"two\nlines","'=HYPERLINK(""http://evil"")","emptied\nby the incident"`,
  )
})

test('statements quote names and values, and say what must still hold', () => {
  expect(statementOf(inserted)).toBe(
    `insert into public."plantingCrops" ("uri", "Crop", "note", "remark")
values ('at://x', 'lamb''s', null, '')
on conflict do nothing;
`,
  )
  expect(statementOf(changed)).toBe(
    `-- emptied by the incident
update public."docs"
set "title" = '=HYPERLINK("http://evil")',
    "seen" = '2025-01-01 00:00:00.123456+00'
where "uri" = 'at://x'
  and "title" is not distinct from 'two
lines'
  and "seen" is not distinct from null;
`,
  )
})

test('the files are for their owner only, and replaced by the next review', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'firehose-replay-review-'))
  try {
    const first = await writeReview(join(folder, 'a'), [inserted, changed])
    await chmod(first.csv, 0o644)
    const { csv, sql, rowCount } = await writeReview(join(folder, 'a'), [changed])
    expect(rowCount).toBe(1)
    for (const file of [csv, sql]) {
      expect((await stat(file)).mode & 0o777).toBe(0o600)
      expect(await readFile(file, 'utf8')).not.toContain('plantingCrops')
    }
    const refused = writeReview(join(csv, 'b'), [changed])
    await expect(refused).rejects.toThrow('ENOTDIR')
    await expect(refused).rejects.toBeInstanceOf(ConfigError)
    await expect(
      writeReview(
        join(folder, 'c'),
        (function* () {
          yield inserted
          throw new Error('the database went away')
        })(),
      ),
    ).rejects.toThrow('the database went away')
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
})
