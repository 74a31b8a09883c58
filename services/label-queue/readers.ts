// Who may read: the readers file, the check of a token, and the pseudonym of each reader.
import { timingSafeEqual } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { z } from 'zod';
import { sha256Hex } from '../kernel/digest.ts';
import type { Randomness } from '../ports/clock.ts';
import type { Database } from '../ports/database.ts';

const readerSchema = z.strictObject({
  id: z.string().regex(/^[A-Za-z0-9._-]{1,64}$/, 'is 1-64 of letters, digits, . _ -'),
  /** SHA-256 (hex) of the bearer token: the file holds no token itself. */
  token: z.string().regex(/^[0-9a-f]{64}$/, 'is 64 hex digits'),
  /** Pseudonym of the reader's own centre: its studies never come to them. */
  site: z.string().min(1).optional(),
  /** A program, not a person: every reading of theirs says so. */
  simulated: z.boolean(),
  /** May take what two readers skipped. */
  lead: z.boolean().default(false),
});

export type ReaderEntry = z.input<typeof readerSchema>;

export interface Reader {
  readonly id: string;
  /** SHA-256 (hex) of the bearer token. */
  readonly token: string;
  readonly site?: string | undefined;
  readonly simulated: boolean;
  readonly lead: boolean;
  /** The only name of the reader that leaves the database. */
  readonly pseudonym: string;
}

const readersSchema = z
  .array(readerSchema)
  .min(1)
  .superRefine((readers, context) => {
    for (const field of ['id', 'token'] as const) {
      const seen = new Set<string>();
      for (const [i, r] of readers.entries()) {
        if (seen.has(r[field])) context.addIssue({ code: 'custom', path: [i, field], message: 'stands twice' });
        seen.add(r[field]);
      }
    }
  });

/** Readers in a JSON text. @throws Error with every problem; no token digest stands in it. */
export function parseReaders(text: string): z.output<typeof readerSchema>[] {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch {
    throw new Error('readers file: not JSON');
  }
  const result = readersSchema.safeParse(json);
  if (result.success) return result.data;
  throw new Error(`readers file: ${result.error.issues.map((i) => `${i.path.join('.') || 'list'}: ${i.message}`).join('; ')}`);
}

/** Reads the readers file. Whatever is wrong with it is thrown as `wrong(problem)`. */
export function readReadersFile(path: string, wrong: (problem: string) => Error): ReaderEntry[] {
  try {
    return parseReaders(readFileSync(path, 'utf8'));
  } catch (error) {
    throw wrong(error instanceof Error ? `${path}: ${error.message}` : path);
  }
}

/** Gives each reader their pseudonym: drawn at first sight, the same ever after. */
export async function registerReaders(entries: readonly ReaderEntry[], database: Database, random: Randomness): Promise<Reader[]> {
  const readers: Reader[] = [];
  for (const entry of entries) {
    await database.query('INSERT INTO reader (id, pseudonym) VALUES ($1, $2) ON CONFLICT (id) DO NOTHING', [
      entry.id,
      `reader-${random.attempt().slice(0, 12)}`,
    ]);
    const [row] = await database.query<{ pseudonym: string }>('SELECT pseudonym FROM reader WHERE id = $1', [entry.id]);
    if (row === undefined) throw new Error('a reader was registered and is not in the database');
    readers.push({ ...entry, lead: entry.lead ?? false, pseudonym: row.pseudonym });
  }
  return readers;
}

/** The reader whose token the Authorization header carries; looks at all of them, so that the time tells nothing. */
export function authenticate(readers: readonly Reader[], authorization: string | undefined): Reader | undefined {
  const token = /^Bearer (\S{1,512})$/.exec(authorization ?? '')?.[1];
  if (token === undefined) return undefined;
  const digest = Buffer.from(sha256Hex(token), 'hex');
  let found: Reader | undefined;
  for (const reader of readers) if (timingSafeEqual(digest, Buffer.from(reader.token, 'hex'))) found = reader;
  return found;
}
