-- Assessed studies as they came, where they stood in the log, and what each round decided.

CREATE TABLE candidate (
  study_id   text NOT NULL,
  revision   text NOT NULL,
  subject_id text NOT NULL,
  site       text NOT NULL,
  ordinal    integer NOT NULL,
  event_id   text NOT NULL,
  topic      text NOT NULL,
  partition  integer NOT NULL,
  place      bigint NOT NULL,
  value      jsonb NOT NULL,
  seen_at    timestamptz NOT NULL DEFAULT clock_timestamp(),
  PRIMARY KEY (study_id, revision)
);
CREATE INDEX candidate_place ON candidate (topic, partition, place);

-- Every offset that was seen and lies at or above `progress.next`. Kept small: a round removes what it passed.
CREATE TABLE seen (
  topic     text NOT NULL,
  partition integer NOT NULL,
  place     bigint NOT NULL,
  seen_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
  PRIMARY KEY (topic, partition, place)
);

-- First offset of each partition that no round has considered.
CREATE TABLE progress (
  topic     text NOT NULL,
  partition integer NOT NULL,
  next      bigint NOT NULL,
  PRIMARY KEY (topic, partition)
);

CREATE TABLE round (
  cohort         text NOT NULL,
  number         integer NOT NULL,
  cohort_sha256  text NOT NULL,
  cut            jsonb NOT NULL,
  -- Offsets below the cut that had not come when the round closed, as [topic, partition, first, last].
  holes          jsonb NOT NULL,
  considered     integer NOT NULL,
  selected       integer NOT NULL,
  excluded       integer NOT NULL,
  closed_at      timestamptz NOT NULL DEFAULT clock_timestamp(),
  PRIMARY KEY (cohort, number)
);

CREATE TABLE decision (
  cohort     text NOT NULL,
  study_id   text NOT NULL,
  revision   text NOT NULL,
  number     integer NOT NULL,
  outcome    text NOT NULL CHECK (outcome IN ('selected', 'excluded', 'skipped')),
  code       text,
  subject_id text NOT NULL,
  site       text NOT NULL,
  cell       text NOT NULL,
  PRIMARY KEY (cohort, study_id, revision),
  FOREIGN KEY (cohort, number) REFERENCES round (cohort, number),
  CHECK ((outcome = 'selected') = (code IS NULL))
);
-- Selected or excluded once per study and cohort, whatever the code does.
CREATE UNIQUE INDEX decision_once ON decision (cohort, study_id) WHERE outcome <> 'skipped';
