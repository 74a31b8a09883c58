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

create table if not exists revisions (
  study_digest text not null references studies on delete cascade,
  revision text not null,
  ordinal integer not null,
  primary key (study_digest, revision),
  unique (study_digest, ordinal)
);

-- Withdrawn patients: the digest alone, so that their later studies are refused.
create table if not exists deny (
  id_digest text primary key
);

create table if not exists audit (
  audit_id bigint generated always as identity primary key,
  at timestamptz not null default now(),
  action text not null,
  subject_row text,
  detail text not null
);
