-- Revisions of a study. A study whose volume was replaced while somebody read it stays as it is, and is marked stale.
ALTER TABLE study ADD COLUMN ordinal integer NOT NULL DEFAULT 0;
ALTER TABLE study ADD COLUMN stale_by text;

-- What became of a revision that has no row in study: 'same' has the volume of `other`, 'moved' gave its tasks to it,
-- 'late' came after it.
CREATE TABLE lineage (
  study_id text NOT NULL,
  revision text NOT NULL,
  ordinal  integer NOT NULL,
  became   text NOT NULL CHECK (became IN ('same', 'moved', 'late')),
  other    text NOT NULL,
  noted_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  PRIMARY KEY (study_id, revision)
);
