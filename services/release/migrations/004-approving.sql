-- Since an approval began to copy the version to ct-releases: what lies there is then a copy of its own, else of a version that
-- was published before this database was made anew, or after the backup that it comes from (adopt.ts).
ALTER TABLE version ADD COLUMN approving boolean NOT NULL DEFAULT false;
