// The centres that a gateway or ingest works for: one JSON file, readable by its owner only, since it holds passwords.
import { z } from 'zod';
import { centreId, type CentreId } from '../kernel/ids.ts';
import { LEAST_BYTES_PER_S } from '../kernel/sweep.ts';
import { ConfigError } from './env.ts';
import { readOwnJson } from './own-file.ts';

const date = z.string().regex(/^\d{8}$/, 'is a DICOM date, YYYYMMDD');

const scopeSchema = z.strictObject({
  modalities: z.array(z.string().min(1)).min(1).optional().describe('A study is in scope when ModalitiesInStudy has one of these.'),
  studyDateFrom: date.optional().describe('First StudyDate in scope.'),
  studyDateTo: date.optional().describe('Last StudyDate in scope.'),
  descriptionPattern: z
    .string()
    .refine(isRegExp, 'is no regular expression')
    .optional()
    .describe('Regular expression (case-insensitive) that StudyDescription must match.'),
  optOutPatientIds: z.array(z.string().min(1)).optional().describe('Patients who refused: nothing of theirs is announced.'),
});

const quotaSchema = z.strictObject({
  studiesPerMinute: z.number().positive().optional().describe('Most studies begun per minute.'),
  bytesPerSecond: z
    .int()
    .min(LEAST_BYTES_PER_S, `is less than ${LEAST_BYTES_PER_S}, with which a study of 1 GB does not come in the longest time of a pull`)
    .optional()
    .describe('Most bytes taken per second.'),
});

const centreSchema = z.strictObject({
  id: z.string().transform((text, ctx): CentreId => {
    try {
      return centreId(text);
    } catch {
      ctx.addIssue({ code: 'custom', message: "is 1-24 of a-z, 0-9 and '-'" });
      return z.NEVER;
    }
  }),
  name: z.string().optional().describe('For people.'),
  dicomWebUrl: z.url({ protocol: /^https?$/ }).describe('Root of QIDO-RS and WADO-RS.'),
  username: z.string().min(1),
  password: z.string().min(1),
  orthanc: z
    .strictObject({ url: z.url({ protocol: /^https?$/ }) })
    .optional()
    .describe('Set when the PACS is Orthanc and its REST feed /changes may be used.'),
  kafkaUsername: z.string().min(1).optional().describe('Gateway only.'),
  kafkaPassword: z.string().min(1).optional().describe('Gateway only.'),
  namespace: z.string().min(1).describe('Issuer of PatientIDs that come without IssuerOfPatientID (0010,0021).'),
  scope: scopeSchema.optional(),
  quota: quotaSchema.optional().describe('Ingest only; for each ingest process.'),
});

export type CentreScope = z.output<typeof scopeSchema>;
export type Centre = z.output<typeof centreSchema>;

function isRegExp(text: string): boolean {
  try {
    return new RegExp(text, 'iu') instanceof RegExp;
  } catch {
    return false;
  }
}

const fileSchema = z
  .array(centreSchema)
  .min(1)
  .superRefine((centres, ctx) => {
    const twice = centres.map((c) => c.id).filter((id, i, all) => all.indexOf(id) !== i);
    if (twice.length > 0) ctx.addIssue({ code: 'custom', message: `centre ids are not unique: ${[...new Set(twice)].join(', ')}` });
  });

/** Reads CENTRES_FILE. @throws ConfigError with all problems; values never stand in it. */
export function readCentresFile(path: string): Centre[] {
  const result = fileSchema.safeParse(readOwnJson('CENTRES_FILE', path));
  if (result.success) return result.data;
  throw new ConfigError(result.error.issues.map((issue) => `CENTRES_FILE ${path}: ${issue.path.join('.') || 'file'}: ${issue.message}`));
}
