-- The appview's tables as they were on the day before the incident: what a backup of that day holds.
-- Traps are kept as they were (defaults that break a foreign key, functions that need a search_path, a unique
-- key across two collections), because a restore has to live with them.

-- ---------------------------------------------------------------- grants

-- As Supabase sets them up: the API roles may do everything that row-level security lets them. As default
-- privileges, because the tables and functions of later migrations get them too.
grant usage on schema public to anon, authenticated, service_role;
alter default privileges in schema public grant all on tables to anon, authenticated, service_role;
alter default privileges in schema public grant all on sequences to anon, authenticated, service_role;
alter default privileges in schema public grant all on functions to anon, authenticated, service_role;

-- ---------------------------------------------------------------- editor: entities, facts, tokens

create table entity_sets (
  id uuid primary key default gen_random_uuid(),
  created_at timestamptz not null default now()
);

-- The editor makes ids itself (it works offline), hence no default.
create table entities (
  id uuid primary key,
  created_at timestamptz not null default now(),
  set uuid not null references entity_sets (id) on delete cascade on update cascade
);

create table facts (
  id uuid primary key default gen_random_uuid(),
  entity uuid not null references entities (id) on delete cascade on update cascade,
  attribute text not null,
  data jsonb not null,
  created_at timestamptz not null default now(),
  updated_at timestamptz,
  version bigint not null default 0
);

-- A token's id is the editor's URL: who knows it may edit.
create table permission_tokens (
  id uuid primary key default gen_random_uuid(),
  root_entity uuid not null references entities (id) on delete cascade on update cascade,
  blocked_by_admin boolean
);

create table permission_token_rights (
  token uuid not null references permission_tokens (id) on delete cascade on update cascade,
  entity_set uuid not null references entity_sets (id) on delete cascade on update cascade,
  read boolean not null default false,
  write boolean not null default false,
  create_token boolean not null default false,
  change_entity_set boolean not null default false,
  created_at timestamptz not null default now(),
  primary key (token, entity_set)
);

-- ---------------------------------------------------------------- people

-- Four rows for each new identity's home page. As a column default it also runs when INSERT .. ON CONFLICT turns
-- into an update, and leaves them orphaned. Table names carry no schema: it fails under an empty search_path.
create function create_identity_homepage() returns uuid
language plpgsql volatile as $$
declare
  new_set uuid;
  new_entity uuid;
  new_token uuid;
begin
  insert into entity_sets default values returning id into new_set;
  insert into entities (id, set) values (gen_random_uuid(), new_set) returning id into new_entity;
  insert into permission_tokens (root_entity) values (new_entity) returning id into new_token;
  insert into permission_token_rights (token, entity_set, read, write, create_token, change_entity_set)
    values (new_token, new_set, true, true, true, true);
  return new_token;
end
$$;

-- Deleting a home page's token deletes the identity and everything below it.
create table identities (
  id uuid primary key default gen_random_uuid(),
  created_at timestamptz not null default now(),
  home_page uuid not null default create_identity_homepage() references permission_tokens (id) on delete cascade,
  email text unique,
  atp_did text unique,
  interface_state jsonb,
  metadata jsonb
);

-- identity is an e-mail address whose default names nobody: an insert that leaves it out fails.
create table custom_domains (
  domain text primary key,
  identity text default '' references identities (email) on delete cascade on update cascade,
  confirmed boolean not null,
  created_at timestamptz not null default now(),
  identity_id uuid references identities (id) on delete cascade
);

create table bsky_profiles (
  did text primary key references identities (atp_did) on delete cascade,
  record jsonb not null,
  indexed_at timestamptz not null default now(),
  handle text
);

create table notifications (
  recipient text not null references identities (atp_did) on delete cascade on update cascade,
  created_at timestamptz not null default now(),
  read boolean not null default false,
  data jsonb not null,
  id uuid primary key
);

-- Keyed by DID (with an optional prefix), with live tokens inside, and no foreign key.
create table oauth_session_store (
  key text primary key,
  session jsonb not null
);

create table oauth_state_store (
  key text primary key,
  state jsonb not null
);

-- ---------------------------------------------------------------- publications and documents

create table publications (
  uri text primary key,
  indexed_at timestamptz not null default now(),
  name text not null,
  identity_did text not null references identities (atp_did) on delete cascade,
  record jsonb,
  draft_leaflet uuid references permission_tokens (id)
);

-- Called immutable so that a generated column may use it, although a timestamp without a zone is read in the
-- session's TimeZone. A value of the right shape that is no date (month 13) raises, and fails the whole insert.
create function parse_iso_timestamp(value text) returns timestamptz
language sql immutable strict as $$
  select case
    when value ~ '^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}(:\d{2}(\.\d+)?)?(Z|[+-]\d{2}:?\d{2})?$' then value::timestamptz
  end
$$;

-- No owner column and no foreign key out: whose it is, only the DID in uri says.
create table documents (
  uri text primary key,
  data jsonb not null,
  indexed_at timestamptz not null default now(),
  sort_date timestamptz generated always as (
    least(coalesce(parse_iso_timestamp(data ->> 'publishedAt'), indexed_at), indexed_at)
  ) stored,
  bsky_like_count integer not null default 0,
  recommend_count integer not null default 0,
  indexed boolean not null default false
);

create index documents_owner_did_idx on documents (split_part(uri, '/', 3));

-- The pair is the key: that a document is in one publication only, the indexer sees to.
create table documents_in_publications (
  publication text not null references publications (uri) on delete cascade,
  document text not null references documents (uri) on delete cascade,
  indexed_at timestamptz not null default now(),
  primary key (publication, document)
);

create table publication_subscriptions (
  publication text not null references publications (uri) on delete cascade,
  identity text not null references identities (atp_did) on delete cascade,
  created_at timestamptz not null default now(),
  record jsonb not null,
  uri text not null unique,
  primary key (publication, identity)
);

-- identity is a DID here and an e-mail address in custom_domains.
create table publication_domains (
  publication text not null references publications (uri) on delete cascade,
  domain text not null references custom_domains (domain) on delete cascade,
  created_at timestamptz not null default now(),
  identity text not null references identities (atp_did) on delete cascade on update cascade,
  primary key (publication, domain)
);

-- ---------------------------------------------------------------- drafts

-- doc's default names no document: an insert that leaves it out fails. A document's delete makes its post a draft.
create table leaflets_in_publications (
  publication text not null references publications (uri) on delete cascade,
  doc text default '' references documents (uri) on delete set null,
  leaflet uuid not null references permission_tokens (id) on delete cascade on update cascade,
  description text not null default '',
  title text not null default '',
  archived boolean,
  tags text[] default '{}',
  cover_image text,
  preferences jsonb,
  primary key (publication, leaflet)
);

-- Posts outside any publication. Here a document's delete takes the draft's title and tags along.
create table leaflets_to_documents (
  leaflet uuid not null references permission_tokens (id) on delete cascade on update cascade,
  document text not null references documents (uri) on delete cascade on update cascade,
  created_at timestamptz not null default now(),
  title text not null default '',
  description text not null default '',
  tags text[] default '{}',
  cover_image text,
  preferences jsonb,
  primary key (leaflet, document)
);

-- ---------------------------------------------------------------- what readers add

create table recommends_on_documents (
  uri text primary key,
  record jsonb not null,
  document text not null references documents (uri) on delete cascade on update cascade,
  recommender_did text not null references identities (atp_did) on delete cascade on update cascade,
  indexed_at timestamptz not null default now()
);

-- One per person and document, whichever of the two recommend collections it came in.
create unique index recommends_on_documents_recommender_did_document_idx
  on recommends_on_documents (recommender_did, document);

-- Not fired by updates: a row pointed at another document leaves both counts stale. The unqualified table name
-- fails under an empty search_path.
create function update_recommend_count() returns trigger
language plpgsql as $$
begin
  if tg_op = 'INSERT' then
    update documents set recommend_count = recommend_count + 1 where uri = new.document;
  else
    update documents set recommend_count = recommend_count - 1 where uri = old.document;
  end if;
  return null;
end
$$;

create trigger trg_recommend_count
  after insert or delete on recommends_on_documents
  for each row execute function update_recommend_count();

-- Which comment a reply answers is only in record.reply.parent.
create table comments_on_documents (
  uri text primary key,
  record jsonb not null,
  document text references documents (uri) on delete cascade on update cascade,
  indexed_at timestamptz not null default now(),
  profile text references bsky_profiles (did) on delete set null on update cascade
);

-- post_view is the public AppView's view of the post, not its record.
create table bsky_posts (
  uri text primary key,
  indexed_at timestamptz not null default now(),
  post_view jsonb not null,
  cid text not null
);

create table document_mentions_in_bsky (
  uri text not null references bsky_posts (uri) on delete cascade,
  link text not null,
  document text not null references documents (uri) on delete cascade,
  indexed_at timestamptz not null default now(),
  primary key (uri, document)
);

create table atp_poll_records (
  uri text primary key,
  cid text not null,
  record jsonb not null,
  created_at timestamptz not null default now()
);

-- Nothing keeps a voter to one vote: several records are several rows.
create table atp_poll_votes (
  uri text primary key,
  voter_did text not null,
  poll_uri text not null references atp_poll_records (uri) on delete cascade,
  poll_cid text not null,
  record jsonb not null,
  indexed_at timestamptz not null default now()
);

-- ---------------------------------------------------------------- site.standard, written by nothing today

create table site_standard_publications (
  uri text primary key,
  data jsonb not null,
  indexed_at timestamptz not null default now(),
  identity_did text not null references identities (atp_did) on delete cascade
);

create table site_standard_documents (
  uri text primary key,
  data jsonb not null,
  indexed_at timestamptz not null default now(),
  identity_did text not null references identities (atp_did) on delete cascade
);

-- ---------------------------------------------------------------- row-level security

-- On everywhere, without a policy: whoever is neither owner nor service_role reads no rows, and gets no error.
alter table entity_sets enable row level security;
alter table entities enable row level security;
alter table facts enable row level security;
alter table permission_tokens enable row level security;
alter table permission_token_rights enable row level security;
alter table identities enable row level security;
alter table custom_domains enable row level security;
alter table bsky_profiles enable row level security;
alter table notifications enable row level security;
alter table oauth_session_store enable row level security;
alter table oauth_state_store enable row level security;
alter table publications enable row level security;
alter table documents enable row level security;
alter table documents_in_publications enable row level security;
alter table publication_subscriptions enable row level security;
alter table publication_domains enable row level security;
alter table leaflets_in_publications enable row level security;
alter table leaflets_to_documents enable row level security;
alter table recommends_on_documents enable row level security;
alter table comments_on_documents enable row level security;
alter table bsky_posts enable row level security;
alter table document_mentions_in_bsky enable row level security;
alter table atp_poll_records enable row level security;
alter table atp_poll_votes enable row level security;
alter table site_standard_publications enable row level security;
alter table site_standard_documents enable row level security;
