// Only the owner of a token, with the role, passes; a careless file stops the command.
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { sha256Hex } from '../kernel/digest.ts';
import { personOf, readPeopleFile, readTokenFile, type Person } from './people-file.ts';

let dir = '';
beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), 'people-'));
});
afterAll(() => rmSync(dir, { recursive: true, force: true }));

const [ANNA, BORIS] = ['token-of-anna-0001', 'token-of-boris-0002'];
const PEOPLE: Person[] = [
  { name: 'Anna', roles: ['security'], tokenSha256: sha256Hex(ANNA) },
  { name: 'Boris', roles: ['privacy', 'security'], tokenSha256: sha256Hex(BORIS) },
];

const file = (content: string, mode = 0o600): string => {
  const path = join(dir, `${Math.random()}.json`);
  writeFileSync(path, content, { mode });
  chmodSync(path, mode);
  return path;
};

test('the owner of a token is found, with the role', () => {
  const people = readPeopleFile(file(JSON.stringify(PEOPLE)));
  expect(personOf(people, ANNA, 'security').name).toBe('Anna');
  expect(personOf(people, BORIS, 'privacy').name).toBe('Boris');
});

test("nobody's token, a token of another role and the digest itself are refused", () => {
  expect(() => personOf(PEOPLE, `${ANNA}x`, 'security')).toThrow(/TOKEN_REFUSED/);
  expect(() => personOf(PEOPLE, '', 'security')).toThrow(/TOKEN_REFUSED/);
  expect(() => personOf(PEOPLE, sha256Hex(ANNA), 'security')).toThrow(/TOKEN_REFUSED/);
  expect(() => personOf(PEOPLE, ANNA, 'privacy')).toThrow(/ROLE_REFUSED: Anna/);
});

test.each([
  ['others may read it', JSON.stringify(PEOPLE), 0o644, /chmod 600/],
  ['no JSON', '{', 0o600, /no JSON/],
  ['a plain token in place of the digest', JSON.stringify([{ ...PEOPLE[0], tokenSha256: ANNA }]), 0o600, /SHA-256/],
  ['an unknown role', JSON.stringify([{ ...PEOPLE[0], roles: ['root'] }]), 0o600, /roles/],
  ['one token of two people', JSON.stringify([PEOPLE[0], { ...PEOPLE[1], tokenSha256: sha256Hex(ANNA) }]), 0o600, /one token/],
  ['one name twice', JSON.stringify([PEOPLE[0], { ...PEOPLE[1], name: 'ANNA' }]), 0o600, /one name/],
])('a file is refused: %s', (_, content, mode, problem) => {
  const path = file(content, mode);
  expect(() => readPeopleFile(path)).toThrow(problem);
  expect(() => readPeopleFile(path)).not.toThrow(ANNA);
});

test('a token comes from a file of its owner alone', () => {
  expect(readTokenFile(file(`${ANNA}\n`))).toBe(ANNA);
  expect(() => readTokenFile(file(ANNA, 0o640))).toThrow(/chmod 600/);
  expect(() => readTokenFile(file('short'))).toThrow(/16 characters/);
  expect(() => readTokenFile(join(dir, 'none'))).toThrow(/ENOENT/);
});
