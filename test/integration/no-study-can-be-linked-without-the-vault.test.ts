// An attacker with the PACS, all its UIDs and hashes and this repository, but without the vault, computes every id
// that could be computed; none stands in the research zone or in the archive of the clinical log. With the vault's
// secrets the same ids are found at once. The claim is about ids, dates and texts: pixels are kept as they are by
// design, so whoever has the PACS's pixels can compare pixels (and hashes of volumes made of them).
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { createHash, createHmac } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { openPostgresVault } from '../../services/adapters/postgres-vault.ts';
import { researchRevision, researchStudyId, subjectIdentity } from '../../services/anonymise/identity.ts';
import { digestOfParts, eventId, revisionOf, siteId } from '../../services/kernel/digest.ts';
import type { CentreId, StudyInstanceUid } from '../../services/kernel/ids.ts';
import type { IdentityVault } from '../../services/ports/identity-vault.ts';
import { base32, candidatesFor, spellings } from './privacy/attacker.ts';
import { closeCorpus, objectPieces, recordPiece, recordsOf } from './privacy/corpus.ts';
import { haystackOf, wordsOfPieces } from './privacy/haystack.ts';
import { knownStudies, type KnownStudy } from './privacy/known-studies.ts';
import { flushed, runToRelease, type Run, type Sent } from './privacy/run.ts';
import { releasePlatform } from './support.ts';

const SENT: readonly Sent[] = [
  { seed: 17, index: 1, at: 0 },
  { seed: 17, index: 3, at: 1 },
];

let run: Run;
let known: KnownStudy[];
let words: Set<string>;

beforeAll(async () => {
  run = await runToRelease('unlinked', SENT);
  const { p } = run;
  await flushed(p);
  known = (await Promise.all(p.pacs.map(knownStudies))).flat();
  const records = await recordsOf(p, 'ct.research.*');
  const objects = await Promise.all(
    ['ct-research', 'ct-releases', 'ct-release-candidates', 'ct-event-log'].map((bucket) => objectPieces(p, bucket)),
  );
  words = wordsOfPieces([...records.map((r) => recordPiece(p, r)), ...objects.flat()]);
});

afterAll(async () => {
  await closeCorpus();
  await run?.p.stop();
  await run?.spans.close();
  await releasePlatform();
});

interface Ids {
  readonly study: string;
  readonly revision: string;
  readonly subject: string;
  readonly uid: string;
  readonly site: string;
}

/** The ids of a study as whoever has this vault computes them. */
async function idsUnder(vault: IdentityVault, s: KnownStudy): Promise<Ids> {
  const subject = await vault.subject({ namespace: `issuer:${s.issuer}`, patientId: s.patientId });
  if (subject === 'denied') throw new Error('denied');
  const { secret } = await vault.token(s.centre as CentreId, s.studyInstanceUid as StudyInstanceUid);
  const identity = subjectIdentity(subject.secret);
  const revision = researchRevision(secret, revisionOf(s.instances.map((i) => ({ ...i, hash: i.md5 }))));
  const uid = identity.mapUid(s.studyInstanceUid).slice('2.25.'.length);
  return {
    study: researchStudyId(secret),
    revision,
    subject: identity.pseudonym,
    uid,
    site: siteId(await vault.siteSecret(), s.centre as CentreId),
  };
}

test('with the vault every study is linked at once', async () => {
  expect(known.length).toBe(SENT.length);
  const { provisioned } = run.p;
  // As its owner: the operator's own role may not look up a patient.
  const vault = await openPostgresVault({
    connectionString: provisioned.databases.vault,
    key: Buffer.from(readFileSync(provisioned.file('vault-key'), 'utf8').trim(), 'hex'),
  });
  try {
    for (const study of known) {
      const ids = await idsUnder(vault, study);
      for (const [name, id] of Object.entries(ids)) expect([name, words.has(id.toLowerCase())]).toEqual([name, true]);
    }
  } finally {
    await vault.close();
  }
});

/** What a careless design would have published: one id of each kind that the attacker computes. */
function careless(s: KnownStudy): string[] {
  const sha256 = createHash('sha256').update(s.studyInstanceUid).digest();
  const event = 'ctstream.clinical.v1.StudyStored';
  const revision = revisionOf(s.instances.map((i) => ({ ...i, hash: i.md5 })));
  return [
    sha256.toString('hex').slice(0, 20),
    `R${base32(createHmac('sha256', s.centre).update(s.patientId).digest()).slice(0, 16)}`,
    `C${createHash('md5').update(`${s.centre}|${s.patientId}`).digest('hex').slice(0, 10)}`,
    spellings(
      createHash('sha512')
        .update(s.instances[8]?.sopInstanceUid ?? '')
        .digest(),
    )[6] ?? '',
    digestOfParts(['study', revision]),
    revision,
    researchStudyId(sha256),
    eventId(
      eventId(eventId(s.studyInstanceUid, 'ctstream.clinical.v1.StudyAvailable', 0), event, 0),
      'ctstream.research.v1.StudyAnonymised',
      0,
    ),
  ];
}

test('without it nothing that can be computed is there; what a careless design publishes is found', () => {
  for (const study of known) {
    expect(study.instances.length).toBeGreaterThan(80);
    const planted = new Set(careless(study).map((id) => id.toLowerCase()));
    const withPlanted = haystackOf([...words, ...planted]);
    const linked: string[] = [];
    const found = new Set<string>();
    let tries = 0;
    for (const { text, by } of candidatesFor(study)) {
      tries++;
      const word = withPlanted.hit(text);
      if (word === undefined) continue;
      if (planted.has(word)) found.add(word);
      else linked.push(`${word} is ${by}`);
    }
    expect(linked).toEqual([]);
    expect([...planted].filter((id) => !found.has(id))).toEqual([]);
    expect(tries).toBeGreaterThan(300_000);
  }
});

test('another vault gives other ids to the same studies, under the same key file too', async () => {
  const { platform, provisioned } = run.p;
  const name = `${provisioned.prefix}other_vault`.replaceAll('-', '_');
  const password = provisioned.secretOf('pg-other-vault');
  await platform.postgres.createDatabase(name, { user: name, password });
  const key = Buffer.from(readFileSync(provisioned.file('vault-key'), 'utf8'), 'hex');
  const other = await openPostgresVault({
    connectionString: `postgres://${name}:${password}@${platform.postgres.host}:${platform.postgres.port}/${name}`,
    key,
  });
  try {
    for (const study of known) {
      const ids = await idsUnder(other, study);
      expect(await idsUnder(other, study)).toEqual(ids);
      for (const [kind, id] of Object.entries(ids)) expect([kind, words.has(id.toLowerCase())]).toEqual([kind, false]);
    }
  } finally {
    await other.close();
  }
});
