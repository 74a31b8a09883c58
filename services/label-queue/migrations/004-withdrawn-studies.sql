-- Studies of which revisions were withdrawn, up to this ordinal: for ever, so that none of them opens a task that comes late,
-- under whatever subject. A study that its withdrawal named is withdrawn whole: 2147483647. One that goes on under another
-- subject (a patient was merged in the PACS) has newer revisions.
CREATE TABLE withdrawn_study (
  study_id text PRIMARY KEY,
  ordinal  integer NOT NULL
);
