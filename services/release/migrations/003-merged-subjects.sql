-- A study may go on under another subject (a patient was merged in the PACS): what is withdrawn of it are the revisions
-- named here, and any up to the ordinal. Of what was withdrawn before this, everything.
ALTER TABLE withdrawn_study
  ADD COLUMN ordinal integer NOT NULL DEFAULT 2147483647,
  ADD COLUMN revisions text[] NOT NULL DEFAULT '{}';
