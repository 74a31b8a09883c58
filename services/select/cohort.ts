// The cohort file: what a selection wants, versioned, read once at start. Its digest stands in every round.
import { readFileSync } from 'node:fs';
import { parse } from 'yaml';
import { z } from 'zod';
import { sha256Hex } from '../kernel/digest.ts';

const ageBand = z.string().regex(/^(\d{3}-\d{3}|\d+\+|unknown)$/, 'is a band such as 050-059, 090+ or unknown');

/** A quota counts the selected studies that match all of its fields; a field left out matches everything. */
const quotaSchema = z.strictObject({
  class: z.number().int().min(0).max(4).optional(),
  sex: z.enum(['M', 'F', 'O', 'unknown']).optional(),
  ageBand: ageBand.optional(),
  size: z.number().int().min(0),
});

const cohortSchema = z.strictObject({
  format: z.literal('ctstream-cohort/1'),
  name: z.string().regex(/^[a-z0-9][a-z0-9-]{0,39}$/, 'is 1-40 of a-z, 0-9 and -'),
  version: z.number().int().min(1),
  /** Most studies in the cohort. */
  size: z.number().int().min(1),
  /** Most studies of one centre. */
  perCentreCap: z.number().int().min(1),
  /** Decides ties: HMAC(seed, study id). */
  seed: z.string().min(1),
  onePerPatient: z.boolean().default(true),
  kernel: z.enum(['any', 'soft', 'sharp']).default('any'),
  contrast: z.enum(['any', 'none-or-uncertain', 'none']).default('none-or-uncertain'),
  /** Before the tie: studies whose estimate is uncertain go first (white-out lungs), then the more severe. */
  uncertainFirst: z.boolean().default(true),
  severeFirst: z.boolean().default(false),
  quotas: z.array(quotaSchema).default([]),
});

export type Cohort = z.output<typeof cohortSchema>;
export type Quota = Cohort['quotas'][number];

export interface CohortFile {
  readonly cohort: Cohort;
  /** SHA-256 (hex) of the file's bytes. */
  readonly sha256: string;
}

/** The cohort in a YAML text. @throws Error that lists every problem with its place. */
export function parseCohort(text: string): Cohort {
  const result = cohortSchema.safeParse(parse(text));
  if (result.success) return result.data;
  throw new Error(result.error.issues.map((i) => `${i.path.join('.') || 'file'}: ${i.message}`).join('; '));
}

/** Reads a cohort file. @throws Error naming the file and every problem in it. */
export function readCohortFile(path: string): CohortFile {
  const bytes = readFileSync(path);
  try {
    return { cohort: parseCohort(bytes.toString('utf8')), sha256: sha256Hex(bytes) };
  } catch (error) {
    throw new Error(`cohort file ${path}: ${error instanceof Error ? error.message : 'unreadable'}`, { cause: error });
  }
}
