import { describe, expect, test } from '@jest/globals';
import { spokenAs } from './name-forms.ts';

describe('spokenAs', () => {
  test.each([
    ['малый', ['малого', 'малая']],
    ['malaya', ['малая', 'малого']],
    ['staryi', ['старый']],
    ['рак', ['рака', 'раком']],
  ])('%p has the clinical words %p', (name, forms) => {
    expect(spokenAs(name)).toEqual(expect.arrayContaining(forms));
  });

  test.each(['иванов', 'костин', 'белов', 'smith', '12345', ''])('%p has none', (name) => {
    expect(spokenAs(name)).toEqual([]);
  });
});
