import { describe, expect, test } from 'vitest'
import { readTriggers, type TriggerFunction } from '../../../src/database/triggers.ts'

function fn(name: string, source: string | null, change: Partial<TriggerFunction> = {}): TriggerFunction {
  return {
    id: name,
    schema: 'public',
    name,
    language: source === null ? 'c' : 'plpgsql',
    extension: null,
    source,
    ...change,
  }
}

/** What the trigger on the first of these does. */
function read(...functions: TriggerFunction[]) {
  const [first] = functions
  const called = { id: first?.id ?? '', schema: first?.schema ?? '', name: first?.name ?? '' }
  const [trigger] = readTriggers(
    [
      {
        name: 't',
        timing: 'after',
        level: 'row',
        events: ['insert'],
        enabled: 'origin',
        function: called,
      },
    ],
    functions,
  )
  return trigger
}

describe('ways out of the database', () => {
  test.each([
    ["perform net.http_post(url := 'x')", 'pg_net (net.http_post)'],
    ["select net . http_get ('x')", 'pg_net (net.http_get)'],
    [`select "net"."http_delete"('x')`, 'pg_net (net.http_delete)'],
    ["perform http_post('x', 'y', 'z')", 'http (http_post)'],
    ["perform extensions.http_get('x')", 'http (http_get)'],
    ["perform http(('GET', 'x', null, null, null)::http_request)", 'http (http)'],
    ['perform supabase_functions.http_request()', 'supabase_functions (supabase_functions.http_request)'],
    ["PERFORM PG_NOTIFY('c', new.id)", 'notify (PG_NOTIFY)'],
    ["notify c, 'x'", 'notify (notify c)'],
    ["perform realtime.send('{}', 'e', 't')", 'realtime (realtime.send)'],
    ["perform dblink_exec('c', 'select 1')", 'dblink (dblink_exec)'],
    ["perform pgmq.send('q', '{}')", 'pgmq (pgmq.send)'],
    ["perform cron.schedule('x', '* * * * *', 'y')", 'pg_cron (cron.schedule)'],
    ["execute 'copy t to program ''mail'''", 'program (copy t to program)'],
  ])('%s', (statement, said) => {
    expect(read(fn('t', `begin ${statement}; return new; end`))?.callsOut).toEqual([said])
  })

  test.each([
    "-- perform net.http_post('x')\n",
    "/* perform\n pg_notify('c', 'x'); */",
    'new.http_status := 200;',
    'new.notified := true;',
    'update notifications set read = true;',
    "perform my_http_post_count('x');",
  ])('none in %j', (statement) => {
    expect(read(fn('t', `begin ${statement} return new; end`))).toMatchObject({
      callsOut: [],
      unreadable: [],
    })
  })

  test('a comment mark inside a text hides nothing', () => {
    const source = "begin perform log('a--b', net.http_get('it''s -- x')); return new; end"
    expect(read(fn('t', source))?.callsOut).toEqual(['pg_net (net.http_get)'])
  })

  test('a trigger on a function that is a way out itself', () => {
    const hook = fn('http_request', 'begin return new; end', { schema: 'supabase_functions' })
    expect(read(hook)?.callsOut).toEqual(['supabase_functions (supabase_functions.http_request)'])
  })
})

describe('calls', () => {
  test('are followed by name and by schema, round in circles too', () => {
    const trigger = read(
      fn('t', 'begin perform app.one(new.id); return new; end'),
      fn('one', 'select "Two"(1); select t()', { schema: 'app', language: 'sql' }),
      fn('Two', "begin perform pg_notify('a', 'b'); end", { schema: 'app' }),
      fn('three', "begin perform net.http_get('never called'); end"),
    )
    expect(trigger?.callsOut).toEqual(['notify (pg_notify)'])
  })

  test('of another schema are others', () => {
    const trigger = read(
      fn('t', 'begin perform app.tell(); return new; end'),
      fn('tell', 'begin notify x; end', { schema: 'elsewhere' }),
    )
    expect(trigger?.callsOut).toEqual([])
  })

  test('what cannot be read is said, but for what only computes', () => {
    const trigger = read(
      fn('t', 'begin perform native(uuid_generate_v4()); perform script(); return new; end'),
      fn('native', null),
      fn('script', null, { language: 'plv8', schema: 'app' }),
      fn('uuid_generate_v4', null, { schema: 'extensions', extension: 'uuid-ossp' }),
    )
    expect(trigger?.unreadable).toEqual([
      'public.native is in language c and cannot be read',
      'app.script is in language plv8 and cannot be read',
    ])
  })

  test('statements that are put together cannot be read', () => {
    const source = "begin execute format('select %I()', new.f); return new; end"
    expect(read(fn('t', source))?.unreadable).toEqual(['public.t runs statements that it puts together'])
  })
})

test('the tables that a trigger may write', () => {
  const source = `begin
    insert into a (x) values (1) on conflict do update set x = 1;
    update only public.b set y = 2; delete from "c" where z; merge into d using e on true when matched then delete;
    return new; end`
  expect(read(fn('t', source))?.writes).toEqual(expect.arrayContaining(['a', 'b', 'c', 'd']))
})

test.each([
  ['origin', true],
  ['always', true],
  ['replica', false],
  ['disabled', false],
] as const)('one that is enabled as %s fires: %s', (enabled, fires) => {
  const trigger = { name: 't', timing: 'before', level: 'row', events: ['insert'], enabled } as const
  const called = { id: '1', schema: 'pg_catalog', name: 'built_in' }
  expect(readTriggers([{ ...trigger, events: ['insert'], function: called }], [])).toMatchObject([
    { fires, function: 'pg_catalog.built_in', callsOut: [], unreadable: [], writes: [] },
  ])
})
