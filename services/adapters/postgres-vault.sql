-- The identity vault's tables, in a database and under a role of its own. Nothing here names a person:
-- digests are keyed, boxes are sealed (vault-crypto.ts). Deleting a patient's row cuts every link.
create table if not exists vault_meta (
  name text primary key,
  value bytea not null
);

create table if not exists patients (
  subject_row text primary key,
  secret_box bytea not null
);

-- One person may have several ids; merge and split move rows of this table.
create table if not exists identifiers (
  id_digest text primary key,
  subject_row text not null references patients on delete cascade
);
create index if not exists identifiers_subject on identifiers (subject_row);

-- subject_row is null while the patient is not known: a refused study has a token and no patient.
create table if not exists studies (
  study_digest text primary key,
  subject_row text references patients on delete cascade,
  key_box bytea not null,
  lineage_id text not null unique,
  token text not null unique,
  secret_box bytea not null
);
create index if not exists studies_subject on studies (subject_row);
-- By which of the patient's ids the study came last: a split takes it along.
alter table studies add column if not exists id_digest text references identifiers on delete set null;

create table if not exists revisions (
  study_digest text not null references studies on delete cascade,
  revision text not null,
  ordinal integer not null,
  primary key (study_digest, revision),
  unique (study_digest, ordinal)
);

-- Withdrawn patients: digests of their identifiers and studies alone, so that these are refused for ever.
create table if not exists deny (
  id_digest text primary key
);
-- Only until the erasure is complete: asking again with the identifier shows the receipt.
alter table deny add column if not exists request_id text;

create table if not exists audit (
  audit_id bigint generated always as identity primary key,
  at timestamptz not null default now(),
  action text not null,
  subject_row text,
  detail text not null
);

-- Studies held back, by an id of their own. A study's row takes what is held of it along.
create table if not exists held (
  held_id text primary key,
  token text not null references studies (token) on delete cascade,
  centre text not null,
  code text not null,
  findings_digest text not null,
  findings integer not null,
  checks jsonb not null,
  objects jsonb not null,
  event_id text not null,
  held_at timestamptz not null default now(),
  decision text check (decision in ('released', 'refused')),
  decided_digest text,
  decided_by text,
  reason text,
  decided_at timestamptz,
  ended_at timestamptz
);
create index if not exists held_token on held (token);

-- Who was shown which findings: a release is for those alone.
create table if not exists held_looks (
  held_id text not null references held on delete cascade,
  person text not null,
  findings_digest text not null,
  at timestamptz not null default now(),
  primary key (held_id, person)
);

-- Withdrawals. The box holds what is to be erased (pseudonym, clinical keys, research ids) and is emptied when every
-- stage has reported; then nothing leads from an identifier to a pseudonym.
create table if not exists withdrawals (
  request_id text primary key,
  requested_at timestamptz not null default now(),
  completed_at timestamptz,
  subject_digest text not null unique,
  box bytea
);

-- reported_at is null while a stage has erased once and has yet to do it again.
create table if not exists withdrawal_reports (
  request_id text not null references withdrawals on delete cascade,
  stage text not null,
  reported_at timestamptz,
  object_count integer not null,
  row_count integer not null,
  primary key (request_id, stage)
);

-- A merge or split retires a pseudonym: research erases it as after a withdrawal, and nobody is denied.
alter table withdrawals add column if not exists kind text not null default 'withdrawal' check (kind in ('withdrawal', 'correction'));

-- Studies that a merge or split gave another research identity and that were not handed to anonymise again yet.
create table if not exists reanonymise (
  study_digest text primary key references studies on delete cascade,
  since timestamptz not null default now()
);

-- Re-identification under four eyes. The box holds pseudonym and reason.
create table if not exists reidentifications (
  request_id text primary key,
  box bytea not null,
  requested_by text not null,
  requested_at timestamptz not null default now(),
  expires_at timestamptz not null default now() + interval '1 day',
  approved_by text check (approved_by <> requested_by),
  approved_at timestamptz,
  shown_at timestamptz
);
