-- The same vault in one file, for the stand-alone command; see postgres-vault.sql.
create table if not exists vault_meta (name text primary key, value blob not null) strict;
create table if not exists patients (subject_row text primary key, secret_box blob not null) strict;
create table if not exists identifiers (
  id_digest text primary key,
  subject_row text not null references patients on delete cascade
) strict;
create table if not exists studies (
  study_digest text primary key,
  subject_row text references patients on delete cascade,
  key_box blob not null,
  lineage_id text not null unique,
  token text not null unique,
  secret_box blob not null
) strict;
create table if not exists revisions (
  study_digest text not null references studies on delete cascade,
  revision text not null,
  ordinal integer not null,
  primary key (study_digest, revision),
  unique (study_digest, ordinal)
) strict;
create table if not exists deny (id_digest text primary key) strict;
create table if not exists audit (
  audit_id integer primary key,
  at text not null default (datetime('now')),
  action text not null,
  subject_row text,
  detail text not null
) strict;
