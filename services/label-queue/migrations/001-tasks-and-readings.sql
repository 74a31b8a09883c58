-- Studies to read, their tasks with leases, what readers said, and a hash-chained audit.

CREATE TABLE study (
  study_id      text NOT NULL,
  revision      text NOT NULL,
  subject_id    text NOT NULL,
  site          text NOT NULL,
  volume_key    text NOT NULL,
  volume_digest text NOT NULL,
  shape         jsonb NOT NULL,
  spacing_mm    jsonb NOT NULL,
  -- Id of the StudySelected event: the cause of what becomes of the study. The estimate is not kept here,
  -- so that no mistake can show it to a reader.
  event_id      text NOT NULL,
  state         text NOT NULL DEFAULT 'reading' CHECK (state IN ('reading', 'labelled', 'rejected')),
  opened_at     timestamptz NOT NULL DEFAULT clock_timestamp(),
  PRIMARY KEY (study_id, revision)
);

CREATE TABLE task (
  task_id     text PRIMARY KEY,
  seq         bigint GENERATED ALWAYS AS IDENTITY,
  study_id    text NOT NULL,
  revision    text NOT NULL,
  kind        text NOT NULL CHECK (kind ~ '^(grade-[1-9]|adjudicate|lead)$'),
  state       text NOT NULL DEFAULT 'open' CHECK (state IN ('open', 'leased', 'done', 'cancelled')),
  -- Fencing token: grows with each claim; a submission must name the newest.
  fence       bigint NOT NULL DEFAULT 0,
  leased_to   text,
  lease_until timestamptz,
  opened_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
  UNIQUE (study_id, revision, kind),
  FOREIGN KEY (study_id, revision) REFERENCES study,
  CHECK (state <> 'leased' OR (leased_to IS NOT NULL AND lease_until IS NOT NULL))
);
CREATE INDEX task_to_claim ON task (seq) WHERE state IN ('open', 'leased');

CREATE TABLE reader (
  id        text PRIMARY KEY,
  -- Random: the only name of a reader that leaves this database.
  pseudonym text NOT NULL UNIQUE
);

CREATE TABLE reading (
  seq            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  task_id        text NOT NULL REFERENCES task,
  reader         text NOT NULL REFERENCES reader,
  grade          smallint CHECK (grade BETWEEN 0 AND 4),
  skip           text,
  seconds        double precision NOT NULL CHECK (seconds >= 0),
  windows        jsonb NOT NULL,
  slices_visited integer,
  page_version   text,
  volume_digest  text,
  simulated      boolean NOT NULL,
  submitted_at   timestamptz NOT NULL DEFAULT clock_timestamp(),
  UNIQUE (task_id, reader),
  CHECK ((grade IS NULL) <> (skip IS NULL))
);

CREATE TABLE audit (
  seq    bigint PRIMARY KEY,
  at_ms  bigint NOT NULL,
  actor  text NOT NULL,
  action text NOT NULL,
  detail text NOT NULL,
  previous text NOT NULL,
  hash   text NOT NULL UNIQUE
);

-- Readings and audit are only ever added to. Erasure of a withdrawn subject says so in its transaction.
CREATE FUNCTION append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF TG_OP = 'DELETE' AND TG_TABLE_NAME = 'reading' AND current_setting('ctstream.erasure', true) = 'on' THEN
    RETURN OLD;
  END IF;
  RAISE EXCEPTION '% is append-only', TG_TABLE_NAME;
END $$;
CREATE TRIGGER reading_append_only BEFORE UPDATE OR DELETE ON reading FOR EACH ROW EXECUTE FUNCTION append_only();
CREATE TRIGGER audit_append_only BEFORE UPDATE OR DELETE ON audit FOR EACH ROW EXECUTE FUNCTION append_only();
CREATE TRIGGER reading_no_truncate BEFORE TRUNCATE ON reading EXECUTE FUNCTION append_only();
CREATE TRIGGER audit_no_truncate BEFORE TRUNCATE ON audit EXECUTE FUNCTION append_only();
