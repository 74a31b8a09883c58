// The people who may decide what no stage may: one JSON file with their roles and the digests of their
// tokens, and the tokens themselves, each in a file of its owner. Readable by their owners only.
import { z } from 'zod';
import { knowsToken } from '../kernel/bearer.ts';
import { sha256Hex } from '../kernel/digest.ts';
import { Fault } from '../kernel/fault.ts';
import { ConfigError } from './env.ts';
import { readOwnFile, readOwnJson } from './own-file.ts';

/** security: looks at what is held and decides. privacy: re-identifies, two of them together. */
const ROLES = ['security', 'privacy'] as const;
export type Role = (typeof ROLES)[number];

const personSchema = z.strictObject({
  name: z.string().trim().min(1).max(100).describe('As it stands in the audit.'),
  roles: z.array(z.enum(ROLES)).min(1),
  tokenSha256: z
    .string()
    .regex(/^[0-9a-f]{64}$/, 'is the SHA-256 of the token in hex')
    .describe('SHA-256 of the token; the token itself stands nowhere here.'),
});

export type Person = Readonly<z.output<typeof personSchema>>;

const unique = (values: readonly string[]): boolean => new Set(values).size === values.length;

const fileSchema = z
  .array(personSchema)
  .min(1)
  .refine((people) => unique(people.map(({ name }) => name.toLocaleLowerCase('en'))), 'two people have one name')
  // Two eyes with one token would be four eyes to everybody who counts.
  .refine((people) => unique(people.map(({ tokenSha256 }) => tokenSha256)), 'two people have one token');

/** Reads the people's file: `[{"name", "roles", "tokenSha256"}]`. @throws ConfigError with all problems; no value stands in it. */
export function readPeopleFile(path: string): Person[] {
  const result = fileSchema.safeParse(readOwnJson('people file', path));
  if (result.success) return result.data;
  throw new ConfigError(result.error.issues.map((issue) => `people file ${path}: ${issue.path.join('.') || 'file'}: ${issue.message}`));
}

/** Least length of a token: shorter ones can be guessed from their digest. */
const MIN_TOKEN = 16;

/** A person's token, from a file of theirs: on a command line every process of the machine would see it. @throws ConfigError */
export function readTokenFile(path: string): string {
  const token = readOwnFile('token file', path).trim();
  if (token.length < MIN_TOKEN) throw new ConfigError([`token file: ${path} holds no token of ${MIN_TOKEN} characters or more`]);
  return token;
}

/**
 * The person whose token it is, if they have the role.
 * @throws Fault TOKEN_REFUSED (nobody's), ROLE_REFUSED (a person without the role); neither is retryable.
 */
export function personOf(people: readonly Person[], token: string, role: Role): Person {
  const given = `Bearer ${sha256Hex(token)}`;
  // All are compared, so that the time tells nothing of who comes first.
  const [person] = people.filter(({ tokenSha256 }) => knowsToken(given, tokenSha256));
  if (person === undefined) throw new Fault('TOKEN_REFUSED', false, "the token is nobody's in the people file");
  if (!person.roles.includes(role)) throw new Fault('ROLE_REFUSED', false, `${person.name} does not have the role '${role}'`);
  return person;
}
