-- What the log says of studies, where it stood in the log, and the versions built from it.

CREATE TABLE fact (
  topic     text NOT NULL,
  partition integer NOT NULL,
  place     bigint NOT NULL,
  event_id  text NOT NULL UNIQUE,
  type      text NOT NULL,
  value     jsonb NOT NULL,
  PRIMARY KEY (topic, partition, place)
);

-- Every offset that came, doubled events too: the cut counts offsets.
CREATE TABLE seen (
  topic     text NOT NULL,
  partition integer NOT NULL,
  place     bigint NOT NULL,
  PRIMARY KEY (topic, partition, place)
);

CREATE TABLE version (
  version    text PRIMARY KEY,
  state      text NOT NULL DEFAULT 'building' CHECK (state IN ('building', 'candidate', 'released')),
  -- [{topic, partition, endOffset}] and [[topic, partition, first, last]]: fixed at the first build, so that a
  -- later build of the version gives the same bytes.
  cut        jsonb NOT NULL,
  holes      jsonb NOT NULL,
  -- Released version before this one when it was first built: what CHANGELOG.md compares with.
  previous   text REFERENCES version,
  sums_sha256 text,
  -- [{study, category}] by the dataset's own ids, and the research ids for the event.
  members    jsonb,
  research_ids jsonb,
  approvers  jsonb,
  simulated  boolean,
  created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  released_at timestamptz,
  CHECK (state <> 'released' OR (sums_sha256 IS NOT NULL AND approvers IS NOT NULL))
);
