-- Subjects that withdrew, and their studies: for ever, so that no fact that comes late is kept. An exclusion names no
-- subject, so the studies must be known too.
CREATE TABLE withdrawn (
  subject_id   text PRIMARY KEY,
  withdrawn_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  -- Erased so far.
  rows         integer NOT NULL DEFAULT 0,
  objects      integer NOT NULL DEFAULT 0
);
CREATE TABLE withdrawn_study (study_id text PRIMARY KEY);

CREATE INDEX fact_study ON fact ((value ->> 'studyId'));
CREATE INDEX fact_subject ON fact ((value ->> 'subjectId'));

-- `cleared` grows with each erasure that touches the version: a build or rebuild that began before is not taken.
-- `erasure_pending`: files of it must still be rewritten or removed.
ALTER TABLE version
  ADD COLUMN cleared integer NOT NULL DEFAULT 0,
  ADD COLUMN erasure_pending boolean NOT NULL DEFAULT false;
