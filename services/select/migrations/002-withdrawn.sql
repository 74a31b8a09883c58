-- Subjects that withdrew: for ever, so that nothing that comes late is chosen. Which of them a round knew is told by the
-- clock: withdrawals and rounds take the same lock, so `withdrawn_at` and `round.closed_at` are in one order.
CREATE TABLE withdrawn (
  subject_id   text PRIMARY KEY,
  withdrawn_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  -- Rows erased so far, and the studies whose events the outbox may still hold; emptied with the last erasure.
  rows         integer NOT NULL DEFAULT 0,
  studies      text[] NOT NULL DEFAULT '{}'
);
