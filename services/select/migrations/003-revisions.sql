-- A newer revision of a selected study takes its place: 'revised'. It is selected once, and may be revised often.
ALTER TABLE decision DROP CONSTRAINT decision_outcome_check;
ALTER TABLE decision ADD CONSTRAINT decision_outcome_check CHECK (outcome IN ('selected', 'revised', 'excluded', 'skipped'));
ALTER TABLE decision DROP CONSTRAINT decision_check;
ALTER TABLE decision ADD CONSTRAINT decision_code_check CHECK ((outcome IN ('selected', 'revised')) = (code IS NULL));
DROP INDEX decision_once;
CREATE UNIQUE INDEX decision_once ON decision (cohort, study_id) WHERE outcome IN ('selected', 'excluded');
