// Ids that hold for the whole city, such as an insurance number: by which issuer they come, their form and check digit.
// Without the file ids of different issuers are never the same patient's.
import { readFileSync } from 'node:fs';
import { z } from 'zod';
import { ConfigError } from './env.ts';

/** What the rules of identity ask of an issuer. */
export interface CityIssuerRule {
  readonly namespace: string;
  /** The id as it is compared; undefined when its form or check digit is wrong. */
  normalise(id: string): string | undefined;
}

const issuerSchema = z.strictObject({
  issuer: z
    .string()
    .trim()
    .min(1)
    .describe('IssuerOfPatientID (0010,0021) as the files have it, in OtherPatientIDsSequence (0010,1002) or beside PatientID.'),
  namespace: z.string().trim().min(1).describe('One name for all issuers of the same number.'),
  digits: z.number().int().min(4).max(32).describe('How many digits the number has, check digits included.'),
  check: z
    .enum(['luhn', 'snils'])
    .describe('luhn: ISO/IEC 7812-1 annex B, as the 16 digits of a Russian medical policy have; snils: two digits, modulo 101.'),
});

const fileSchema = z
  .array(issuerSchema)
  .refine((all) => new Set(all.map(({ issuer }) => issuer)).size === all.length, 'an issuer stands there twice');

type Configured = z.output<typeof issuerSchema>;

/** Every second digit from the right, not counting the last, is doubled; the digits' sum ends in 0. */
const isLuhn = (digits: string): boolean => {
  const sum = [...digits].reverse().reduce((total, digit, i) => {
    const value = Number(digit) * (i % 2 === 1 ? 2 : 1);
    return total + (value > 9 ? value - 9 : value);
  }, 0);
  return sum % 10 === 0;
};

/** Nine digits with weights 9 to 1; the sum modulo 101 stands in the last two, 100 as 00. */
const isSnils = (digits: string): boolean => {
  const sum = Array.from(digits.slice(0, -2), Number).reduce((total, digit, i) => total + digit * (digits.length - 2 - i), 0);
  return (sum % 101) % 100 === Number(digits.slice(-2));
};

const cityIssuer = ({ namespace, digits, check }: Configured): CityIssuerRule => ({
  // A prefix of its own: no issuer's or centre's namespace is the same.
  namespace: `city:${namespace}`,
  normalise: (id) => {
    const bare = id.replace(/[\s.-]/g, '');
    const isRight = /^\d+$/.test(bare) && bare.length === digits && (check === 'luhn' ? isLuhn(bare) : isSnils(bare));
    // 000...0 passes every sum.
    return isRight && !/^(\d)\1*$/.test(bare) ? bare : undefined;
  },
});

/** The map of IdentityRules from a JSON file: `[{"issuer", "namespace", "digits", "check"}]`. @throws ConfigError with all problems */
export const readCityIssuers = (path: string | undefined): ReadonlyMap<string, CityIssuerRule> => {
  if (path === undefined) return new Map();
  let json: unknown;
  try {
    json = JSON.parse(readFileSync(path, 'utf8'));
  } catch (error) {
    throw new ConfigError([`CITY_ISSUERS_FILE: ${path} can't be read as JSON (${(error as NodeJS.ErrnoException).code ?? 'no JSON'})`]);
  }
  const result = fileSchema.safeParse(json);
  if (result.success) return new Map(result.data.map((configured) => [configured.issuer, cityIssuer(configured)]));
  throw new ConfigError(
    result.error.issues.map((issue) => `CITY_ISSUERS_FILE ${path}: ${issue.path.join('.') || 'file'}: ${issue.message}`),
  );
};
