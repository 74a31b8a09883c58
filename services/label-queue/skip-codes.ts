// Why a reader may refuse to grade a volume. A closed list: the codes stand in readings and in the audit.
export const SKIP_CODES = {
  UNGRADABLE: 'No grade can be given: motion, noise, not a chest, lungs incomplete.',
  OTHER_DISEASE: 'Another disease hides or mimics what is graded.',
  TECHNICAL: 'The volume does not open or is not shown right.',
  KNOWN_PATIENT: 'The reader knows whose images these are.',
  IDENTITY_VISIBLE: 'A name, a face or another identity can be seen: the study is quarantined at once.',
} as const;

export type SkipCode = keyof typeof SKIP_CODES;

export const SKIP_CODE_LIST = Object.keys(SKIP_CODES) as SkipCode[];
