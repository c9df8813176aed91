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

-- Receipts of finished replays: the index has reached this revision of the repo; with_deletes says that the records
-- which the repo no longer had were looked for, too.
create table public.replay_receipts (
  did          text primary key,
  rev          text collate "C" not null,
  commit       text not null,
  with_deletes boolean not null default false,
  finished_at  timestamptz not null default now()
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

-- A FROM item that reads $1, an array of { id, row } whose values are all text, as typed columns plus firehose_row_id.
-- Text in, cast here: a timestamp keeps its microseconds and a number its digits. To the type without its length: a
-- cast to varchar(6) cuts without a word what the column itself refuses. `part` is where an element has its row; a
-- column that it lacks is NULL.
create function public.firehose_replay_typed_sql(tbl regclass, columns text[], part text default 'row') returns text
language sql stable security invoker set search_path = public, extensions, pg_temp as $$
  select format('(select e.item->>''id'' as firehose_row_id, %s from jsonb_array_elements($1) e(item))',
    string_agg(format('(e.item->%L->>%L)::%s as %I', part, a.attname, format_type(a.atttypid, -1), a.attname), ', '
               order by a.attnum))
  from pg_attribute a
  where a.attrelid = tbl and a.attname = any(columns)
$$;

-- The same for rows as they are sent ({ columns, common, values }): `common` has what all rows have alike, and `values`
-- lists of the rest, in the order of `columns`; rows are numbered from 0. What hangs on one row names it alike in every
-- row: without that, and without the names, a batch is a third as long. Reads values as $1 and common as $2.
create function public.firehose_replay_listed_sql(tbl regclass, columns text[], common jsonb) returns text
language sql stable security invoker set search_path = public, extensions, pg_temp as $$
  select format('(select (e.place - 1)::text as firehose_row_id, %s from jsonb_array_elements($1) with ordinality e(item, place))',
    string_agg(format('%s::%s as %I',
      case when common ? c.name then format('($2->>%L)', c.name) else format('(e.item->>%s)', c.listed - 1) end,
      format_type(a.atttypid, -1), a.attname), ', ' order by c.place))
  from (select name, place, count(*) filter (where not common ? name) over (order by place) as listed
        from unnest(columns) with ordinality u(name, place)) c
  join pg_attribute a on a.attrelid = tbl and a.attname = c.name
$$;

-- Rows as they are sent, each with its names and with what is noted of it: [{ id, row, ... }].
create function public.firehose_replay_named(b jsonb) returns jsonb
language sql immutable security invoker set search_path = public, extensions, pg_temp as $$
  select coalesce(jsonb_agg(jsonb_build_object('id', (e.place - 1)::text, 'row', (b->'common') || jsonb_object(names.list,
             array(select v.value from jsonb_array_elements_text(e.item) with ordinality v(value, i) order by v.i)))
           || coalesce(b->'notes'->((e.place - 1)::text), '{}') order by e.place), '[]')
  from (select array(select c from jsonb_array_elements_text(b->'columns') with ordinality k(c, i)
                     where not b->'common' ? c order by i) as list) names
  cross join jsonb_array_elements(b->'values') with ordinality e(item, place)
$$;

-- Unique keys of a table, as column lists; keys on expressions or parts of a table are no column lists.
create function public.firehose_replay_unique_keys(tbl regclass) returns table (columns text[], is_primary boolean)
language sql stable security invoker set search_path = public, extensions, pg_temp as $$
  select array(select a.attname::text from unnest(i.indkey::int2[]) with ordinality k(n, o)
               join pg_attribute a on a.attrelid = i.indrelid and a.attnum = k.n
               where k.o <= i.indnkeyatts order by k.o), i.indisprimary
  from pg_index i
  where i.indrelid = tbl and i.indisunique and i.indpred is null and i.indexprs is null
$$;

-- The columns of a row as text, for alias t: `jsonb_object(array['uri'], array[t.uri::text])`.
create function public.firehose_replay_text_sql(alias text, columns text[]) returns text
language sql immutable security invoker set search_path = public, extensions, pg_temp as $$
  select format('jsonb_object(array[%s]::text[], array[%s]::text[])',
    string_agg(quote_literal(c.name), ', ' order by c.i), string_agg(format('%I.%I::text', alias, c.name), ', ' order by c.i))
  from unnest(columns) with ordinality c(name, i)
$$;

-- The rows that have no verdict yet.
create function public.firehose_replay_without(rows jsonb, found jsonb) returns jsonb
language sql immutable security invoker set search_path = public, extensions, pg_temp as $$
  select case when jsonb_array_length(found) = 0 then rows else
    (select coalesce(jsonb_agg(r order by i), '[]') from jsonb_array_elements(rows) with ordinality e(r, i)
     where r->>'id' not in (select f->>'id' from jsonb_array_elements(found) f)) end
$$;

-- Rows whose place another row holds by a unique index that no list of columns tells: of expressions, of a part of a
-- table, with NULLs that are alike. (`also_plain`: by any unique index.) Keys that say more than the columns given are
-- left to the insert. Verdicts with the key of the row that holds it, as JSON for people (detail) and as texts (holder).
create function public.firehose_replay_holders(
  tbl regclass, key_cols text[], cols text[], rows jsonb, also_plain boolean default false
) returns jsonb
language plpgsql stable security invoker set search_path = public, extensions, pg_temp as $$
declare
  named    text := (select relname from pg_class where oid = tbl);
  source   text := firehose_replay_typed_sql(tbl, cols);
  verdicts jsonb := '[]';
  found    jsonb;
  uk       record;
begin
  for uk in
    select array(select pg_get_indexdef(i.indexrelid, k, true) from generate_series(1, i.indnkeyatts) k) as terms,
           coalesce(pg_get_expr(i.indpred, i.indrelid), 'true') as condition,
           coalesce((to_jsonb(i)->>'indnullsnotdistinct')::boolean, false) as nulls_equal
    from pg_index i
    where i.indrelid = tbl and i.indisunique and i.indisvalid and not i.indisprimary
      and (also_plain or i.indpred is not null or i.indexprs is not null
           or coalesce((to_jsonb(i)->>'indnullsnotdistinct')::boolean, false))
      and not exists (
        select 1 from pg_attribute a
        where a.attrelid = tbl and a.attnum > 0 and a.attname <> all(cols)
          and (a.attnum = any(i.indkey::int2[])
               or exists (select 1 from pg_depend d where d.classid = 'pg_class'::regclass and d.objid = i.indexrelid
                            and d.refclassid = 'pg_class'::regclass and d.refobjid = tbl and d.refobjsubid = a.attnum)))
  loop
    exit when jsonb_array_length(rows) = 0;
    execute format(
      'select coalesce(jsonb_agg(distinct jsonb_build_object(''id'', s.firehose_row_id, ''outcome'', ''conflict'',
         ''detail'', %1$L || %2$s::text, ''holder'', array[%3$s]::text[])), ''[]'')
       from (select firehose_row_id, %4$s from %5$s s where %6$s) s
       join (select %7$s, %4$s from %8$s as t where %6$s) h on %9$s',
      'held by ' || named || ' ', firehose_replay_key_sql('h', (select array_agg('k' || i) from generate_subscripts(key_cols, 1) i), key_cols),
      (select string_agg(format('h.k%s::text', i), ', ' order by i) from generate_subscripts(key_cols, 1) i),
      (select string_agg(format('(%s) as e%s', uk.terms[i], i), ', ' order by i) from generate_subscripts(uk.terms, 1) i),
      source, uk.condition,
      (select string_agg(format('t.%I as k%s', key_cols[i], i), ', ' order by i) from generate_subscripts(key_cols, 1) i),
      tbl,
      (select string_agg(format('h.e%1$s %2$s s.e%1$s', i, case when uk.nulls_equal then 'is not distinct from' else '=' end), ' and ')
       from generate_subscripts(uk.terms, 1) i)
    ) into found using rows;
    verdicts := verdicts || found;
    rows := firehose_replay_without(rows, found);
  end loop;
  return verdicts;
end
$$;

-- Which rows cannot be inserted now: those that are there, whose record is a tombstone, whose place is held, or whose
-- parent is missing (a row of this same batch may be the parent). Parents in tables of `later` are not looked for.
create function public.firehose_replay_decide(b jsonb, inout rows jsonb, out verdicts jsonb)
language plpgsql stable security invoker set search_path = public, extensions, pg_temp as $$
declare
  tbl      regclass := format('public.%I', b->>'table')::regclass;
  key_cols text[] := array(select jsonb_array_elements_text(b->'key'));
  cols     text[] := array(select jsonb_array_elements_text(b->'columns'));
  source   text := firehose_replay_typed_sql(tbl, cols);
  refusals text;
  hangs_on_itself boolean;
  found    jsonb;
  count    int;
begin
  select string_agg(r.term, ', ' order by r.place), coalesce(bool_or(r.hangs_on_itself), false)
  into refusals, hangs_on_itself from firehose_replay_refusals_sql(b, tbl, key_cols, cols, source) r;
  verdicts := '[]';
  -- A row that falls away may be the parent of another one of the batch: looked at until nothing more does.
  loop
    count := jsonb_array_length(rows);
    exit when count = 0;
    -- One look at each row, and one look-up for each thing that may be in its way, the first of which tells.
    execute format(
      'select coalesce(jsonb_agg(v.verdict || jsonb_build_object(''id'', s.firehose_row_id)), ''[]'')
       from %s s left join %s t on %s
       cross join lateral (select case when t.%I is not null
         then jsonb_build_object(''outcome'', case when %s then ''kept'' else ''unchanged'' end) else coalesce(null::jsonb%s) end as verdict) v
       where v.verdict is not null',
      source, tbl, firehose_replay_equal_sql('t', key_cols, 's', key_cols), key_cols[1],
      firehose_replay_differs_sql(tbl, 't', 's', cols), ', ' || refusals
    ) into found using rows;
    verdicts := verdicts || found;
    rows := firehose_replay_without(rows, found);

    found := firehose_replay_holders(tbl, key_cols, cols, rows);
    verdicts := verdicts || found;
    rows := firehose_replay_without(rows, found);
    exit when not hangs_on_itself or jsonb_array_length(rows) = count;
  end loop;
end
$$;

-- What may be in the way of a row s of `source`, as SQL terms that are NULL where it is not and a verdict where it is.
create function public.firehose_replay_refusals_sql(b jsonb, tbl regclass, key_cols text[], cols text[], source text)
returns table (place int, term text, hangs_on_itself boolean)
language sql stable security invoker set search_path = public, extensions, pg_temp as $$
  select 1, format('(select jsonb_build_object(''outcome'', ''withdrawn'', ''detail'', ''its record was deleted'')
                     from record_state r where r.uri = s.%I and r.deleted)', b->>'of'), false
  where b->>'of' = any(cols)
  union all
  -- Another row has what only one may have, by the schema or by the appview's own rule.
  select 2, format('(select jsonb_build_object(''outcome'', ''conflict'', ''detail'', %L || %s::text, ''holder'', array[%s]::text[])
                     from %s h where %s limit 1)',
    'held by ' || (b->>'table') || ' ', firehose_replay_key_sql('h', key_cols),
    (select string_agg(format('h.%I::text', c), ', ' order by i) from unnest(key_cols) with ordinality k(c, i)),
    tbl, firehose_replay_equal_sql('h', u.columns, 's', u.columns)), false
  from (select columns from firehose_replay_unique_keys(tbl)
        union select array(select jsonb_array_elements_text(v)) from jsonb_array_elements(coalesce(b->'virtualKeys', '[]')) v) u
  where u.columns <@ cols and u.columns <> key_cols
  union all
  select 3, format('case when %s and not exists (select 1 from %s p where %s)%s
                    then jsonb_build_object(''outcome'', ''blocked'', ''detail'', %L || %s::text) end',
    (select string_agg(format('s.%I is not null', c), ' and ') from unnest(f.columns) c),
    f.parent, firehose_replay_equal_sql('p', f.parent_columns, 's', f.columns),
    case when f.parent = tbl then format(' and not exists (select 1 from %s p where %s)', source,
      firehose_replay_equal_sql('p', f.parent_columns, 's', f.columns)) else '' end,
    f.parent_name || ' ', firehose_replay_key_sql('s', f.columns, f.parent_columns)), f.parent = tbl
  from firehose_replay_foreign_keys(tbl) f join pg_class p on p.oid = f.parent
  where f.columns <@ cols
    and f.parent_name <> all(array(select jsonb_array_elements_text(b->'later')))
    -- What may not be read is left to the insert, which the database checks with the rights of its owner.
    and has_schema_privilege(p.relnamespace, 'usage') and has_table_privilege(f.parent, 'select')
$$;

-- What would become of rows, as far as can be seen from outside: those that would not be inserted, with outcome and
-- detail as firehose_replay_restore has them. Nothing is written. `later` names tables whose missing rows are to come.
create function public.firehose_replay_foresee(batch text) returns jsonb
language sql stable security invoker set search_path = public, extensions, pg_temp as $$
  select jsonb_build_object('rows', d.verdicts)
  from (select batch::jsonb as b offset 0) sent cross join lateral firehose_replay_decide(b, firehose_replay_named(b)) d
$$;

-- Rows by key. batch: { table, key, columns, common, values }, the last two of the columns of `key`. Returns { rows: [{ id, row:
-- [text] }] } of those that are there: the number of the key, and every column as text, in the order of `columns`.
create function public.firehose_replay_rows(batch text) returns jsonb
language plpgsql stable security invoker set search_path = public, extensions, pg_temp as $$
declare
  b        jsonb := batch::jsonb;
  tbl      regclass := format('public.%I', b->>'table')::regclass;
  key_cols text[] := array(select jsonb_array_elements_text(b->'key'));
  answer   jsonb;
begin
  execute format(
    'select coalesce(jsonb_agg(jsonb_build_object(''id'', s.firehose_row_id, ''row'', to_jsonb(array[%s]::text[]))), ''[]'')
     from %s s join %s t on %s',
    (select string_agg(format('t.%I::text', c), ', ' order by i) from jsonb_array_elements_text(b->'columns') with ordinality k(c, i)),
    firehose_replay_listed_sql(tbl, key_cols, b->'common'), tbl, firehose_replay_equal_sql('t', key_cols, 's', key_cols)
  ) into answer using b->'values', b->'common';
  return jsonb_build_object('rows', answer);
end
$$;

-- Whether a trigger may do something by itself when a row is inserted: one of a partition is one of its table.
create function public.firehose_replay_has_triggers(tbl regclass) returns boolean
language sql stable security invoker set search_path = public, extensions, pg_temp as $$
  select exists (select 1 from pg_trigger g where not g.tgisinternal and g.tgenabled <> 'D'
                   and (g.tgrelid = tbl or g.tgrelid in (select p.relid from pg_partition_tree(tbl) p)))
$$;

-- The rows of watched tables that rows hang on, however many steps up: { table: { key as text: row } }. To see what
-- changes in them by itself.
create function public.firehose_replay_above(tbl regclass, rows jsonb, watched text[], depth int default 0) returns jsonb
language plpgsql stable security invoker set search_path = public, extensions, pg_temp as $$
declare
  answer jsonb := '{}';
  found  jsonb;
  higher jsonb;
  fk     record;
begin
  -- Rows may refer to one another in a circle; what counts is counted a few steps away.
  if depth > 8 or jsonb_array_length(coalesce(rows, '[]')) = 0 then
    return answer;
  end if;
  for fk in select * from firehose_replay_foreign_keys(tbl) f where f.parent_name = any(watched) loop
    execute format(
      'select coalesce(jsonb_object_agg(%s::text, to_jsonb(p)), ''{}'') from %s p
       where exists (select 1 from jsonb_populate_recordset(null::%s, $1) s where %s)',
      firehose_replay_key_sql('p', fk.parent_columns), fk.parent, tbl,
      firehose_replay_equal_sql('p', fk.parent_columns, 's', fk.columns)) into found using rows;
    continue when found = '{}';
    higher := firehose_replay_above(fk.parent, (select jsonb_agg(value) from jsonb_each(found)), watched, depth + 1)
              || jsonb_build_object(fk.parent_name, found);
    answer := answer || (select jsonb_object_agg(key, coalesce(answer->key, '{}') || value) from jsonb_each(higher));
  end loop;
  return answer;
end
$$;

-- Columns that differ between two looks at the same rows: [{ table, column }].
create function public.firehose_replay_moved(earlier jsonb, later jsonb) returns jsonb
language sql immutable security invoker set search_path = public, extensions, pg_temp as $$
  select coalesce(jsonb_agg(distinct jsonb_build_object('table', t.key, 'column', c.key)), '[]')
  from jsonb_each(earlier) t
  cross join lateral jsonb_each(t.value) r
  cross join lateral jsonb_each(later->t.key->r.key) c
  where c.value is distinct from r.value->c.key
$$;

-- Moves the sequences behind columns past the ids that were restored, where they are behind them. Returns those that
-- the caller may not move. One that is ahead stays: it has given out what is above.
create function public.firehose_replay_move_sequences(tbl regclass, cols text[], ids jsonb) returns jsonb
language plpgsql security invoker set search_path = public, extensions, pg_temp as $$
declare
  stuck jsonb := '[]';
  col   text;
  seq   regclass;
  top   bigint;
  is_behind boolean;
begin
  foreach col in array cols loop
    seq := pg_get_serial_sequence(tbl::text, col);
    continue when seq is null;
    top := (select max((r->'row'->>col)::bigint) from jsonb_array_elements(ids) r);
    continue when top is null or not coalesce((select s.seqincrement > 0 and not s.seqcycle from pg_sequence s where s.seqrelid = seq), false);
    if not has_sequence_privilege(seq, 'usage, select') or not has_sequence_privilege(seq, 'update') then
      stuck := stuck || to_jsonb(seq::text);
      continue;
    end if;
    execute format('select last_value < $1 or last_value = $1 and not is_called from %s', seq) into is_behind using top;
    if is_behind then
      execute format('select setval(%L, greatest($1, (select last_value from %s)))', seq, seq) using top;
    end if;
  end loop;
  return stuck;
end
$$;

-- Rows that an earlier run could not bring or fill, and that have a mark of that (`pending`), are there.
create function public.firehose_replay_settled(rows jsonb, verdicts jsonb) returns void
language sql volatile security invoker set search_path = public, extensions, pg_temp as $$
  delete from restore_marks m
  using jsonb_array_elements(rows) r
  where m.cid = '' and m.uri = r->>'pending' and r ? 'pending'
    and exists (select 1 from jsonb_array_elements(verdicts) v
                where v->>'id' = r->>'id' and v->>'outcome' in ('restored', 'set', 'unchanged'))
$$;

-- Inserts all rows of a batch, or none and says false: then something is in the way of one of them. Of most batches
-- nothing is, and to be told so by the insert costs a third of looking for it first. Constraints that wait for the end
-- of the transaction are asked now, when there is still somebody to tell.
create function public.firehose_replay_insert_all(b jsonb, tbl regclass, cols text[]) returns boolean
language plpgsql security invoker set search_path = public, extensions, pg_temp as $$
declare
  guards text := '';
  count  int;
begin
  -- What the database does not refuse by itself: a deleted record's row, and one in a place that the appview keeps for one.
  if b->>'of' = any(cols) then
    guards := format(' and not exists (select 1 from record_state r where r.uri = s.%I and r.deleted)', b->>'of');
  end if;
  guards := guards || coalesce((
    select string_agg(format(' and not exists (select 1 from %s h where %s)', tbl, firehose_replay_equal_sql('h', u.columns, 's', u.columns)), '')
    from (select array(select jsonb_array_elements_text(v)) as columns from jsonb_array_elements(b->'virtualKeys') v) u
    where u.columns <@ cols), '');
  execute format('insert into %s (%s) overriding system value select %s from %s s where true%s',
    tbl, (select string_agg(quote_ident(c), ', ' order by i) from unnest(cols) with ordinality k(c, i)),
    firehose_replay_list_sql('s', cols), firehose_replay_listed_sql(tbl, cols, b->'common'), guards) using b->'values', b->'common';
  get diagnostics count = row_count;
  if count <> jsonb_array_length(b->'values') then
    raise exception sqlstate 'FR001';
  end if;
  set constraints all immediate;
  return true;
exception when unique_violation or exclusion_violation or foreign_key_violation or sqlstate 'FR001' then
  return false;
end
$$;

-- Brings rows of the backup back where they are absent, in one transaction, and decides again for each row now.
--
-- batch: { table, key, of?, columns, virtualKeys?, watch?: [{ table, key, columns }], common: { column: text }, values:
-- [[text]], notes?: { id: { record?, pending? } } }; `values` are the rows, each a list of texts and nulls in the order of
-- `columns` without those that `common` has for all of them, and an id is a row's number, from 0. `of` is the column that
-- holds the AT-URI of the record that the row was made from, if there is one. `record` ({ uri, cid, rev }) is what that
-- record was found to be just now: it is put in record_state with the row, so that an older event about it is stale.
-- Returns { restored: count, rows: [{ id, outcome, detail?, holder? }], observed: [{ table, column }], altered: [{ id,
-- row }], made: [{ table, row }], stuck: [sequence] }. `rows` are those that were not restored: unchanged, kept (the row
-- is there and differs), withdrawn (its record is a tombstone), blocked (detail: the missing parent), conflict (detail:
-- the row that holds a unique key). What happened by itself in this transaction is triggers' doing: `observed` are
-- columns of rows of the watched tables that these hang on; `altered` are the columns of inserted rows that are not as
-- they were sent; `made` are rows of watched tables that hang on inserted rows.
create function public.firehose_replay_restore(batch text) returns jsonb
language plpgsql security invoker set search_path = public, extensions, pg_temp as $$
declare
  b        jsonb := batch::jsonb;
  tbl      regclass := format('public.%I', b->>'table')::regclass;
  rows     jsonb;
  key_cols text[] := array(select jsonb_array_elements_text(b->'key'));
  cols     text[] := array(select jsonb_array_elements_text(b->'columns'));
  watched  text[] := array(select w->>'table' from jsonb_array_elements(coalesce(b->'watch', '[]')) w);
  source   text := firehose_replay_typed_sql(tbl, cols);
  looks    boolean := firehose_replay_has_triggers(tbl);
  found    jsonb;
  verdicts jsonb := '[]';
  before   jsonb;
  observed jsonb := '[]';
  altered  jsonb := '[]';
  made     jsonb := '[]';
  stuck    jsonb := '[]';
  insertion text;
  count    int;
  restored int := 0;
  fk       record;
begin
  -- Beside others of its kind, not beside batches of events: what waits for these rows is swept afterwards. Where
  -- triggers are watched nobody else may be seen at work.
  if looks then
    perform firehose_replay_take_turn();
  else
    perform pg_advisory_xact_lock_shared(7020260901);
  end if;
  -- A trigger may act on what it sees of a row before that is refused: such rows are looked at first.
  if not looks and firehose_replay_insert_all(b, tbl, cols) then
    insert into record_state (uri, rev, cid, deleted)
    select distinct on (n.value->'record'->>'uri') n.value->'record'->>'uri', n.value->'record'->>'rev', n.value->'record'->>'cid', false
    from jsonb_each(b->'notes') n where n.value ? 'record'
    on conflict (uri) do nothing;
    delete from restore_marks m using jsonb_each(b->'notes') n where m.cid = '' and m.uri = n.value->>'pending';
    if exists (select 1 from unnest(cols) c where pg_get_serial_sequence(tbl::text, c) is not null) then
      stuck := firehose_replay_move_sequences(tbl, cols, firehose_replay_named(b));
    end if;
    return jsonb_build_object('restored', jsonb_array_length(b->'values'), 'rows', verdicts, 'observed', observed,
                              'altered', altered, 'made', made, 'stuck', stuck);
  end if;
  select d.rows, d.verdicts into rows, verdicts from firehose_replay_decide(b, firehose_replay_named(b)) d;

  if jsonb_array_length(rows) > 0 then
    if looks then
      before := firehose_replay_above(tbl, (select jsonb_agg(r->'row') from jsonb_array_elements(rows) r), watched);
    end if;

    -- Row by row in the order given: a trigger that looks for a row's parent finds it.
    insertion := format('insert into %s as t (%s) overriding system value select %s from %s s on conflict do nothing',
      tbl, (select string_agg(quote_ident(c), ', ') from unnest(cols) c), firehose_replay_list_sql('s', cols), source);
    begin
      execute insertion using rows;
      get diagnostics count = row_count;
      if count <> jsonb_array_length(rows) then
        raise exception sqlstate 'FR001';
      end if;
      found := (select jsonb_agg(jsonb_build_object('id', r->'id', 'outcome', 'restored')) from jsonb_array_elements(rows) r);
    exception when sqlstate 'FR001' then
      -- Some were refused: done again so that they are told apart.
      execute format(
        'with done as (%s returning %s as row_key)
         select coalesce(jsonb_agg(jsonb_build_object(''id'', s.firehose_row_id) ||
           case when done.row_key is null then ''{"outcome": "conflict", "detail": "a unique key is taken"}''::jsonb
                else ''{"outcome": "restored"}''::jsonb end), ''[]'')
         from %s s left join done on done.row_key = %s',
        insertion, firehose_replay_key_sql('t', key_cols), source, firehose_replay_key_sql('s', key_cols)
      ) into found using rows;
    end;

    -- The database has refused what could not be foreseen: the row that holds the key can be seen by now.
    if found @> '[{"outcome": "conflict"}]' then
      found := (
        select jsonb_agg(coalesce(h.verdict, f)) from jsonb_array_elements(found) f
        left join (select h as verdict from jsonb_array_elements(firehose_replay_holders(tbl, key_cols, cols,
                     (select jsonb_agg(r) from jsonb_array_elements(rows) r
                      where exists (select 1 from jsonb_array_elements(found) f
                                    where f->>'id' = r->>'id' and f->>'outcome' = 'conflict')), true)) h) h
          on h.verdict->>'id' = f->>'id');
      rows := firehose_replay_without(rows, (select jsonb_agg(f) from jsonb_array_elements(found) f where f->>'outcome' = 'conflict'));
    end if;
    restored := (select count(*) from jsonb_array_elements(found) f where f->>'outcome' = 'restored');
    verdicts := verdicts || (select coalesce(jsonb_agg(f), '[]') from jsonb_array_elements(found) f where f->>'outcome' <> 'restored');

    insert into record_state (uri, rev, cid, deleted)
    select distinct on (r->'record'->>'uri') r->'record'->>'uri', r->'record'->>'rev', r->'record'->>'cid', false
    from jsonb_array_elements(rows) r where jsonb_typeof(r->'record') = 'object'
    on conflict (uri) do nothing;
    stuck := firehose_replay_move_sequences(tbl, cols, rows);
    perform firehose_replay_settled(rows, found);

    if looks then
      observed := firehose_replay_moved(before,
        firehose_replay_above(tbl, (select jsonb_agg(r->'row') from jsonb_array_elements(rows) r), watched));
      execute format(
        'select coalesce(jsonb_agg(jsonb_build_object(''id'', s.firehose_row_id, ''row'', %s)), ''[]'')
         from %s s join %s t on %s where %s',
        firehose_replay_text_sql('t', cols), source, tbl, firehose_replay_equal_sql('t', key_cols, 's', key_cols),
        firehose_replay_differs_sql(tbl, 't', 's', cols)) into altered using rows;
      for fk in
        select w->>'table' as child, array(select jsonb_array_elements_text(w->'columns')) as child_cols,
               f.columns, f.parent_columns
        from jsonb_array_elements(b->'watch') w
        cross join lateral firehose_replay_foreign_keys(format('public.%I', w->>'table')::regclass) f
        where f.parent = tbl and w->>'table' <> b->>'table' and f.parent_columns <@ cols
      loop
        execute format(
          'select coalesce(jsonb_agg(jsonb_build_object(''table'', %L, ''row'', %s)), ''[]'')
           from public.%I t where exists (select 1 from %s s where %s)',
          fk.child, firehose_replay_text_sql('t', fk.child_cols), fk.child, source,
          firehose_replay_equal_sql('t', fk.columns, 's', fk.parent_columns)) into found using rows;
        made := made || found;
      end loop;
    end if;
  end if;

  return jsonb_build_object('restored', restored, 'rows', verdicts, 'observed', observed, 'altered', altered, 'made', made, 'stuck', stuck);
end
$$;

-- Finds out what triggers keep in the rows above, by doing and taking back: rows are deleted where they are there, and
-- inserted, what changes in rows of the watched tables by itself is noted, and all of it is rolled back. Rows that these
-- hang on and that are yet to come are brought first (`first`); a parent that is missing even so is replaced by any other
-- row of its table.
--
-- batch: { table, key, columns, watch: [name], first: [{ table, columns, rows }], rows: [{ id, row }] }. Returns
-- { observed: [{ table, column }], tried: how many rows could be inserted }.
create function public.firehose_replay_observe(batch text) returns jsonb
language plpgsql security invoker set search_path = public, extensions, pg_temp as $$
declare
  b        jsonb := batch::jsonb;
  tbl      regclass := format('public.%I', b->>'table')::regclass;
  rows     jsonb := b->'rows';
  key_cols text[] := array(select jsonb_array_elements_text(b->'key'));
  cols     text[] := array(select jsonb_array_elements_text(b->'columns'));
  watched  text[] := array(select jsonb_array_elements_text(b->'watch'));
  source   text := firehose_replay_typed_sql(tbl, cols);
  observed jsonb := '[]';
  tried    int := 0;
  plain    jsonb;
  earlier  jsonb;
  later    jsonb;
  item     jsonb;
  fk       record;
begin
  perform firehose_replay_take_turn();
  begin
    for item in select value from jsonb_array_elements(b->'first') loop
      perform firehose_replay_try(item, jsonb_build_array(r)) from jsonb_array_elements(item->'rows') r;
    end loop;
    for fk in select * from firehose_replay_foreign_keys(tbl) f where f.columns <@ cols and f.parent <> tbl loop
      execute format(
        'select jsonb_agg(case when %1$s and not exists (select 1 from %2$s p where %3$s)
                               then jsonb_set(e.item, ''{row}'', e.item->''row'' || coalesce((select %4$s from %2$s p limit 1), ''{}''))
                               else e.item end)
         from jsonb_array_elements($1) e(item) join %5$s s on s.firehose_row_id = e.item->>''id''',
        (select string_agg(format('s.%I is not null', c), ' and ') from unnest(fk.columns) c),
        fk.parent, firehose_replay_equal_sql('p', fk.parent_columns, 's', fk.columns),
        format('jsonb_object(array[%s], array[%s])',
          (select string_agg(quote_literal(fk.columns[i]), ', ' order by i) from generate_subscripts(fk.columns, 1) i),
          (select string_agg(format('p.%I::text', fk.parent_columns[i]), ', ' order by i) from generate_subscripts(fk.columns, 1) i)),
        source) into rows using rows;
    end loop;
    plain := (select jsonb_agg(r->'row') from jsonb_array_elements(rows) r);
    earlier := firehose_replay_above(tbl, plain, watched);
    begin
      execute format('delete from %s t using %s s where %s', tbl, source,
        firehose_replay_equal_sql('t', key_cols, 's', key_cols)) using rows;
    exception when others then
      -- A row that may not be deleted is not, whoever says so and by whatever code: its insert is tried all the same,
      -- and counted only if it went through. What may pass by itself is thrown.
      if sqlstate ~ '^(08|40|53|55|57|58)' then
        raise;
      end if;
    end;
    later := firehose_replay_above(tbl, plain, watched);
    observed := observed || firehose_replay_moved(earlier, later);
    tried := (select count(*) from jsonb_array_elements(rows) r where firehose_replay_try(b, jsonb_build_array(r)));
    observed := observed || firehose_replay_moved(later, firehose_replay_above(tbl, plain, watched));
    raise exception sqlstate 'FR001';
  exception when sqlstate 'FR001' then
    -- All is as it was; what was seen is remembered.
    null;
  end;
  return jsonb_build_object('observed', (select coalesce(jsonb_agg(distinct o), '[]') from jsonb_array_elements(observed) o),
                            'tried', tried);
end
$$;

-- Inserts rows, and says whether the database took them. What may pass by itself (deadlock, no resources) is thrown.
create function public.firehose_replay_try(shape jsonb, rows jsonb) returns boolean
language plpgsql security invoker set search_path = public, extensions, pg_temp as $$
declare
  tbl  regclass := format('public.%I', shape->>'table')::regclass;
  cols text[] := array(select jsonb_array_elements_text(shape->'columns'));
begin
  execute format('insert into %s (%s) overriding system value select %s from %s s',
    tbl, (select string_agg(quote_ident(c), ', ') from unnest(cols) c), firehose_replay_list_sql('s', cols),
    firehose_replay_typed_sql(tbl, cols)) using rows;
  return true;
exception when others then
  if sqlstate ~ '^(08|40|53|55|57|58)' then
    raise;
  end if;
  return false;
end
$$;

-- Sets columns of rows that are there, each only while the row still holds what the plan saw.
--
-- batch: { table, key, columns, rows: [{ id, key: {...}, set: {...}, when: {...}, pending? }] }; values are text or null;
-- `set` and `when` name the same columns in every row.
-- Returns { rows: [{ id, outcome, columns? }] }: set, unchanged (it held the value already), kept (it holds another),
-- missing, trigger-kept (a trigger did not leave these columns as they were set: nothing of the row was).
create function public.firehose_replay_set_columns(batch text) returns jsonb
language plpgsql security invoker set search_path = public, extensions, pg_temp as $$
declare
  b        jsonb := batch::jsonb;
  tbl      regclass := format('public.%I', b->>'table')::regclass;
  key_cols text[] := array(select jsonb_array_elements_text(b->'key'));
  cols     text[] := array(select jsonb_array_elements_text(b->'columns'));
  seen     text[] := array(select jsonb_object_keys(b->'rows'->0->'when'));
  wanted   text := firehose_replay_typed_sql(tbl, key_cols || cols, 'want');
  expected text := firehose_replay_typed_sql(tbl, key_cols || seen, 'seen');
  checks   boolean := firehose_replay_has_triggers(tbl);
  rows     jsonb;
  answer   jsonb;
  refused  jsonb := '[]';
  verdicts jsonb := '[]';
begin
  perform firehose_replay_take_turn();
  rows := (select coalesce(jsonb_agg(jsonb_build_object('id', r->'id', 'want', (r->'key') || (r->'set'), 'seen', (r->'key') || (r->'when'))), '[]')
           from jsonb_array_elements(b->'rows') r);
  loop
    begin
      execute format(
        'with state as (select w.firehose_row_id, t.%8$I is null as absent, not (%1$s) as same, not (%2$s) as as_seen
                        from %3$s w join %4$s x on x.firehose_row_id = w.firehose_row_id left join %5$s t on %6$s),
              done as (update %5$s t set %7$s from %3$s w join state on state.firehose_row_id = w.firehose_row_id
                       where %6$s and state.as_seen and not state.same returning w.firehose_row_id)
         select coalesce(jsonb_agg(jsonb_build_object(''id'', s.firehose_row_id, ''outcome'',
           case when d.firehose_row_id is not null then ''set'' when s.absent then ''missing'' when s.same then ''unchanged'' else ''kept'' end)), ''[]'')
         from state s left join done d on d.firehose_row_id = s.firehose_row_id',
        firehose_replay_differs_sql(tbl, 't', 'w', cols),
        firehose_replay_differs_sql(tbl, 't', 'x', seen),
        wanted, expected, tbl,
        firehose_replay_equal_sql('t', key_cols, 'w', key_cols),
        (select string_agg(format('%1$I = w.%1$I', c), ', ') from unnest(cols) c),
        key_cols[1]
      ) into answer using rows;
      exit when not checks;

      execute format(
        'select coalesce(jsonb_agg(jsonb_build_object(''id'', w.firehose_row_id, ''outcome'', ''trigger-kept'', ''columns'', array_remove(array[%s]::text[], null))), ''[]'')
         from %s w join %s t on %s
         join jsonb_array_elements($2) a on a->>''id'' = w.firehose_row_id and a->>''outcome'' = ''set'' where %s',
        (select string_agg(format('case when %s then %L end', firehose_replay_differs_sql(tbl, 't', 'w', array[c]), c), ', ') from unnest(cols) c),
        wanted, tbl, firehose_replay_equal_sql('t', key_cols, 'w', key_cols),
        firehose_replay_differs_sql(tbl, 't', 'w', cols)
      ) into refused using rows, answer;
      exit when refused = '[]';
      raise exception sqlstate 'FR001';
    exception when sqlstate 'FR001' then
      -- Rolled back, so that a value which a trigger does not let stand leaves no row version behind, run after run.
      verdicts := verdicts || refused;
      rows := firehose_replay_without(rows, refused);
      answer := '[]';
      exit when rows = '[]';
    end;
  end loop;
  perform firehose_replay_settled(b->'rows', answer);
  return jsonb_build_object('rows', verdicts || coalesce(answer, '[]'));
end
$$;

----------------------------------------------------------------------------------------------------- catalog

-- The functions that triggers on tables of public call, and what these call, as far as sources can be read: by name,
-- so that one that is only named in a string is among them. What is built in is left out. Four steps are deeper than
-- people nest such functions.
create function public.firehose_replay_trigger_functions() returns jsonb
language sql stable security invoker set search_path = public, extensions, pg_temp as $$
  with recursive
  known as materialized (
    select p.oid as id, n.nspname::text as schema, p.proname::text as name, l.lanname::text as language,
           (select e.extname::text from pg_depend d join pg_extension e on e.oid = d.refobjid
            where d.classid = 'pg_proc'::regclass and d.objid = p.oid and d.refclassid = 'pg_extension'::regclass
              and d.deptype = 'e') as extension,
           case when l.lanname in ('sql', 'plpgsql') then coalesce(pg_get_function_sqlbody(p.oid), p.prosrc) end as source
    from pg_proc p join pg_namespace n on n.oid = p.pronamespace join pg_language l on l.oid = p.prolang
    where n.nspname not in ('pg_catalog', 'information_schema')),
  called(id, depth) as (
    select g.tgfoid, 0 from pg_trigger g join pg_class t on t.oid = g.tgrelid
    where t.relnamespace = 'public'::regnamespace and not g.tgisinternal
    union
    select next.id, called.depth + 1
    from called join known k on k.id = called.id
    cross join lateral regexp_matches(k.source, '(?:"?([\w$]+)"?\s*\.\s*)?"?([\w$]+)"?\s*\(', 'g') as word
    join known next on next.name in (word[2], lower(word[2])) and (word[1] is null or next.schema in (word[1], lower(word[1])))
    where called.depth < 4)
  select coalesce(jsonb_agg(jsonb_build_object(
    'id', k.id::text, 'schema', k.schema, 'name', k.name, 'language', k.language, 'extension', k.extension,
    'source', k.source) order by k.schema, k.name, k.id), '[]')
  from known k where k.id in (select id from called)
$$;

-- What the database is made of: tables of public with columns, keys and triggers, every foreign key of every schema
-- but the system's, and what the caller may do. A partition is part of its table and not listed by itself.
-- `instance` tells this database from another one that was restored from the same backup.
create function public.firehose_replay_catalog() returns jsonb
language sql stable security invoker set search_path = public, extensions, pg_temp as $$
  select jsonb_build_object(
    'instance', (select d.oid::text || '@' || extract(epoch from pg_postmaster_start_time())::text
                 from pg_database d where d.datname = current_database()),
    'tables', (
      select coalesce(jsonb_agg(jsonb_build_object(
        'name', t.relname,
        'columns', (
          select coalesce(jsonb_agg(jsonb_build_object(
            'name', a.attname,
            'type', format_type(a.atttypid, a.atttypmod),
            'nullable', not a.attnotnull,
            'default', pg_get_expr(d.adbin, d.adrelid),
            'generated', a.attgenerated <> '',
            'identity', nullif(a.attidentity::text, '')) order by a.attnum), '[]')
          from pg_attribute a left join pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum
          where a.attrelid = t.oid and a.attnum > 0 and not a.attisdropped),
        'uniqueKeys', (
          select coalesce(jsonb_agg(to_jsonb(u.columns) order by u.is_primary desc, u.columns), '[]')
          from firehose_replay_unique_keys(t.oid::regclass) u),
        'primaryKey', (select to_jsonb(u.columns) from firehose_replay_unique_keys(t.oid::regclass) u where u.is_primary),
        'triggers', (
          select coalesce(jsonb_agg(g.tgname order by g.tgname), '[]') from pg_trigger g
          where g.tgrelid = any(parts.ids) and g.tgparentid = 0 and not g.tgisinternal),
        'triggerDetails', (
          select coalesce(jsonb_agg(jsonb_build_object(
            'name', g.tgname,
            'timing', case when g.tgtype & 2 > 0 then 'before' when g.tgtype & 64 > 0 then 'instead of' else 'after' end,
            'level', case when g.tgtype & 1 > 0 then 'row' else 'statement' end,
            'events', to_jsonb(array_remove(array[
              case when g.tgtype & 4 > 0 then 'insert' end, case when g.tgtype & 16 > 0 then 'update' end,
              case when g.tgtype & 8 > 0 then 'delete' end, case when g.tgtype & 32 > 0 then 'truncate' end], null)),
            'enabled', case g.tgenabled when 'D' then 'disabled' when 'R' then 'replica' when 'A' then 'always' else 'origin' end,
            'function', jsonb_build_object('id', p.oid::text, 'schema', n.nspname, 'name', p.proname))
            order by g.tgname), '[]')
          from pg_trigger g join pg_proc p on p.oid = g.tgfoid join pg_namespace n on n.oid = p.pronamespace
          where g.tgrelid = any(parts.ids) and g.tgparentid = 0 and not g.tgisinternal),
        'rowSecurity', row_security_active(t.oid),
        'privileges', (
          select coalesce(jsonb_agg(privilege), '[]') from unnest(array['select', 'insert', 'update', 'delete']) privilege
          where has_table_privilege(t.oid, privilege)),
        -- What the planner believes, seen past row-level security; -1: nobody has looked yet.
        'estimatedRows', t.reltuples::bigint
      ) order by t.relname), '[]')
      from pg_class t
      cross join lateral (select array_agg(p.relid::oid) || t.oid as ids from pg_partition_tree(t.oid::regclass) p) parts
      where t.relnamespace = 'public'::regnamespace and t.relkind in ('r', 'p') and not t.relispartition),
    'foreignKeys', (
      select coalesce(jsonb_agg(jsonb_build_object(
        'name', c.conname,
        'child', child.relname, 'childSchema', child_schema.nspname,
        'parent', parent.relname, 'parentSchema', parent_schema.nspname,
        'columns', f.columns, 'parentColumns', f.parent_columns,
        'onDelete', action.name_of->>c.confdeltype::text, 'onUpdate', action.name_of->>c.confupdtype::text,
        'setColumns', f.set_columns,
        'deferrable', c.condeferrable, 'initiallyDeferred', c.condeferred)
        order by child_schema.nspname, child.relname, c.conname), '[]')
      from pg_constraint c
      join pg_class child on child.oid = coalesce(pg_partition_root(c.conrelid), c.conrelid)
      join pg_namespace child_schema on child_schema.oid = child.relnamespace
      join pg_class parent on parent.oid = coalesce(pg_partition_root(c.confrelid), c.confrelid)
      join pg_namespace parent_schema on parent_schema.oid = parent.relnamespace
      cross join (select '{"a": "no action", "r": "restrict", "c": "cascade", "n": "set null", "d": "set default"}'::jsonb
                  as name_of) action
      cross join lateral (
        select array(select a.attname::text from unnest(c.conkey) with ordinality k(n, i)
                     join pg_attribute a on a.attrelid = c.conrelid and a.attnum = k.n order by k.i) as columns,
               array(select a.attname::text from unnest(c.confkey) with ordinality k(n, i)
                     join pg_attribute a on a.attrelid = c.confrelid and a.attnum = k.n order by k.i) as parent_columns,
               array(select a.attname::text from unnest(c.confdelsetcols) with ordinality k(n, i)
                     join pg_attribute a on a.attrelid = c.conrelid and a.attnum = k.n order by k.i) as set_columns) f
      -- Not what partitions inherit: their tables have it.
      where c.contype = 'f' and c.conparentid = 0
        and child_schema.nspname not in ('pg_catalog', 'information_schema')),
    'functions', firehose_replay_trigger_functions(),
    -- Of our own functions, what tells one version of them from another.
    'installed', (
      select jsonb_agg(jsonb_build_object('name', p.proname, 'md5', md5(p.prosrc)) order by p.proname)
      from pg_proc p
      where p.pronamespace = 'public'::regnamespace and p.proname like 'firehose\_replay\_%'))
$$;

-- How many rows name a parent that is not there, by a reference that the schema does not declare.
-- batch: { child, column, keys, parent, parentColumn }; `keys` lead to the value inside a column that holds JSON.
create function public.firehose_replay_hanging(batch text) returns bigint
language plpgsql stable security invoker set search_path = public, extensions, pg_temp as $$
declare
  b      jsonb := batch::jsonb;
  keys   text[] := array(select jsonb_array_elements_text(b->'keys'));
  answer bigint;
begin
  -- Byte by byte, whatever the collations of the two columns are: they may have none in common.
  execute format(
    'select count(*) from (select %s as value from public.%I c) r
     where r.value is not null
       and not exists (select 1 from public.%I p where p.%I::text collate "C" = r.value collate "C")',
    case when keys = '{}' then format('c.%I::text', b->>'column')
         else format('c.%I::jsonb #>> %L::text[]', b->>'column', keys) end,
    b->>'child', b->>'parent', b->>'parentColumn') into answer;
  return answer;
end
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
