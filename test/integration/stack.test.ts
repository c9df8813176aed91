import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmod, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createClient } from '@supabase/supabase-js'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type Account, type Stack, startStack } from '../../src/stack/index.ts'
import { startNetwork } from '../../src/stack/network.ts'

const NASTY_SCHEMA = `
  create type mood as enum ('so so', 'it''s fine');
  create table parents (id uuid primary key);
  create table "Nasty ""table""" (
    id bigint generated always as identity primary key,
    parent uuid references parents (id),
    at timestamptz default now(),
    span interval,
    words text[],
    bytes bytea,
    body jsonb,
    raw json,
    amount numeric,
    ratio double precision,
    mood mood,
    "select" text,
    doubled numeric generated always as (amount * 2) stored
  );
  alter table "Nasty ""table""" enable row level security;
  create function meddle() returns trigger language plpgsql as $$
    begin new."select" := 'meddled'; return new; end $$;
  create trigger meddle before insert on "Nasty ""table""" for each row execute function meddle();
  create table counted (id serial primary key);
  create table notes (id int primary key, body jsonb, words text[]);
  create function echo(payload text) returns jsonb language sql as 'select payload::jsonb';
`

const NASTY_ROWS = `
  insert into "Nasty ""table""" (at, span, words, bytes, body, raw, amount, ratio, mood) values
    ('2026-02-14 08:00:00.000001+00', '1 mon -3 days', array['a', null, 'NULL', '', 'x"y,{z}\\'], '\\x00ff5c',
     '{"big": 123456789012345678901234567890.10, "null": null, "e": "\\\\ \\t ü 🙂"}', '{ "kept" :  1, "kept": 2 }',
     12345678901234567890.1234567890, 0.1::float8 + 0.2::float8, 'it''s fine'),
    ('infinity', null, '{}', '', '[]', 'null', 'NaN', '-infinity', null),
    ('0044-03-15 12:00:00+00 BC', null, null, null, 'null', null, null, null, null);
  update "Nasty ""table""" set "select" = E'tab\\tnewline\\nbackslash\\\\ \\\\N' where id = 1;
  alter table "Nasty ""table""" disable trigger all;
  insert into "Nasty ""table""" (parent) values ('00000000-0000-4000-8000-000000000001');
  alter table "Nasty ""table""" enable trigger all;
  insert into counted default values; insert into counted default values; delete from counted;
`

async function makeFolder(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'stack-test-'))
  await chmod(folder, 0o755)
  return folder
}

function client(database: { url: string }, key: string) {
  return createClient(database.url, key, { auth: { persistSession: false, autoRefreshToken: false } })
}

describe('a stack', () => {
  let stack: Stack
  let alice: Account

  beforeAll(async () => {
    stack = await startStack()
    alice = await stack.createAccount('alice.test')
    await stack.production.query('insert into identities (atp_did) values ($1)', [alice.did])
  })
  afterAll(() => stack[Symbol.asyncDispose]())

  test('shows the service key the rows, the anon key none, and a wrong key 401', async () => {
    const { production } = stack
    const seen = await client(production, production.serviceKey).from('identities').select('atp_did')
    expect(seen).toMatchObject({ error: null, data: [{ atp_did: alice.did }] })
    const hidden = await client(production, production.anonKey).from('identities').select('atp_did')
    expect(hidden).toMatchObject({ error: null, data: [] })
    for (const key of ['sb_secret_wrong', stack.backup.serviceKey]) {
      expect(await client(production, key).from('identities').select('atp_did')).toMatchObject({
        status: 401,
      })
    }
  })

  test('keeps what a migration revokes from anon revoked', async () => {
    const { production } = stack
    const refused = await client(production, production.anonKey).from('record_state').select('uri')
    expect(refused.error?.code).toBe('42501')
    const allowed = await client(production, production.serviceKey).from('record_state').select('uri')
    expect(allowed.error).toBeNull()
  })

  test('has our own tables in production and not in the backup', async () => {
    const own = `select to_regclass('public.record_state') is not null as there`
    expect(await stack.production.query(own)).toEqual([{ there: true }])
    expect(await stack.backup.query(own)).toEqual([{ there: false }])
  })

  test('gives connections of their own for transactions', async () => {
    const connection = await stack.production.connect()
    await connection.query('begin')
    await connection.query(`insert into identities (email) values ('uncommitted@example.com')`)
    const seen = await stack.production.query(
      `select 1 from identities where email = 'uncommitted@example.com'`,
    )
    await connection.query('rollback')
    await connection[Symbol.asyncDispose]()
    expect(seen).toEqual([])
  })

  test('carries a record from the PDS to the firehose, and resolves the account in the PLC directory', async () => {
    const response = await fetch(`${alice.pdsUrl}/xrpc/com.atproto.repo.createRecord`, {
      method: 'POST',
      headers: { authorization: `Bearer ${alice.accessJwt}`, 'content-type': 'application/json' },
      body: JSON.stringify({
        repo: alice.did,
        collection: 'com.example.note',
        rkey: 'on-the-firehose',
        record: { text: 'hi' },
      }),
    })
    expect(response.status).toBe(200)
    expect(await firehoseCarries(stack.pds.url, 'com.example.note/on-the-firehose')).toBe(true)
    const document = (await (await fetch(`${stack.plcUrl}/${alice.did}`)).json()) as {
      service: { serviceEndpoint: string }[]
    }
    expect(document.service[0]?.serviceEndpoint).toBe(alice.pdsUrl)
  })
})

async function firehoseCarries(pdsUrl: string, path: string): Promise<boolean> {
  const url = `${pdsUrl.replace('http', 'ws')}/xrpc/com.atproto.sync.subscribeRepos?cursor=0`
  const socket = new WebSocket(url)
  socket.binaryType = 'arraybuffer'
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => finish(false), 10_000)
    const finish = (found: boolean) => {
      clearTimeout(timer)
      socket.close()
      resolve(found)
    }
    socket.onerror = () => reject(new Error('The firehose refused the connection.'))
    socket.onmessage = ({ data }) => {
      if (Buffer.from(data as ArrayBuffer).includes(path)) finish(true)
    }
  })
}

describe('takeBackup', () => {
  let folder: string
  let stack: Stack

  beforeAll(async () => {
    folder = await makeFolder()
    const file = join(folder, 'nasty.sql')
    await writeFile(file, NASTY_SCHEMA)
    stack = await startStack({ migrations: [file] })
    await stack.production.query(NASTY_ROWS)
  })
  afterAll(async () => {
    await stack[Symbol.asyncDispose]()
    await rm(folder, { recursive: true })
  })

  test("in front of migrations of one's own, calls functions and writes json and SQL arrays", async () => {
    const { production } = stack
    const api = client(production, production.serviceKey)
    expect(await api.rpc('echo', { payload: '[{"a":1}]' })).toMatchObject({ error: null, data: [{ a: 1 }] })
    const notes = [
      { id: 1, body: [1, { two: [2] }], words: ['a', null, 'NULL', 'x,"y'] },
      { id: 2, body: { list: [] }, words: [] },
    ]
    expect(await api.from('notes').upsert(notes).select()).toMatchObject({ error: null, data: notes })
  })

  const dump = `select t::text as row from "Nasty ""table""" t order by id`

  test('copies every value exactly, fires no trigger and checks no foreign key', async () => {
    const before = await stack.production.query(dump)
    expect(before).toHaveLength(4)
    await stack.takeBackup()
    expect(await stack.backup.query(dump)).toEqual(before)
  })

  test('copies where sequences stand', async () => {
    await stack.takeBackup()
    expect(await stack.backup.query('insert into counted default values returning id')).toEqual([{ id: 3 }])
    const [row] = await stack.backup.query(
      `insert into "Nasty ""table""" (ratio) values (1) returning id::text`,
    )
    expect(row).toEqual({ id: '5' })
  })

  test('replaces what an earlier backup held, while production goes on', async () => {
    await stack.takeBackup()
    await stack.production.query('delete from "Nasty ""table""" where id > 1')
    const [backedUp, written] = await Promise.allSettled([
      stack.takeBackup(),
      stack.production.query('insert into parents (id) values (gen_random_uuid())'),
    ])
    expect([backedUp.status, written.status]).toEqual(['fulfilled', 'fulfilled'])
    expect(await stack.backup.query(dump)).toHaveLength(1)
  })
})

describe('startStack', () => {
  test('takes the February schema and a backup with our own tables', async () => {
    const stack = await startStack({ schema: 'february', backupHasOwnTables: true })
    try {
      const tables = `select count(*)::int as count from pg_tables where schemaname = 'public'`
      const counts = [await stack.production.query(tables), await stack.backup.query(tables)]
      expect(counts[0]).toEqual(counts[1])
      const august = `select to_regclass('public.publication_pages') is not null as there`
      expect(await stack.production.query(august)).toEqual([{ there: false }])
    } finally {
      await stack[Symbol.asyncDispose]()
    }
  })

  test('that fails half way says why and leaves nothing behind', async () => {
    const folder = await makeFolder()
    try {
      await writeFile(join(folder, 'broken.sql'), 'create table broken (id nonsense)')
      const result = await runChild(
        folder,
        `await startStack({ migrations: [${JSON.stringify(join(folder, 'broken.sql'))}] }).catch((e) => console.log(e.message))`,
      )
      expect(result.output).toContain('Migration broken.sql failed: type "nonsense" does not exist')
      await expectNothingLeft(folder, result, ['broken.sql'])
    } finally {
      await rm(folder, { recursive: true })
    }
  })

  test('in a process that disposes it prints nothing, lets the process end by itself, and leaves nothing', async () => {
    const folder = await makeFolder()
    try {
      const result = await runChild(
        folder,
        `const stack = await startStack()
         await stack.createAccount('alice.test')
         const { url, serviceKey } = stack.production
         const failed = await fetch(url + '/rest/v1/bsky_profiles', {
           method: 'POST',
           headers: { apikey: serviceKey, 'content-type': 'application/json' },
           body: '{"did":"nobody","record":{}}',
         })
         console.log('failed statement', failed.status)
         for (const url of [stack.plcUrl, stack.pds.url, stack.production.url, stack.backup.url, stack.production.databaseUrl])
           console.log('port', new URL(url).port)
         await stack[Symbol.asyncDispose]()
         console.log('disposed')
         process.exitCode = 7`,
      )
      expect(result.output).toContain('disposed')
      expect(result.output).toContain('failed statement 409')
      // Supabase Lite would have printed the failed statement here.
      expect(result.errors).toBe('')
      expect(result.code).toBe(7)
      expect(result.endedAfterMs).toBeLessThan(3_000)
      await expectNothingLeft(folder, result, [])
    } finally {
      await rm(folder, { recursive: true })
    }
  })

  test('in a process that is asked to stop takes PostgreSQL and the files along', async () => {
    const folder = await makeFolder()
    try {
      const result = await runChild(folder, `await startStack(); process.kill(process.pid, 'SIGTERM')`)
      expect(result.code).toBe(143)
      await expectNothingLeft(folder, result, [])
    } finally {
      await rm(folder, { recursive: true })
    }
  })
})

describe('startNetwork', () => {
  test('with rate limits on counts the writes of an account and lifts the limits for the bypass key', async () => {
    const folder = await makeFolder()
    const network = await startNetwork(folder, { rateLimits: true })
    try {
      const alice = await network.createAccount('alice.test', 'a password of mine')
      expect(alice.password).toBe('a password of mine')
      const write = (headers: Record<string, string>) =>
        fetch(`${network.pds.url}/xrpc/com.atproto.repo.createRecord`, {
          method: 'POST',
          headers: {
            authorization: `Bearer ${alice.accessJwt}`,
            'content-type': 'application/json',
            ...headers,
          },
          body: JSON.stringify({ repo: alice.did, collection: 'com.example.note', record: { text: 'hi' } }),
        })
      expect((await write({})).headers.get('ratelimit-limit')).not.toBeNull()
      const bypassed = await write({ 'x-ratelimit-bypass': network.pds.rateLimitBypassKey })
      expect(bypassed.headers.get('ratelimit-limit')).toBeNull()
    } finally {
      await network[Symbol.asyncDispose]()
      await rm(folder, { recursive: true })
    }
  })
})

interface ChildResult {
  pid: number
  code: number | null
  output: string
  errors: string
  /** Between its last line of output and its end. */
  endedAfterMs: number
}

/** Runs a script in a Node process of its own, whose temporary files all go to `folder`. */
async function runChild(folder: string, script: string): Promise<ChildResult> {
  const stackModule = new URL('../../src/stack/index.ts', import.meta.url).href
  const source = `import { startStack } from ${JSON.stringify(stackModule)}\n${script}`
  const child = spawn(process.execPath, ['--input-type=module', '--eval', source], {
    env: { PATH: process.env.PATH, TMPDIR: folder },
    detached: true,
    timeout: 50_000,
    killSignal: 'SIGTERM',
  })
  let output = ''
  let errors = ''
  let lastOutputMs = Date.now()
  child.stdout.on('data', (chunk) => {
    output += chunk
    lastOutputMs = Date.now()
  })
  child.stderr.on('data', (chunk) => {
    errors += chunk
  })
  const [code] = await once(child, 'close')
  return { pid: child.pid ?? 0, code, output, errors, endedAfterMs: Date.now() - lastOutputMs }
}

async function expectNothingLeft(folder: string, child: ChildResult, expectedFiles: string[]): Promise<void> {
  expect(await readdir(folder)).toEqual(expectedFiles)
  expect(await processesOf(child.pid, folder)).toEqual([])
  for (const [, port] of child.output.matchAll(/^port (\d+)$/gm))
    expect(await listens(Number(port))).toBe(false)
}

/** Command lines of processes in the child's process group, or started on its folder. */
async function processesOf(group: number, folder: string): Promise<string[]> {
  const ps = spawn('ps', ['-eo', 'pgid=,args='])
  let text = ''
  ps.stdout.on('data', (chunk) => {
    text += chunk
  })
  await once(ps, 'close')
  return text.split('\n').filter((line) => Number.parseInt(line, 10) === group || line.includes(folder))
}

async function listens(port: number): Promise<boolean> {
  const socket = connect(port, 'localhost')
  try {
    await once(socket, 'connect')
    return true
  } catch {
    return false
  } finally {
    socket.destroy()
  }
}
