import { expect, test } from '@jest/globals';
import type { StudyInstanceUid } from '../kernel/ids.ts';
import type { FoundStudy } from '../ports/dicomweb.ts';
import { scopeRule } from './scope.ts';

const study = (o: Partial<FoundStudy> = {}): FoundStudy => ({
  studyInstanceUid: '1.2' as StudyInstanceUid,
  patientId: 'P1',
  studyDate: '20200401',
  studyDescription: 'Thorax routine',
  modalities: ['CT'],
  instanceCount: 3,
  ...o,
});

test('without a rule everything is in scope', () => {
  expect(scopeRule(undefined)([study({ modalities: ['US'] })])).toBe(true);
});

test('modality: one of them is enough, and a PACS that does not say is asked later', () => {
  const inScope = scopeRule({ modalities: ['CT'] });
  expect(inScope([study({ modalities: ['SR', 'CT'] })])).toBe(true);
  expect(inScope([study({ modalities: ['US'] })])).toBe(false);
  expect(inScope([study({ modalities: [] })])).toBe(true);
});

test('dates include both ends; a study without a date is outside of them', () => {
  const inScope = scopeRule({ studyDateFrom: '20200301', studyDateTo: '20200401' });
  expect(inScope([study()])).toBe(true);
  expect(inScope([study({ studyDate: '20200402' })])).toBe(false);
  expect(inScope([study({ studyDate: '20200229' })])).toBe(false);
  expect(inScope([study({ studyDate: '' })])).toBe(false);
  expect(scopeRule({ studyDateFrom: '20200301' })([study({ studyDate: '2020.04.01' })])).toBe(true);
});

test('description and opt-out list', () => {
  expect(scopeRule({ descriptionPattern: 'thorax|грудн' })([study()])).toBe(true);
  expect(scopeRule({ descriptionPattern: 'ГРУДН' })([study({ studyDescription: 'КТ органов грудной клетки' })])).toBe(true);
  expect(scopeRule({ descriptionPattern: 'head' })([study()])).toBe(false);
  const optOut = scopeRule({ optOutPatientIds: ['P2'] });
  expect(optOut([study()])).toBe(true);
  // Under any of the rows of a study: none of it comes.
  expect(optOut([study(), study({ patientId: 'P2 ' })])).toBe(false);
});
