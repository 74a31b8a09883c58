-- Subjects that withdrew: for ever, so that nothing that comes late opens a task.
CREATE TABLE withdrawn (
  subject_id   text PRIMARY KEY,
  withdrawn_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  -- Rows erased so far, and the studies whose events the outbox may still hold; emptied with the last erasure.
  rows         integer NOT NULL DEFAULT 0,
  studies      text[] NOT NULL DEFAULT '{}'
);

-- Ids of erased tasks, which are random and name nobody: who still holds one is told why it is gone.
CREATE TABLE erased_task (task_id text PRIMARY KEY);
