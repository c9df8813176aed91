-- What firehose-replay adds to an appview's database, and all that it adds: a little state about records, and the
-- functions that write in one transaction. Nothing of the appview's own is changed.
--
-- Every function is SECURITY INVOKER and executable by service_role only. The search_path is explicit, and has
-- public in it, because an appview's own triggers and defaults may name their tables without a schema; they would
-- fail on an empty one.

------------------------------------------------------------------------------------------------------- state

-- Where the live consumer goes on, per relay.
create table public.firehose_cursors (
  relay      text primary key,
  seq        bigint not null,
  updated_at timestamptz not null default now()
);

-- What the index knows of a record: at which revision of its repo it was last seen, and its CID then. A tombstone
-- (deleted) keeps the CID that was deleted, where the delete named it: it proves later what a restored record must
-- hash to. Revisions are TIDs, which sort as bytes.
create table public.record_state (
  uri     text primary key,
  rev     text collate "C" not null,
  cid     text,
  deleted boolean not null default false
);
create index record_state_did on public.record_state (split_part(uri, '/', 3));

-- Rows that wait: for a parent row (`publications {"uri": "at://..."}`) or for the record that holds a unique key
-- (`record at://...`). Drained in the transaction that brings what they wait for.
create table public.parked_events (
  uri       text not null,
  target    text not null,
  waits_on  text not null,
  mutation  jsonb not null,
  parked_at timestamptz not null default now(),
  primary key (uri, target)
);
create index parked_events_waits_on on public.parked_events (waits_on);

-- Events that can never be applied, kept whole. `event` is text: jsonb could not hold a U+0000.
create table public.dead_letters (
  id        bigint generated always as identity primary key,
  uri       text not null,
  rev       text not null,
  source    text not null,
  seq       bigint not null,
  event     text not null,
  code      text not null,
  error     text not null,
  failed_at timestamptz not null default now(),
  did       text generated always as (split_part(uri, '/', 3)) stored,
  unique (uri, rev)
);
create index dead_letters_did on public.dead_letters (did);

-- Records that a restore writes back. Live ingestion stays silent about them: no mail, no notification.
create table public.restore_marks (
  uri       text not null,
  cid       text not null,
  did       text not null,
  run       text not null,
  marked_at timestamptz not null default now(),
  primary key (uri, cid)
);
create index restore_marks_did on public.restore_marks (did);

-- Receipts of finished replays: the index has reached this revision of the repo.
create table public.replay_receipts (
  did         text primary key,
  rev         text collate "C" not null,
  commit      text not null,
  finished_at timestamptz not null default now()
);

-- Records of write requests that are too large for an event, kept until they are written. `records` is text: the
-- same bytes come back.
create table public.write_requests (
  id         text primary key,
  did        text not null,
  records    text not null,
  created_at timestamptz not null default now()
);
create index write_requests_created_at on public.write_requests (created_at);

-- Why a run that was to write records failed, for people to read.
create table public.write_failures (
  run_id    text primary key,
  did       text not null,
  run       text,
  error     text not null,
  message   text not null,
  hint      text not null,
  failed_at timestamptz not null
);

------------------------------------------------------------------------------------------------- reading keys

-- The foreign keys of a table, as columns here and columns there, in matching order.
create function public.firehose_replay_foreign_keys(child regclass)
returns table (parent regclass, parent_name text, columns text[], parent_columns text[], on_delete text)
language sql stable security invoker set search_path = public, extensions, pg_temp as $$
  select c.confrelid::regclass,
         (select relname::text from pg_class where oid = c.confrelid),
         array(select a.attname::text from unnest(c.conkey) with ordinality k(n, i)
               join pg_attribute a on a.attrelid = c.conrelid and a.attnum = k.n order by k.i),
         array(select a.attname::text from unnest(c.confkey) with ordinality k(n, i)
               join pg_attribute a on a.attrelid = c.confrelid and a.attnum = k.n order by k.i),
         c.confdeltype::text
  from pg_constraint c
  where c.contype = 'f' and c.conrelid = child
$$;

-- The column lists by which other tables refer to this one.
create function public.firehose_replay_referenced(parent regclass) returns table (columns text[])
language sql stable security invoker set search_path = public, extensions, pg_temp as $$
  select distinct array(select a.attname::text from unnest(c.confkey) with ordinality k(n, i)
                        join pg_attribute a on a.attrelid = c.confrelid and a.attnum = k.n order by k.i)
  from pg_constraint c
  where c.contype = 'f' and c.confrelid = parent
$$;

-- The text under which rows wait for a parent row; `parent_key` names the referenced columns. jsonb renders
-- canonically, so the same key is the same text.
create function public.firehose_replay_waits_on(parent text, parent_key jsonb) returns text
language sql immutable security invoker set search_path = public, extensions, pg_temp as $$
  select parent || ' ' || parent_key::text
$$;

-- Pieces of SQL, for the functions below. Every identifier passes through format's %I.

-- `jsonb_build_object('uri', t.publication)` for alias t, columns {publication}, names {uri}.
create function public.firehose_replay_key_sql(alias text, columns text[], names text[] default null) returns text
language sql immutable security invoker set search_path = public, extensions, pg_temp as $$
  select format('jsonb_build_object(%s)',
    string_agg(format('%L, %I.%I', coalesce(names[c.i::int], c.name), alias, c.name), ', ' order by c.i))
  from unnest(columns) with ordinality c(name, i)
$$;

-- `a.x = b.y and a.v = b.w`
create function public.firehose_replay_equal_sql(a text, a_columns text[], b text, b_columns text[]) returns text
language sql immutable security invoker set search_path = public, extensions, pg_temp as $$
  select string_agg(format('%I.%I = %I.%I', a, a_columns[i], b, b_columns[i]), ' and ' order by i)
  from generate_subscripts(a_columns, 1) i
$$;

-- `a.x, a.y`
create function public.firehose_replay_list_sql(alias text, columns text[]) returns text
language sql immutable security invoker set search_path = public, extensions, pg_temp as $$
  select string_agg(format('%I.%I', alias, c.name), ', ' order by c.i)
  from unnest(columns) with ordinality c(name, i)
$$;

-- True where the named columns differ between two aliases of a table. json has no equality: it is compared as jsonb.
create function public.firehose_replay_differs_sql(tbl regclass, a text, b text, columns text[]) returns text
language sql stable security invoker set search_path = public, extensions, pg_temp as $$
  select format('(%s) is distinct from (%s)',
    string_agg(format('%I.%I%s', a, t.attname, case when t.atttypid = 'json'::regtype then '::jsonb' else '' end), ', ' order by t.attnum),
    string_agg(format('%I.%I%s', b, t.attname, case when t.atttypid = 'json'::regtype then '::jsonb' else '' end), ', ' order by t.attnum))
  from pg_attribute t
  where t.attrelid = tbl and t.attname = any(columns)
$$;

-- A FROM clause that reads $1, an array of { of, row }, as e (the element) and r (the row, typed as the table's).
create function public.firehose_replay_source_sql(tbl text) returns text
language sql immutable security invoker set search_path = public, extensions, pg_temp as $$
  select format('jsonb_array_elements($1) e(item) cross join lateral jsonb_populate_record(null::%s, e.item->''row'') r', tbl)
$$;

-- Batches take turns. A row that parks while its missing parent is being inserted by another transaction would never
-- be drained: neither sees the other. Held to the end of the transaction; the number is this project's alone.
create function public.firehose_replay_take_turn() returns void
language sql volatile security invoker set search_path = public, extensions, pg_temp as $$
  select pg_advisory_xact_lock(7020260901)
$$;

------------------------------------------------------------------------------------------------------ parking

-- Parks one row of a derived table under its record, keeping its derived columns. An entry that is there already
-- and says the same is left as it is. Returns the entry's name.
--
-- spec: { table, of, key, columns, nullIfMissing?, contested?: { columns, winner }, onlyIfAbsent? }, where `of` is
-- the column that holds the AT-URI of the record that the row is derived from.
create function public.firehose_replay_park(
  spec jsonb, full_row jsonb, waits_on text, taken_by text default null
) returns text
language plpgsql security invoker set search_path = public, extensions, pg_temp as $$
declare
  record_uri text := full_row->>(spec->>'of');
  row_name   text := (spec->>'table') || ' ' ||
    (select jsonb_object_agg(k, full_row->k) from jsonb_array_elements_text(spec->'key') k)::text;
begin
  insert into parked_events as p (uri, target, waits_on, mutation)
  values (record_uri, row_name, firehose_replay_park.waits_on,
          jsonb_build_object('spec', spec, 'row', (select jsonb_object_agg(c, full_row->c)
                                                   from jsonb_array_elements_text(spec->'columns') c)))
  on conflict (uri, target) do update
    -- What waits although its row is there is fuller than the row: a cascade must not park less.
    set waits_on = excluded.waits_on, parked_at = now(),
        mutation = case when taken_by is null then excluded.mutation else p.mutation end
    where taken_by is distinct from 'n' and (p.waits_on, p.mutation) is distinct from (excluded.waits_on, excluded.mutation);
  return record_uri || ' ' || row_name;
end
$$;

-- Parks the rows that a cascade is about to take although their own records still stand: a subscription when its
-- publication goes, a link when either end goes. They come back with the parent, whoever brings it. `doomed` are the
-- rows about to be deleted from `parent`; records named in `going` are being deleted themselves.
create function public.firehose_replay_park_cascade(
  derives jsonb, parent text, doomed jsonb, going text[], depth int default 0
) returns void
language plpgsql security invoker set search_path = public, extensions, pg_temp as $$
declare
  spec jsonb;
  fk record;
  children jsonb;
begin
  -- Rows may refer to one another in a circle; no appview nests deeper than this.
  if jsonb_array_length(doomed) = 0 or depth > 16 then
    return;
  end if;
  for spec in select value from jsonb_array_elements(derives) loop
    for fk in
      select * from firehose_replay_foreign_keys(format('public.%I', spec->>'table')::regclass) f
      where f.parent = format('public.%I', firehose_replay_park_cascade.parent)::regclass
        and (f.on_delete = 'c' or f.on_delete = 'n' and f.columns <@ array(select jsonb_array_elements_text(spec->'columns')))
    loop
      execute format(
        'select coalesce(jsonb_agg(to_jsonb(t)), ''[]'') from public.%I t
          where exists (select 1 from jsonb_populate_recordset(null::%s, $1) d where %s)',
        spec->>'table', fk.parent, firehose_replay_equal_sql('t', fk.columns, 'd', fk.parent_columns)
      ) into children using doomed;

      perform firehose_replay_park(spec, c.child, firehose_replay_waits_on(fk.parent_name, w.parent_key), fk.on_delete)
      from jsonb_array_elements(children) c(child)
      cross join lateral (
        select jsonb_object_agg(fk.parent_columns[i], c.child->fk.columns[i]) as parent_key
        from generate_subscripts(fk.columns, 1) i
      ) w
      where c.child->>(spec->>'of') <> all(going)
        and not exists (select 1 from record_state s where s.uri = c.child->>(spec->>'of') and s.deleted);

      if fk.on_delete = 'c' then
        perform firehose_replay_park_cascade(derives, spec->>'table', children, going, depth + 1);
      end if;
    end loop;
  end loop;
end
$$;

-------------------------------------------------------------------------------------------- parts of one step

-- Deletes rows by key. Children that a cascade takes are parked first.
create function public.firehose_replay_delete(spec jsonb, rows jsonb, derives jsonb, going text[], out changed text[])
language plpgsql security invoker set search_path = public, extensions, pg_temp as $$
declare
  tbl      text := format('public.%I', spec->>'table');
  key_cols text[] := array(select jsonb_array_elements_text(spec->'key'));
  doomed   jsonb;
begin
  execute format('select coalesce(jsonb_agg(to_jsonb(t)), ''[]'') from %s t where exists (select 1 from %s where %s)',
    tbl, firehose_replay_source_sql(tbl), firehose_replay_equal_sql('t', key_cols, 'r', key_cols)) into doomed using rows;
  perform firehose_replay_park_cascade(derives, spec->>'table', doomed, going);
  execute format('delete from %s t using jsonb_populate_recordset(null::%s, $1) d where %s',
    tbl, tbl, firehose_replay_equal_sql('t', key_cols, 'd', key_cols)) using doomed;
  changed := array(select d->>(spec->>'of') from jsonb_array_elements(doomed) d);
end
$$;

-- Deletes the rows of each parent that `sets` ({ of, parent, rows }) no longer names.
create function public.firehose_replay_prune(spec jsonb, sets jsonb, out changed text[])
language plpgsql security invoker set search_path = public, extensions, pg_temp as $$
declare
  tbl         text := format('public.%I', spec->>'table');
  key_cols    text[] := array(select jsonb_array_elements_text(spec->'key'));
  parent_cols text[] := array(select jsonb_object_keys(sets->0->'parent'));
begin
  execute format(
    'with sets as (select s.item->>''of'' as record_uri, s.item->''rows'' as named, p
                   from jsonb_array_elements($1) s(item)
                   cross join lateral jsonb_populate_record(null::%1$s, s.item->''parent'') p),
          gone as (delete from %1$s t using sets
                   where %2$s and not exists (select 1 from jsonb_populate_recordset(null::%1$s, sets.named) r where %3$s)
                   returning sets.record_uri)
     select coalesce(array_agg(distinct record_uri), ''{}'') from gone',
    tbl,
    (select string_agg(format('t.%1$I = (sets.p).%1$I', c), ' and ') from unnest(parent_cols) c),
    firehose_replay_equal_sql('t', key_cols, 'r', key_cols)
  ) into changed using sets;
end
$$;

-- Rows whose parent is missing are parked, or left without naming it where the spec says so. Returns the others.
create function public.firehose_replay_park_orphans(
  spec jsonb, inout rows jsonb, derives jsonb, going text[], out parked text[]
)
language plpgsql security invoker set search_path = public, extensions, pg_temp as $$
declare
  tbl      text := format('public.%I', spec->>'table');
  cols     text[] := array(select jsonb_array_elements_text(spec->'columns'));
  optional text[] := array(select jsonb_array_elements_text(coalesce(spec->'nullIfMissing', '[]')));
  fk       record;
begin
  parked := '{}';
  for fk in select * from firehose_replay_foreign_keys(tbl::regclass) f where f.columns <@ cols order by f.columns <@ optional loop
    execute format(
      'select jsonb_agg(e.item || jsonb_build_object(''waits'',
         case when %1$s and not exists (select 1 from %2$s p where %3$s) then firehose_replay_waits_on(%4$L, %5$s) end))
       from %6$s',
      (select string_agg(format('r.%I is not null', c), ' and ') from unnest(fk.columns) c),
      fk.parent, firehose_replay_equal_sql('p', fk.parent_columns, 'r', fk.columns),
      fk.parent_name, firehose_replay_key_sql('r', fk.columns, fk.parent_columns),
      firehose_replay_source_sql(tbl)
    ) into rows using rows;

    if fk.columns <@ optional then
      -- Written without, and again with it once the row is there.
      parked := parked || array(select firehose_replay_park(spec, e->'row', e->>'waits')
                                from jsonb_array_elements(coalesce(rows, '[]')) e where e->>'waits' is not null);
      rows := (select jsonb_agg(case when e->>'waits' is null then e else jsonb_set(e, '{row}',
        e->'row' || (select jsonb_object_agg(c, null) from unnest(fk.columns) c)) end) from jsonb_array_elements(rows) e);
    else
      parked := parked || array(select firehose_replay_park(spec, e->'row', e->>'waits')
                                from jsonb_array_elements(rows) e where e->>'waits' is not null);
      -- The record may have a row from before it named this parent.
      perform firehose_replay_delete(spec, w.waiting, derives, going)
      from (select jsonb_agg(e) as waiting from jsonb_array_elements(rows) e where e->>'waits' is not null) w
      where w.waiting is not null;
      rows := (select jsonb_agg(e) from jsonb_array_elements(rows) e where e->>'waits' is null);
    end if;
    rows := coalesce(rows, '[]');
  end loop;
end
$$;

-- Two records may want one unique key. Which of them has it is decided by their record keys and never by the order
-- they came in: the loser waits for the winner's record to change. (The appview's own indexer lets the earlier or
-- the later write win, which differs between a live stream and a replay.) Returns the rows that won.
create function public.firehose_replay_settle(spec jsonb, inout rows jsonb, out parked text[])
language plpgsql security invoker set search_path = public, extensions, pg_temp as $$
declare
  tbl     text := format('public.%I', spec->>'table');
  claimed text[] := array(select jsonb_array_elements_text(spec->'contested'->'columns'));
  losers  jsonb;
begin
  parked := '{}';
  execute format(
    'with incoming as (select e.item->>''of'' as record_uri, e.item->''row'' as value, r from %1$s),
          claims as (
            select record_uri, value, %2$s as claim from incoming cross join lateral (select (incoming.r).*) c
            union all
            select t.%3$I, to_jsonb(t), %4$s from %5$s t
             where t.%3$I not in (select record_uri from incoming)
               and exists (select 1 from incoming cross join lateral (select (incoming.r).*) c where %6$s)),
          ranked as (
            select *, first_value(record_uri) over (
              partition by claim order by split_part(record_uri, ''/'', 5) collate "C" %7$s, record_uri collate "C" %7$s) as winner
            from claims)
     select coalesce(jsonb_agg(to_jsonb(ranked)), ''[]'') from ranked where record_uri <> winner',
    firehose_replay_source_sql(tbl),
    firehose_replay_key_sql('c', claimed),
    spec->>'of',
    firehose_replay_key_sql('t', claimed),
    tbl,
    firehose_replay_equal_sql('t', claimed, 'c', claimed),
    case spec->'contested'->>'winner' when 'last' then 'desc' else 'asc' end
  ) into losers using rows;
  if jsonb_array_length(losers) = 0 then
    return;
  end if;
  parked := array(select firehose_replay_park(spec, l->'value', 'record ' || (l->>'winner')) from jsonb_array_elements(losers) l);
  -- A loser may still have a row: under this claim, or, if its record moved, under the former one.
  execute format('delete from %s t where t.%I in (select l->>''record_uri'' from jsonb_array_elements($1) l)',
    tbl, spec->>'of') using losers;
  rows := (select coalesce(jsonb_agg(e), '[]') from jsonb_array_elements(rows) e
           where not exists (select 1 from jsonb_array_elements(losers) l where l->>'record_uri' = e->>'of'));
end
$$;

-- Writes rows where they are absent or differ (`keep`: only where absent). Rows that say the same are left out
-- beforehand: no row version, no trigger, no lock. Leaving them out also keeps a default with side effects from
-- being evaluated for rows that exist, as ON CONFLICT would. `touched` are the texts that parked rows may wait under:
-- of rows that were there already too, for the appview itself may have brought them.
create function public.firehose_replay_write(spec jsonb, rows jsonb, keep boolean, out changed text[], out touched text[])
language plpgsql security invoker set search_path = public, extensions, pg_temp as $$
declare
  tbl      text := format('public.%I', spec->>'table');
  key_cols text[] := array(select jsonb_array_elements_text(spec->'key'));
  cols     text[] := array(select jsonb_array_elements_text(spec->'columns'));
  only_new boolean := keep or cols <@ key_cols;
begin
  execute format(
    'with want as (select distinct on (%1$s) r
                   from %5$s left join %6$s t on %7$s
                   where t.%2$I is null or %8$s
                   order by %1$s),
          done as (insert into %6$s as t (%9$s) select %10$s from want on conflict %11$s returning t.%3$I::text as of)
     select array(select distinct of from done),
            array(select distinct waited from %5$s cross join lateral unnest(array[%4$s]::text[]) waited)',
    firehose_replay_list_sql('r', key_cols),
    key_cols[1],
    coalesce(spec->>'of', key_cols[1]),
    (select string_agg(format('firehose_replay_waits_on(%L, %s)', spec->>'table', firehose_replay_key_sql('r', f.columns)), ', ')
     from firehose_replay_referenced(tbl::regclass) f where f.columns <@ cols),
    firehose_replay_source_sql(tbl),
    tbl,
    firehose_replay_equal_sql('t', key_cols, 'r', key_cols),
    case when only_new then 'false' else firehose_replay_differs_sql(tbl::regclass, 't', 'r', cols) end,
    (select string_agg(format('%I', c), ', ') from unnest(cols) c),
    (select string_agg(format('(want.r).%I', c), ', ') from unnest(cols) c),
    case when only_new then 'do nothing' else format('(%s) do update set %s',
      (select string_agg(format('%I', c), ', ') from unnest(key_cols) c),
      (select string_agg(format('%1$I = excluded.%1$I', c), ', ') from unnest(cols) c where c <> all(key_cols))) end
  ) into changed, touched using rows;
end
$$;

-- One kind of mutation on one table, for many records.
-- step: { kind: ensure | upsert | replace-children | delete, spec, rows: [{ of, row }], sets?: [{ of, parent, rows }] }
create function public.firehose_replay_step(
  step jsonb, derives jsonb, going text[],
  out changed text[], out touched text[], out parked text[]
)
language plpgsql security invoker set search_path = public, extensions, pg_temp as $$
declare
  spec    jsonb := step->'spec';
  rows    jsonb := coalesce(step->'rows', '[]');
  written record;
  waiting text[];
  pruned  text[] := '{}';
begin
  changed := '{}'; touched := '{}'; parked := '{}';
  if step->>'kind' = 'delete' then
    changed := firehose_replay_delete(spec, rows, derives, going);
    return;
  end if;
  if step->>'kind' = 'replace-children' and jsonb_array_length(step->'sets') > 0 then
    pruned := firehose_replay_prune(spec, step->'sets');
    rows := (select coalesce(jsonb_agg(jsonb_build_object('of', s->>'of', 'row', r)), '[]')
             from jsonb_array_elements(step->'sets') s cross join lateral jsonb_array_elements(s->'rows') r);
  end if;
  if jsonb_array_length(rows) > 0 and step->>'kind' <> 'ensure' then
    select * into rows, parked from firehose_replay_park_orphans(spec, rows, derives, going);
  end if;
  if jsonb_array_length(rows) > 0 and spec->'contested' is not null then
    select * into rows, waiting from firehose_replay_settle(spec, rows);
    parked := parked || waiting;
  end if;
  if jsonb_array_length(rows) > 0 then
    select * into written from firehose_replay_write(
      spec, rows, step->>'kind' = 'ensure' or coalesce((spec->>'onlyIfAbsent')::boolean, false));
    -- A row that is only ensured is not the record's own: making it does not mean that the record was applied.
    changed := case when step->>'kind' = 'ensure' then '{}' else written.changed end;
    touched := written.touched;
  end if;
  changed := changed || pruned;
end
$$;

------------------------------------------------------------------------------------------------------- drain

-- Writes rows that waited. What the database refuses of them must not keep away what they waited for, nor one
-- another: they are tried one by one then, and those that are refused alone, twice, become dead letters. (The second
-- time sees what another writer has just committed.) What may pass by itself (deadlock, no resources) is left to
-- whoever repeats the whole transaction.
create function public.firehose_replay_unpark(
  step jsonb, attempt int default 1, out changed text[], out touched text[], out lost text[]
)
language plpgsql security invoker set search_path = public, extensions, pg_temp as $$
declare
  item   jsonb;
  result record;
begin
  changed := '{}'; touched := '{}'; lost := '{}';
  select * into result from firehose_replay_step(step, '[]', '{}');
  changed := result.changed;
  touched := result.touched;
exception when others then
  if sqlstate ~ '^(08|40|53|55|57|58)' then
    raise;
  elsif attempt > 1 and jsonb_array_length(step->'rows') = 1 then
    item := step->'rows'->0;
    insert into dead_letters (uri, rev, source, seq, event, code, error)
    values (item->>'of', coalesce((select s.rev from record_state s where s.uri = item->>'of'), ''), 'parked', 0,
            jsonb_build_object('spec', step->'spec', 'row', item->'row')::text, sqlstate, sqlerrm)
    on conflict (uri, rev) do nothing;
    lost := array[item->>'of'];
  else
    for item in select jsonb_set(step, '{rows}', jsonb_build_array(e)) from jsonb_array_elements(step->'rows') e loop
      select * into result from firehose_replay_unpark(item, attempt + 1);
      changed := changed || result.changed;
      touched := touched || result.touched;
      lost := lost || result.lost;
    end loop;
  end if;
end
$$;

-- Writes the rows that waited under these texts, then those that waited for what they brought, until nothing more
-- comes of it. Rows that still cannot be written are parked again. Returns the records whose rows changed, and those
-- of which a row became a dead letter.
create function public.firehose_replay_drain(inout touched text[], out changed text[], out lost text[])
language plpgsql security invoker set search_path = public, extensions, pg_temp as $$
declare
  steps  jsonb;
  step   jsonb;
  result record;
begin
  changed := '{}'; lost := '{}';
  loop
    with taken as (delete from parked_events where waits_on = any(touched) returning uri, mutation),
         grouped as (
           select mutation->'spec' as spec,
                  jsonb_agg(jsonb_build_object('of', uri, 'row', mutation->'row') order by uri) as rows
           from taken group by mutation->'spec')
    select jsonb_agg(jsonb_build_object('kind', 'upsert', 'spec', spec, 'rows', rows)) into steps from grouped;
    exit when steps is null;
    touched := '{}';
    for step in select value from jsonb_array_elements(steps) loop
      select * into result from firehose_replay_unpark(step);
      changed := changed || result.changed;
      lost := lost || result.lost;
      touched := touched || result.touched || array(select 'record ' || u from unnest(result.changed) u);
    end loop;
  end loop;
end
$$;

-- Drains what waits for rows of these tables that are there by now, whoever brought them: rows that the appview
-- wrote itself, or that were restored from a backup.
--
-- batch: { tables: [name] }. Returns { changed, lost }: URIs of the records whose rows came, and of those of which a
-- row was refused and is a dead letter now.
create function public.firehose_replay_sweep(batch text) returns jsonb
language plpgsql security invoker set search_path = public, extensions, pg_temp as $$
declare
  tbl     text;
  parent  record;
  found   text[];
  touched text[] := '{}';
  drained record;
begin
  perform firehose_replay_take_turn();
  for tbl in select jsonb_array_elements_text(batch::jsonb->'tables') loop
    for parent in select * from firehose_replay_referenced(format('public.%I', tbl)::regclass) loop
      execute format(
        'select coalesce(array_agg(distinct p.waits_on), ''{}'')
         from parked_events p
         cross join lateral jsonb_populate_record(null::public.%1$I, substr(p.waits_on, %2$s)::jsonb) r
         where starts_with(p.waits_on, %3$L) and exists (select 1 from public.%1$I t where %4$s)',
        tbl, length(tbl) + 2, tbl || ' {', firehose_replay_equal_sql('t', parent.columns, 'r', parent.columns)
      ) into found;
      touched := touched || found;
    end loop;
  end loop;
  select * into drained from firehose_replay_drain(touched);
  return jsonb_build_object('changed', to_jsonb(drained.changed), 'lost', to_jsonb(drained.lost));
end
$$;

------------------------------------------------------------------------------------------------------- apply

-- Applies a batch of record events in one transaction and says what became of each.
--
-- batch: { records: [{ uri, rev, cid, deleted }], derives: [spec], steps: [step] }, one entry per record, steps in
-- the order in which they must run (deletes children first, then parents first). Text, not jsonb: some drivers
-- encode a jsonb argument twice.
-- Returns { stale, changed, parked, marked, lost }: lists of record URIs. `marked` are in restore_marks with this CID;
-- `lost` waited for what this batch brought, were refused, and are dead letters now.
create function public.firehose_replay_apply(batch text) returns jsonb
language plpgsql security invoker set search_path = public, extensions, pg_temp as $$
declare
  b       jsonb := batch::jsonb;
  derives jsonb := b->'derives';
  going   text[];
  moved   text[];
  stale   text[];
  held    text[];
  changed text[] := '{}';
  parked  text[] := '{}';
  touched text[] := '{}';
  step    jsonb;
  result  record;
  drained record;
begin
  perform firehose_replay_take_turn();

  -- Each record decides for itself: what is older than what the index knows is stale, wherever it came from. The
  -- rows are locked in key order, also where nothing changes, so that two batches about one record take turns.
  with decided as (
    insert into record_state as s (uri, rev, cid, deleted)
    select r.uri, r.rev, r.cid, r.deleted
    from jsonb_to_recordset(b->'records') r(uri text, rev text, cid text, deleted boolean)
    order by r.uri
    on conflict (uri) do update
      -- A second tombstone that does not name the deleted CID must not forget the one that did.
      set rev = excluded.rev, deleted = excluded.deleted,
          cid = case when excluded.deleted then coalesce(excluded.cid, s.cid) else excluded.cid end
      where s.rev < excluded.rev
         or (s.rev = excluded.rev and (s.deleted <> excluded.deleted or s.cid <> excluded.cid))
    returning s.uri)
  select coalesce(array_agg(uri), '{}') into moved from decided;
  stale := array(select r.uri from jsonb_to_recordset(b->'records') r(uri text, rev text)
                 join record_state s using (uri) where s.rev > r.rev collate "C");
  -- A delete that the index has seen before does not take the row of a record that could not be written back, and
  -- whose row a reconcile has brought from the backup since (it marks such a record with no CID).
  held := stale || array(select r.uri from jsonb_to_recordset(b->'records') r(uri text, deleted boolean)
                         join restore_marks m on m.uri = r.uri and m.cid = ''
                         where r.deleted and r.uri <> all(moved));
  -- A stale delete takes no row of its own, so what a cascade takes of its record must wait like any other.
  going := array(select r->>'uri' from jsonb_array_elements(b->'records') r
                 where (r->>'deleted')::boolean and r->>'uri' <> all(held));

  for step in select value from jsonb_array_elements(b->'steps') loop
    if cardinality(held) > 0 then
      step := step
        || jsonb_build_object('rows', (select coalesce(jsonb_agg(e), '[]') from jsonb_array_elements(step->'rows') e
                                       where e->>'of' <> all(held)))
        || jsonb_build_object('sets', (select coalesce(jsonb_agg(e), '[]') from jsonb_array_elements(step->'sets') e
                                       where e->>'of' <> all(held)));
    end if;
    select * into result from firehose_replay_step(step, derives, going);
    changed := changed || result.changed;
    touched := touched || result.touched;
    parked := parked || result.parked;
  end loop;

  -- What these records had waiting before, and have not now, is out of date.
  delete from parked_events p
    using jsonb_to_recordset(b->'records') r(uri text)
    where p.uri = r.uri and r.uri <> all(held) and p.uri || ' ' || p.target <> all(parked);

  select * into drained
  from firehose_replay_drain(touched || array(select 'record ' || u from unnest(moved || changed) u));
  changed := changed || drained.changed;

  return jsonb_build_object(
    'stale', to_jsonb(stale),
    'changed', (select coalesce(jsonb_agg(distinct u), '[]') from unnest(changed) u),
    'parked', (select coalesce(jsonb_agg(distinct split_part(u, ' ', 1)), '[]') from unnest(parked) u),
    'marked', (select coalesce(jsonb_agg(m.uri), '[]') from jsonb_to_recordset(b->'records') r(uri text, cid text)
               join restore_marks m on m.uri = r.uri and m.cid = r.cid),
    'lost', to_jsonb(drained.lost));
end
$$;

----------------------------------------------------------------------------------------------------- restore

-- A FROM item that reads $1, an array of { id, row } whose values are all text, as typed columns plus row_id. Text
-- in, cast here: a timestamp keeps its microseconds and a number its digits.
create function public.firehose_replay_typed_sql(tbl regclass, columns text[]) returns text
language sql stable security invoker set search_path = public, extensions, pg_temp as $$
  select format('(select e.item->>''id'' as row_id, %s from jsonb_array_elements($1) e(item))',
    string_agg(format('(e.item->''row''->>%L)::%s as %I', a.attname, format_type(a.atttypid, a.atttypmod), a.attname), ', '
               order by a.attnum))
  from pg_attribute a
  where a.attrelid = tbl and a.attname = any(columns)
$$;

-- Unique keys of a table, as column lists; keys on expressions or parts of a table cannot be looked up by columns
-- and are left to ON CONFLICT.
create function public.firehose_replay_unique_keys(tbl regclass) returns table (columns text[], is_primary boolean)
language sql stable security invoker set search_path = public, extensions, pg_temp as $$
  select array(select a.attname::text from unnest(i.indkey::int2[]) with ordinality k(n, o)
               join pg_attribute a on a.attrelid = i.indrelid and a.attnum = k.n
               where k.o <= i.indnkeyatts order by k.o), i.indisprimary
  from pg_index i
  where i.indrelid = tbl and i.indisunique and i.indpred is null and i.indexprs is null
$$;

-- Brings rows of the backup back where they are absent, in one transaction, and decides again for each row now.
--
-- batch: { table, key, of?, columns, rows: [{ id, row }] }; values are text or null; `of` is the column that holds
-- the AT-URI of the record that the row was made from, if there is one.
-- Returns { rows: [{ id, outcome, detail? }], observed: [{ table, column }] }: outcomes are restored, unchanged,
-- kept (the row is there and differs), withdrawn (its record is a tombstone), blocked (detail: the missing parent),
-- conflict (detail: the row that holds a unique key). `observed` are columns of parent rows that changed by
-- themselves when these rows came: triggers keep them.
create function public.firehose_replay_restore(batch text) returns jsonb
language plpgsql security invoker set search_path = public, extensions, pg_temp as $$
declare
  b        jsonb := batch::jsonb;
  tbl      regclass := format('public.%I', b->>'table')::regclass;
  rows     jsonb := b->'rows';
  key_cols text[] := array(select jsonb_array_elements_text(b->'key'));
  cols     text[] := array(select jsonb_array_elements_text(b->'columns'));
  source   text := firehose_replay_typed_sql(tbl, cols);
  found    jsonb;
  verdicts jsonb := '[]';
  observed jsonb := '[]';
  before   jsonb := '{}';
  fk       record;
  uk       record;
begin
  perform firehose_replay_take_turn();

  -- Present already.
  execute format(
    'select coalesce(jsonb_agg(jsonb_build_object(''id'', s.row_id, ''outcome'',
       case when %s then ''kept'' else ''unchanged'' end)), ''[]'') from %s s join %s t on %s',
    firehose_replay_differs_sql(tbl, 't', 's', cols), source, tbl, firehose_replay_equal_sql('t', key_cols, 's', key_cols)
  ) into found using rows;
  verdicts := verdicts || found;
  rows := firehose_replay_without(rows, found);

  -- Withdrawn by its author: the record is known to be deleted.
  if b->>'of' is not null and jsonb_array_length(rows) > 0 then
    execute format(
      'select coalesce(jsonb_agg(jsonb_build_object(''id'', s.row_id, ''outcome'', ''withdrawn'',
         ''detail'', ''its record was deleted'')), ''[]'') from %s s join record_state r on r.uri = s.%I and r.deleted',
      source, b->>'of') into found using rows;
    verdicts := verdicts || found;
    rows := firehose_replay_without(rows, found);
  end if;

  -- Blocked by a missing parent. A row of this same batch may be the parent.
  for fk in select * from firehose_replay_foreign_keys(tbl) f where f.columns <@ cols loop
    exit when jsonb_array_length(rows) = 0;
    execute format(
      'select coalesce(jsonb_agg(jsonb_build_object(''id'', s.row_id, ''outcome'', ''blocked'',
         ''detail'', %1$L || %2$s::text)), ''[]'') from %3$s s
       where %4$s and not exists (select 1 from %5$s p where %6$s) %7$s',
      fk.parent_name || ' ', firehose_replay_key_sql('s', fk.columns, fk.parent_columns), source,
      (select string_agg(format('s.%I is not null', c), ' and ') from unnest(fk.columns) c),
      fk.parent, firehose_replay_equal_sql('p', fk.parent_columns, 's', fk.columns),
      case when fk.parent = tbl then format('and not exists (select 1 from %s p where %s)', source,
        firehose_replay_equal_sql('p', fk.parent_columns, 's', fk.columns)) else '' end
    ) into found using rows;
    verdicts := verdicts || found;
    rows := firehose_replay_without(rows, found);
  end loop;

  -- Another row holds one of its unique keys.
  for uk in select * from firehose_replay_unique_keys(tbl) u where u.columns <@ cols and u.columns <> key_cols loop
    exit when jsonb_array_length(rows) = 0;
    execute format(
      'select coalesce(jsonb_agg(jsonb_build_object(''id'', s.row_id, ''outcome'', ''conflict'',
         ''detail'', %L || %s::text)), ''[]'') from %s s join %s t on %s',
      'held by ', firehose_replay_key_sql('t', key_cols), source, tbl,
      firehose_replay_equal_sql('t', uk.columns, 's', uk.columns)
    ) into found using rows;
    verdicts := verdicts || found;
    rows := firehose_replay_without(rows, found);
  end loop;

  if jsonb_array_length(rows) > 0 then
    for fk in select * from firehose_replay_foreign_keys(tbl) f where f.columns <@ cols and f.parent <> tbl loop
      before := before || jsonb_build_object(array_to_string(fk.columns, ','),
        firehose_replay_parent_rows(fk.parent, fk.parent_columns, fk.columns, source, rows));
    end loop;

    execute format(
      'with done as (insert into %1$s as t (%2$s) overriding system value select %3$s from %4$s s
                     on conflict do nothing returning %5$s as row_key)
       select coalesce(jsonb_agg(jsonb_build_object(''id'', s.row_id) ||
         case when done.row_key is null then ''{"outcome": "conflict", "detail": "a unique key is taken"}''::jsonb
              else ''{"outcome": "restored"}''::jsonb end), ''[]'')
       from %4$s s left join done on done.row_key = %6$s',
      tbl, (select string_agg(quote_ident(c), ', ') from unnest(cols) c), firehose_replay_list_sql('s', cols), source,
      firehose_replay_key_sql('t', key_cols), firehose_replay_key_sql('s', key_cols)
    ) into found using rows;
    verdicts := verdicts || found;

    for fk in select * from firehose_replay_foreign_keys(tbl) f where f.columns <@ cols and f.parent <> tbl loop
      observed := observed || (
        select coalesce(jsonb_agg(distinct jsonb_build_object('table', fk.parent_name, 'column', n.key)), '[]')
        from jsonb_each(before->array_to_string(fk.columns, ',')) o
        join jsonb_each(firehose_replay_parent_rows(fk.parent, fk.parent_columns, fk.columns, source, rows)) a using (key)
        cross join lateral jsonb_each(a.value) n
        where n.value is distinct from o.value->n.key);
    end loop;
  end if;

  return jsonb_build_object('rows', verdicts, 'observed', observed);
end
$$;

-- The parent rows that a batch names, by their key as text: to see what changes in them by itself.
create function public.firehose_replay_parent_rows(
  parent regclass, parent_columns text[], columns text[], source text, rows jsonb
) returns jsonb
language plpgsql stable security invoker set search_path = public, extensions, pg_temp as $$
declare
  answer jsonb;
begin
  execute format(
    'select coalesce(jsonb_object_agg(%s::text, to_jsonb(p)), ''{}'') from %s p where exists (select 1 from %s s where %s)',
    firehose_replay_key_sql('p', parent_columns), parent, source,
    firehose_replay_equal_sql('p', parent_columns, 's', columns)) into answer using rows;
  return answer;
end
$$;

-- The rows that have no verdict yet.
create function public.firehose_replay_without(rows jsonb, found jsonb) returns jsonb
language sql immutable security invoker set search_path = public, extensions, pg_temp as $$
  select case when jsonb_array_length(found) = 0 then rows else
    (select coalesce(jsonb_agg(r), '[]') from jsonb_array_elements(rows) r
     where r->>'id' not in (select f->>'id' from jsonb_array_elements(found) f)) end
$$;

-- Sets columns of rows that are there, each only while the row still holds what the plan saw.
--
-- batch: { table, key, columns, rows: [{ id, key: {...}, set: {...}, when: {...} }] }; values are text or null;
-- `set` and `when` name the same columns in every row.
-- Returns { rows: [{ id, outcome }] }: set, unchanged (it held the value already), kept (it holds another), missing.
create function public.firehose_replay_set_columns(batch text) returns jsonb
language plpgsql security invoker set search_path = public, extensions, pg_temp as $$
declare
  b        jsonb := batch::jsonb;
  tbl      regclass := format('public.%I', b->>'table')::regclass;
  key_cols text[] := array(select jsonb_array_elements_text(b->'key'));
  cols     text[] := array(select jsonb_array_elements_text(b->'columns'));
  seen     text[] := array(select jsonb_object_keys(b->'rows'->0->'when'));
  wanted   text := replace(firehose_replay_typed_sql(tbl, key_cols || cols), '''row''', '''want''');
  expected text := replace(firehose_replay_typed_sql(tbl, key_cols || seen), '''row''', '''seen''');
  rows     jsonb;
  answer   jsonb;
begin
  rows := (select coalesce(jsonb_agg(jsonb_build_object('id', r->'id', 'want', (r->'key') || (r->'set'), 'seen', (r->'key') || (r->'when'))), '[]')
           from jsonb_array_elements(b->'rows') r);
  execute format(
    'with state as (select w.row_id, t.%8$I is null as absent, not (%1$s) as same, not (%2$s) as as_seen
                    from %3$s w join %4$s x on x.row_id = w.row_id left join %5$s t on %6$s),
          done as (update %5$s t set %7$s from %3$s w join state on state.row_id = w.row_id
                   where %6$s and state.as_seen and not state.same returning w.row_id)
     select coalesce(jsonb_agg(jsonb_build_object(''id'', s.row_id, ''outcome'',
       case when d.row_id is not null then ''set'' when s.absent then ''missing'' when s.same then ''unchanged'' else ''kept'' end)), ''[]'')
     from state s left join done d on d.row_id = s.row_id',
    firehose_replay_differs_sql(tbl, 't', 'w', cols),
    firehose_replay_differs_sql(tbl, 't', 'x', seen),
    wanted, expected, tbl,
    firehose_replay_equal_sql('t', key_cols, 'w', key_cols),
    (select string_agg(format('%1$I = w.%1$I', c), ', ') from unnest(cols) c),
    key_cols[1]
  ) into answer using rows;
  return jsonb_build_object('rows', answer);
end
$$;

----------------------------------------------------------------------------------------------------- catalog

-- What the database is made of: tables of public with columns and keys, and every foreign key from or to them.
-- `instance` tells this database from another one that was restored from the same backup.
create function public.firehose_replay_catalog() returns jsonb
language sql stable security invoker set search_path = public, extensions, pg_temp as $$
  select jsonb_build_object(
    'instance', (select d.oid::text || '@' || extract(epoch from pg_postmaster_start_time())::text
                 from pg_database d where d.datname = current_database()),
    'tables', (
      select jsonb_agg(jsonb_build_object(
        'name', t.relname,
        'columns', (
          select jsonb_agg(jsonb_build_object(
            'name', a.attname,
            'type', format_type(a.atttypid, a.atttypmod),
            'nullable', not a.attnotnull,
            'default', pg_get_expr(d.adbin, d.adrelid),
            'generated', a.attgenerated <> '',
            'identity', nullif(a.attidentity::text, '')) order by a.attnum)
          from pg_attribute a left join pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum
          where a.attrelid = t.oid and a.attnum > 0 and not a.attisdropped),
        'uniqueKeys', (
          select coalesce(jsonb_agg(to_jsonb(u.columns) order by u.is_primary desc, u.columns), '[]')
          from firehose_replay_unique_keys(t.oid::regclass) u),
        'primaryKey', (select to_jsonb(u.columns) from firehose_replay_unique_keys(t.oid::regclass) u where u.is_primary),
        'triggers', (
          select coalesce(jsonb_agg(g.tgname order by g.tgname), '[]') from pg_trigger g
          where g.tgrelid = t.oid and not g.tgisinternal)
      ) order by t.relname)
      from pg_class t where t.relnamespace = 'public'::regnamespace and t.relkind in ('r', 'p')),
    'foreignKeys', (
      select coalesce(jsonb_agg(jsonb_build_object(
        'name', c.conname,
        'child', child.relname, 'childSchema', child.relnamespace::regnamespace::text,
        'parent', parent.relname, 'parentSchema', parent.relnamespace::regnamespace::text,
        'columns', f.columns, 'parentColumns', f.parent_columns,
        'onDelete', case c.confdeltype when 'c' then 'cascade' when 'n' then 'set null' when 'd' then 'set default'
                                       when 'r' then 'restrict' else 'no action' end,
        'deferrable', c.condeferrable) order by child.relname, c.conname), '[]')
      from pg_constraint c
      join pg_class child on child.oid = c.conrelid
      join pg_class parent on parent.oid = c.confrelid
      cross join lateral (
        select array(select a.attname::text from unnest(c.conkey) with ordinality k(n, i)
                     join pg_attribute a on a.attrelid = c.conrelid and a.attnum = k.n order by k.i) as columns,
               array(select a.attname::text from unnest(c.confkey) with ordinality k(n, i)
                     join pg_attribute a on a.attrelid = c.confrelid and a.attnum = k.n order by k.i) as parent_columns) f
      where c.contype = 'f' and 'public'::regnamespace in (child.relnamespace, parent.relnamespace)))
$$;

------------------------------------------------------------------------------------------------------ accounts

-- The accounts whose records the index knows, in order, a page at a time. batch: { after, count }. One look into the
-- index for each account, however many records it has.
create function public.firehose_replay_accounts(batch text) returns jsonb
language sql stable security invoker set search_path = public, extensions, pg_temp as $$
  with recursive page(did, position) as (
    (select split_part(s.uri, '/', 3), 1 from record_state s
     where split_part(s.uri, '/', 3) > batch::jsonb->>'after' order by 1 limit 1)
    union all
    select (select split_part(s.uri, '/', 3) from record_state s
            where split_part(s.uri, '/', 3) > page.did order by 1 limit 1), page.position + 1
    from page where page.did is not null and page.position < (batch::jsonb->>'count')::int
  )
  select coalesce(jsonb_agg(did order by position), '[]') from page where did is not null
$$;

-- Sets restore marks, given as [{ uri, cid, did, run }]. Those that are there already stay as they are.
create function public.firehose_replay_mark(batch text) returns void
language sql security invoker set search_path = public, extensions, pg_temp as $$
  insert into restore_marks (uri, cid, did, run)
  select uri, cid, did, run from jsonb_to_recordset(batch::jsonb) r(uri text, cid text, did text, run text)
  on conflict (uri, cid) do nothing
$$;

------------------------------------------------------------------------------------------------------- grants

alter table public.firehose_cursors enable row level security;
alter table public.record_state enable row level security;
alter table public.parked_events enable row level security;
alter table public.dead_letters enable row level security;
alter table public.restore_marks enable row level security;
alter table public.replay_receipts enable row level security;
alter table public.write_requests enable row level security;
alter table public.write_failures enable row level security;

do $$
declare
  item text;
begin
  foreach item in array array['firehose_cursors', 'record_state', 'parked_events', 'dead_letters', 'restore_marks', 'replay_receipts', 'write_requests', 'write_failures'] loop
    execute format('revoke all on public.%I from public, anon, authenticated', item);
    execute format('grant select, insert, update, delete on public.%I to service_role', item);
  end loop;
  for item in select p.oid::regprocedure::text from pg_proc p
              where p.pronamespace = 'public'::regnamespace and p.proname like 'firehose\_replay\_%' loop
    execute format('revoke all on function %s from public, anon, authenticated', item);
    execute format('grant execute on function %s to service_role', item);
  end loop;
end
$$;
