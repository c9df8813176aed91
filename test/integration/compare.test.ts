/** A restored account is damaged in each way there is; the comparison names the class, the row and the exit code. */
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { leaflet } from '../../src/appview/leaflet/index.ts'
import { extract } from '../../src/backup/extract.ts'
import { rowId, type Snapshot } from '../../src/backup/snapshot.ts'
import { type Catalog, readCatalog } from '../../src/database/catalog.ts'
import { type Database, openDatabase } from '../../src/database/client.ts'
import type { JsonObject } from '../../src/events.ts'
import { silentLogger } from '../../src/logger.ts'
import { createFetch } from '../../src/network/fetch.ts'
import { createIdentity } from '../../src/network/identity.ts'
import { createXrpc } from '../../src/network/xrpc.ts'
import { type LostRecord, lostRecordOf, type RefusedRecord } from '../../src/pds/lost-record.ts'
import { fetchRepo } from '../../src/pds/repo.ts'
import { openSession, type Session } from '../../src/pds/session.ts'
import { appPasswordSessions } from '../../src/pds/sessions/app-password.ts'
import type { VerifiedRepo } from '../../src/repo/verified-repo.ts'
import { type CompareOptions, compareAccount } from '../../src/report/compare.ts'
import { exitCodeOf, type Report, reportSchema } from '../../src/report/report.ts'
import { renderReport } from '../../src/report/terminal.ts'
import { fingerprintUntouched } from '../../src/report/untouched.ts'
import { replayAccount } from '../../src/restore/replay.ts'
import { type Account, type Stack, startStack } from '../../src/stack/index.ts'

const READER = 'did:plc:reader'
const SUBSCRIPTION = `at://${READER}/site.standard.graph.subscription/3ccccccccccc2`
const RECOMMEND = `at://${READER}/site.standard.graph.recommend/3ccccccccccc2`
const COMMENT = `at://${READER}/pub.leaflet.comment/3ccccccccccc2`

let stack: Stack
let production: Database
let backup: Database
let catalog: Catalog
let account: Account
let snapshot: Snapshot
let repo: VerifiedRepo
let records: (LostRecord | RefusedRecord)[]
let network: Parameters<typeof fetchRepo>[1]
let publication: string
let document: string
let draft: string

const sql = (text: string) => stack.production.query(text)

beforeAll(async () => {
  stack = await startStack({ backupHasOwnTables: true })
  production = openDatabase({ ...stack.production, label: 'production' })
  backup = openDatabase({ ...stack.backup, label: 'backup' })
  catalog = await readCatalog(production)
  account = await stack.createAccount('author.test')
  network = {
    identity: createIdentity({ plcUrl: stack.plcUrl, allowLocalhost: true }),
    xrpc: createXrpc({ fetch: createFetch({ allowLocalhost: true }) }),
  }
  await writeRecords()
  await replay()
  await addReaders()
  await stack.takeBackup()
  await saveTables()
  snapshot = await extract({ database: backup, catalog, appview: leaflet, did: account.did })
  repo = await fetchRepo(account.did, network)
  records = recordsOf(snapshot)
})
afterAll(() => stack?.[Symbol.asyncDispose]())
beforeEach(() => resetTables())

async function session(): Promise<Session> {
  const fetch = createFetch({ allowLocalhost: true })
  return openSession(
    account.did,
    appPasswordSessions(() => account.password, { ...network, fetch }),
  )
}
const head = async () => (await network.xrpc.getLatestCommit(account.pdsUrl, account.did)).cid
const replay = () =>
  replayAccount({ appview: leaflet, production, network, logger: silentLogger }, account.did)

async function writeRecords(): Promise<void> {
  publication = `at://${account.did}/site.standard.publication/3aaaaaaaaaaa2`
  document = documentUri(0)
  const create = (uri: string, value: JsonObject) => {
    const [collection = '', rkey = ''] = uri.split('/').slice(3)
    return { $type: 'com.atproto.repo.applyWrites#create', collection, rkey, value } as const
  }
  const site = { $type: 'site.standard.publication', name: 'Notes', url: 'https://notes.example' }
  const writes = [create(publication, site), ...[0, 1, 2].map((n) => create(documentUri(n), documentOf(n)))]
  await (await session()).applyWrites(writes, await head())
}
function documentUri(index: number): string {
  return `at://${account.did}/site.standard.document/3bbbbbbbbbb${index + 2}2`
}
function documentOf(index: number, title = `Post ${index}`): JsonObject {
  return {
    $type: 'site.standard.document',
    site: publication,
    title,
    tags: ['Cats'],
    publishedAt: '2026-01-01T00:00:00.000Z',
  }
}

async function addReaders(): Promise<void> {
  await sql(`
    insert into identities (atp_did, email) values ('${READER}', 'reader@example.com');
    insert into publication_subscriptions (publication, identity, record, uri, created_at)
      values ('${publication}', '${READER}', '{}', '${SUBSCRIPTION}', '2026-02-01 10:00:00.123456+00');
    insert into recommends_on_documents (uri, record, document, recommender_did)
      values ('${RECOMMEND}', '{}', '${document}', '${READER}');
    insert into comments_on_documents (uri, record, document, indexed_at)
      values ('${COMMENT}', '{"plaintext": "hm", "n": [1, 2]}', '${document}', '2026-02-01 10:00:00.123456+00');
    insert into leaflets_in_publications (publication, doc, leaflet, title)
      select '${publication}', '${document}', home_page, 'draft' from identities where atp_did = '${account.did}';
    insert into record_state (uri, rev, cid) values ('${SUBSCRIPTION}', '3a', 'bafys'), ('${RECOMMEND}', '3a', 'bafyr'),
      ('${COMMENT}', '3a', 'bafyc');`)
  draft = String((await sql('select leaflet from leaflets_in_publications'))[0]?.leaflet)
}

/** Copies of all tables, to start every test from. */
async function saveTables(): Promise<void> {
  await sql('create schema saved')
  for (const { name } of catalog.tables) await sql(`create table saved.${name} as table public.${name}`)
}
async function resetTables(): Promise<void> {
  const columns = (name: string) => catalog.writableColumns(name).map((column) => `"${column}"`)
  const refill = catalog.tables.map(
    ({ name }) =>
      `insert into public.${name} (${columns(name)}) overriding system value select ${columns(name)} from saved.${name};`,
  )
  await sql(`set session_replication_role = replica;
    truncate ${catalog.tables.map(({ name }) => `public.${name}`).join(', ')};
    ${refill.join('\n')}
    set session_replication_role = origin;`)
}

function recordsOf({ tables }: Snapshot): (LostRecord | RefusedRecord)[] {
  return leaflet.roots.flatMap(({ table, uriColumn, recordColumn }) =>
    (tables.find((candidate) => candidate.table === table)?.rows ?? []).map((row) => {
      const json = JSON.parse(row[recordColumn] ?? 'null') as JsonObject
      return lostRecordOf(
        { uri: row[uriColumn] ?? '', recordColumn, row: { ...row, [recordColumn]: json } },
        leaflet,
        undefined,
      )
    }),
  )
}

async function compare(changes: Partial<CompareOptions> = {}): Promise<Report> {
  const options = { snapshot, appview: leaflet, production, catalog, repo, records }
  const report = await compareAccount({ ...options, ...changes })
  expect(reportSchema.parse(JSON.parse(JSON.stringify(report)))).toEqual(report)
  expect(report.verdict).not.toBe('failed')
  return report
}
const tableOf = (report: Report, name: string) => report.tables.find(({ table }) => table === name)
/** What is not equal: `table class policy`, once for each row. */
const findings = (report: Report) =>
  report.tables.flatMap(({ table, rows }) =>
    rows.map((row) => [table, row.class, row.policy].filter(Boolean).join(' ')),
  )

test('nothing happened: everything is equal', async () => {
  const report = await compare()
  expect(findings(report)).toEqual([])
  expect(report).toMatchObject({
    verdict: 'complete',
    roots: 4,
    records: { expected: 4, equal: 4, identicalCid: 4 },
  })
  expect(tableOf(report, 'comments_on_documents')).toMatchObject({ expected: 1, equal: 1 })
  expect(report.untouched.tables.map(({ table }) => table)).toEqual(
    expect.arrayContaining(['identities', 'permission_tokens']),
  )
  expect(report.untouched.tables.every(({ expected, equal }) => expected > 0 && expected === equal)).toBe(
    true,
  )
  expect(exitCodeOf(report.verdict)).toBe(0)
})

describe('damage', () => {
  test.each<[string, () => string, string[]]>([
    ['a row removed', () => 'delete from comments_on_documents', ['comments_on_documents missing']],
    [
      'a column changed',
      () => `update publication_subscriptions set record = '{"x": 1}'`,
      ['publication_subscriptions different'],
    ],
    [
      'microseconds lost',
      () => `update comments_on_documents set indexed_at = date_trunc('milliseconds', indexed_at)`,
      ['comments_on_documents different'],
    ],
    [
      'a counter off by one',
      () => `update documents set recommend_count = recommend_count + 1 where uri = '${document}'`,
      ['documents different'],
    ],
    [
      'a link removed',
      () => `delete from documents_in_publications where document = '${document}'`,
      ['documents_in_publications missing'],
    ],
    [
      'a link more, to a record that is as old as the backup',
      () => `insert into publications (uri, name, identity_did) values ('at://${account.did}/site.standard.publication/new', 'New', '${account.did}');
        insert into documents_in_publications (publication, document) values ('at://${account.did}/site.standard.publication/new', '${document}')`,
      ['publications explained newer-than-backup', 'documents_in_publications extra'],
    ],
    [
      'a row more, older than the backup',
      () =>
        `insert into publication_post_sends (publication, document, started_at) values ('${publication}', '${document}', '2026-01-01')`,
      ['publication_post_sends extra'],
    ],
    [
      'a tag more',
      () => `insert into document_tags (uri, tag) values ('${document}', 'stray')`,
      ['document_tags extra'],
    ],
    [
      'a draft that lost its document',
      () => 'update leaflets_in_publications set doc = null',
      ['leaflets_in_publications different'],
    ],
    [
      'a comment that hangs on nothing of the account any more',
      () => 'update comments_on_documents set document = null',
      ['comments_on_documents different'],
    ],
  ])('%s', async (_, damage, expected) => {
    await sql(damage())
    const report = await compare()
    expect(findings(report)).toEqual(expected)
    expect(report.verdict).toBe('incomplete')
    expect(exitCodeOf(report.verdict)).toBe(1)
  })

  test('JSON with its keys in another order is no damage', async () => {
    await sql('alter table comments_on_documents alter column record type json using record::json')
    try {
      await sql(`update comments_on_documents set record = '{"n":[1.0,2],   "plaintext":"hm"}'`)
      expect(findings(await compare())).toEqual([])
    } finally {
      await sql('alter table comments_on_documents alter column record type jsonb using record::jsonb')
    }
  })

  test('names the row, the columns and both values', async () => {
    await sql(`update comments_on_documents set record = '{"plaintext": "changed"}'`)
    const [row] = tableOf(await compare(), 'comments_on_documents')?.rows ?? []
    expect(row).toMatchObject({ id: JSON.stringify([COMMENT]), class: 'different' })
    expect(row?.columns).toEqual([
      { name: 'record', backup: '{"n": [1, 2], "plaintext": "hm"}', production: '{"plaintext": "changed"}' },
    ])
  })

  test('tells no capability', async () => {
    await sql(`update leaflets_in_publications set title = 'mine'`)
    await sql(`update identities set email = 'other@example.com' where atp_did = '${READER}'`)
    const report = await compare()
    expect(findings(report)).toEqual(['leaflets_in_publications different'])
    const identities = report.untouched.tables.find(({ table }) => table === 'identities')
    expect(identities).toMatchObject({ changed: 1, rows: [{ policy: 'changed-by-others' }] })
    const said = JSON.stringify(report) + renderReport(report, { color: false })
    for (const secret of [draft, 'reader@example.com', 'other@example.com'])
      expect(said).not.toContain(secret)
  })

  test('everything gone: every row is missing, and the tombstones explain none of them', async () => {
    await sql(`delete from documents; delete from publications;
      update record_state set deleted = true where uri like 'at://${account.did}/%'`)
    const report = await compare()
    for (const { expected, missing } of report.tables) expect(missing).toBe(expected)
    expect(report.tables.reduce((sum, { expected }) => sum + expected, 0)).toBeGreaterThan(10)
    expect(report.records).toMatchObject({ different: 4, equal: 0 })
    expect(report.verdict).toBe('incomplete')
    const text = renderReport(report, { color: false })
    expect(Math.max(...text.split('\n').map((line) => line.length))).toBeLessThanOrEqual(80)
  })
})

describe('what policy explains', () => {
  test('a subscription that its reader withdrew', async () => {
    await sql(`delete from publication_subscriptions;
      update record_state set deleted = true where uri = '${SUBSCRIPTION}'`)
    const report = await compare()
    expect(findings(report)).toEqual(['publication_subscriptions explained withdrawn'])
    expect(report.verdict).toBe('complete')
  })

  test('a new reader, and the counter that moved with him once the reconcile has seen it', async () => {
    const uri = 'at://did:plc:late/site.standard.graph.recommend/1'
    await sql(`insert into identities (atp_did) values ('did:plc:late');
      insert into recommends_on_documents (uri, record, document, recommender_did) values ('${uri}', '{}', '${document}', 'did:plc:late');
      insert into record_state (uri, rev, cid) values ('${uri}', '3z', 'bafyl')`)
    expect(findings(await compare())).toEqual([
      'documents different',
      'recommends_on_documents explained newer-than-backup',
    ])
    const report = await compare({ triggerKept: [{ table: 'documents', column: 'recommend_count' }] })
    expect(findings(report)).toContain('documents explained trigger-kept')
    expect(report.verdict).toBe('complete')
  })

  test('a draft that was edited since, when the reconcile kept it', async () => {
    await sql(`update leaflets_in_publications set title = 'edited'`)
    const table = snapshot.tables.find((candidate) => candidate.table === 'leaflets_in_publications')
    const rows = (table?.rows ?? []).map((row) => ({
      id: rowId(row, table?.key ?? []),
      outcome: 'kept' as const,
    }))
    const report = await compare({ reconciled: [{ table: 'leaflets_in_publications', rows }] })
    expect(findings(report)).toEqual(['leaflets_in_publications explained kept-newer'])
    expect(report.verdict).toBe('complete')
  })

  test('a document written since, with its link and tags', async () => {
    const uri = `at://${account.did}/site.standard.document/new`
    await sql(`insert into documents (uri, data) values ('${uri}', '{"tags": ["new"]}');
      insert into documents_in_publications (publication, document) values ('${publication}', '${uri}');
      insert into record_state (uri, rev, cid) values ('${uri}', '3z', 'bafyn')`)
    const report = await compare()
    expect(new Set(findings(report))).toEqual(
      new Set([
        'documents explained newer-than-backup',
        'documents_in_publications explained newer-than-backup',
        'document_tags explained newer-than-backup',
      ]),
    )
    expect(report.verdict).toBe('complete')
  })

  test('unverified rows are counted', async () => {
    const row = { id: JSON.stringify([COMMENT]), outcome: 'restored' as const, unverified: true }
    const report = await compare({ reconciled: [{ table: 'comments_on_documents', rows: [row] }] })
    expect(report).toMatchObject({ verdict: 'complete', unverified: 1 })
  })
})

describe('rows whose record could not be written', () => {
  const without = (uri: string): VerifiedRepo => ({
    did: repo.did,
    rev: repo.rev,
    commit: repo.commit,
    recordCount: repo.recordCount - 1,
    records: () => repo.records(),
    get: (collection, rkey) =>
      uri.endsWith(`/${collection}/${rkey}`) ? undefined : repo.get(collection, rkey),
  })
  const tombstone = () => sql(`update record_state set deleted = true where uri = '${document}'`)

  test.each([
    ['blob-missing', 'blob-missing'],
    ['too-large', 'record-refused'],
  ] as const)('refused as %s, are explained by %s; the record is missing', async (refusal, policy) => {
    await tombstone()
    const reason = 'no picture'
    const refused = records.map((record) =>
      record.uri === document ? { uri: document, refusal, reason, originalCid: undefined } : record,
    )
    const report = await compare({ repo: without(document), records: refused })
    expect(findings(report)).toEqual([
      `documents explained ${policy}`,
      `documents_in_publications explained ${policy}`,
    ])
    expect(tableOf(report, 'documents')?.rows).toMatchObject([
      {
        id: JSON.stringify([document]),
        reason: `rests on the backup alone: its record is refused (${refusal}): no picture`,
      },
    ])
    // What hangs there is as it was, whoever's record it is.
    expect(tableOf(report, 'comments_on_documents')).toMatchObject({ expected: 1, equal: 1 })
    expect(report.records).toMatchObject({ equal: 3, missing: 1 })
    expect(report.records.items.filter((item) => item.class !== 'equal')).toMatchObject([
      { uri: document, class: 'missing', refusal, reason: `refused (${refusal}): no picture` },
    ])
    expect(report.verdict).toBe('incomplete')
    const text = renderReport(report, { color: false })
    expect(text).toContain(policy)
    expect(text).toContain('rest on the backup alone')
  })

  test('so too where the writer refused it, and not where another record is there', async () => {
    await tombstone()
    const refused = new Map([[document, { refusal: 'blob-missing' as const, reason: 'no picture' }]])
    const report = await compare({ repo: without(document), refused })
    expect(findings(report)).toContain('documents explained blob-missing')
    expect(report.records).toMatchObject({ equal: 3, missing: 1 })
    const written = await compare({ refused })
    expect(findings(written)).toEqual([])
    const conflict = new Map([[document, { refusal: 'conflict' as const, reason: 'another' }]])
    expect(findings(await compare({ repo: without(document), refused: conflict }))).toEqual([])
  })

  test('are different or missing like any other where they are not as they were', async () => {
    await tombstone()
    const refused = new Map([[document, { refusal: 'blob-missing' as const, reason: 'no picture' }]])
    await sql(`update documents set data = '{"title": "changed"}' where uri = '${document}'`)
    expect(findings(await compare({ repo: without(document), refused }))).toContain('documents different')
    await sql(`delete from documents where uri = '${document}'`)
    const report = await compare({ repo: without(document), refused })
    expect(tableOf(report, 'documents')?.rows).toMatchObject([
      { class: 'missing', reason: 'its record is refused (blob-missing): no picture' },
    ])
  })
})

describe('what must stay untouched', () => {
  const fingerprint = () =>
    fingerprintUntouched({ database: production, catalog, appview: leaflet }, snapshot)

  test('is the same before and after', async () => {
    const report = await compare({ untouchedBefore: await fingerprint() })
    expect(report).toMatchObject({ verdict: 'complete', untouched: { sinceStart: 'same' } })
  })

  test('changed during the restore: incomplete, and says which table', async () => {
    const untouchedBefore = await fingerprint()
    expect(untouchedBefore.tables.map(({ table }) => table)).toContain('identities')
    await sql(`update identities set metadata = '{"touched": true}' where atp_did = '${READER}'`)
    const report = await compare({ untouchedBefore })
    expect(report).toMatchObject({
      verdict: 'incomplete',
      untouched: { sinceStart: 'changed', changedTables: ['identities'] },
    })
    expect(renderReport(report, { color: false })).toContain('untouched changed: identities')
    expect((await compare()).verdict).toBe('complete')
  })

  test('a row gone makes it incomplete', async () => {
    await sql(`set session_replication_role = replica;
      delete from permission_tokens where id = '${draft}';
      set session_replication_role = origin`)
    const report = await compare()
    expect(report.untouched.tables.find(({ table }) => table === 'permission_tokens')).toMatchObject({
      missing: 1,
    })
    expect(report.verdict).toBe('incomplete')
    expect(JSON.stringify(report)).not.toContain(draft)
  })
})

describe('records', () => {
  test('edited and deleted on the PDS, and what the index knows of it', async () => {
    const writer = await session()
    const [collection, edited = '', deleted = ''] = [
      'site.standard.document',
      documentUri(1).split('/').at(-1),
      documentUri(2).split('/').at(-1),
    ] as const
    await writer.applyWrites(
      [
        {
          $type: 'com.atproto.repo.applyWrites#update',
          collection,
          rkey: edited,
          value: documentOf(1, 'Edited'),
        },
        { $type: 'com.atproto.repo.applyWrites#delete', collection, rkey: deleted },
      ],
      await head(),
    )
    const after = await fetchRepo(account.did, network)
    const report = await compare({ repo: after })
    expect(report.records).toMatchObject({ expected: 4, equal: 2, different: 1, missing: 1, identicalCid: 2 })
    expect(report.records.items.filter((item) => item.class !== 'equal')).toMatchObject([
      { uri: documentUri(1), class: 'different' },
      { uri: documentUri(2), class: 'missing', reason: 'not in the repo' },
    ])
    expect(report.verdict).toBe('incomplete')
  })

  test('that nobody handed over fail the comparison', async () => {
    const options = { snapshot, appview: leaflet, production, catalog, repo, records: records.slice(1) }
    const report = await compareAccount(options)
    expect(report.verdict).toBe('failed')
    expect(exitCodeOf(report.verdict)).toBe(3)
  })

  test('an empty snapshot fails it', async () => {
    const tables = snapshot.tables.map((table) => ({ ...table, rows: [] }))
    const empty = { ...snapshot, tables, parents: [] }
    const options = { snapshot: empty, appview: leaflet, production, catalog, repo, records: [] }
    expect((await compareAccount(options)).verdict).toBe('failed')
  })
})
