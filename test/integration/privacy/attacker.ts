// Someone who has a centre's PACS, every UID in it and this repository, but not the vault, tries to compute research
// ids: every unkeyed function, every key that could be guessed, and the project's own functions with such keys.
import { createHash, createHmac } from 'node:crypto';
import topicsFile from '../../../schemas/topics.json' with { type: 'json' };
import type { EventType } from '../../../schemas/events.gen.ts';
import { vaultCrypto } from '../../../services/adapters/vault-crypto.ts';
import { researchRevision, researchStudyId, subjectIdentity } from '../../../services/anonymise/identity.ts';
import { isWellKnownUid, uidFromBytes } from '../../../services/dicom/uid.ts';
import { digestOfParts, revisionOf, siteId } from '../../../services/kernel/digest.ts';
import { outgoingId } from '../../../services/kernel/event-ids.ts';
import { clinicalKey, type CentreId, type ClinicalRevision, type StudyInstanceUid } from '../../../services/kernel/ids.ts';
import { contentDigest, manifestKeyOf } from '../../../services/ingest/events.ts';
import type { KnownStudy } from './known-studies.ts';

const BASE32 = 'abcdefghijklmnopqrstuvwxyz234567';

export function base32(bytes: Uint8Array): string {
  let bits = 0;
  let value = 0;
  let text = '';
  for (const byte of bytes) {
    value = ((value << 8) | byte) & 0xffff;
    bits += 8;
    for (; bits >= 5; bits -= 5) text += BASE32[(value >>> (bits - 5)) & 31];
  }
  return text;
}

const decimal = (bytes: Uint8Array): string => BigInt(`0x${Buffer.from(bytes).toString('hex')}`).toString();

/** A digest as ids are written: hex, base32, base64 in both alphabets, decimal, a 2.25 UID. */
export function spellings(digest: Buffer): string[] {
  const head = digest.subarray(0, 16);
  return [
    digest.toString('hex'),
    base32(digest),
    digest.toString('base64'),
    digest.toString('base64url'),
    decimal(head),
    decimal(digest),
    uidFromBytes(head).slice('2.25.'.length),
  ];
}

export interface Candidate {
  readonly text: string;
  /** How it was made. */
  readonly by: string;
}

/** Ids are made in one way for all instances of a study, so every so-manieth is tried. */
const INSTANCES_TRIED = 8;

/** Everything that the PACS says of the study, and what the repository's unkeyed functions make of it. */
export function atomsOf(s: KnownStudy): string[] {
  const [centre, study] = [s.centre as CentreId, s.studyInstanceUid as StudyInstanceUid];
  const bare = s.instances.map(({ seriesInstanceUid, sopInstanceUid }) => ({ seriesInstanceUid, sopInstanceUid }));
  const revisions = [
    revisionOf(bare),
    revisionOf(s.instances.map((i) => ({ ...i, hash: i.md5 }))),
    revisionOf(s.instances.map((i) => ({ ...i, hash: i.sha256 }))),
  ];
  const content = contentDigest([
    {
      seriesInstanceUid: '',
      modality: 'CT',
      object: '',
      sizeBytes: 0,
      instances: s.instances.map((i) => ({ ...i, sopClassUid: '', transferSyntaxUid: '', offset: 0, sizeBytes: 0 })),
    },
  ]);
  return [
    ...new Set([
      ...s.values,
      centre,
      study,
      s.patientId,
      s.issuer,
      clinicalKey(centre, study),
      `${centre}/${study}`,
      `${s.issuer}|${s.patientId}`,
      `issuer:${s.issuer}`,
      `issuer:${s.issuer}|${s.patientId}`,
      `${centre}|${s.patientId}`,
      `${s.patientId}|${study}`,
      ...revisions,
      ...revisions.map((r) => manifestKeyOf(centre, study, r)),
      content,
      ...s.instances.filter((_, n) => n % INSTANCES_TRIED === 0).flatMap((i) => [i.seriesInstanceUid, i.sopInstanceUid, i.md5, i.sha256]),
    ]),
  ].filter((atom) => atom !== '');
}

/** Keys that somebody would try. */
function guessedKeys(s: KnownStudy): string[] {
  return [
    '',
    '0',
    'ctstream',
    'secret',
    'study',
    'patient',
    'site',
    'ctstream demo cohort',
    s.centre,
    s.issuer,
    s.studyInstanceUid,
    s.patientId,
  ];
}

/** Digests and UIDs as they stand: revision, content digest, hashes, Orthanc's ids. Standard UIDs are nobody's. */
function* direct(atoms: readonly string[]): Generator<Candidate> {
  for (const atom of atoms)
    if (/^[0-9a-f.-]{16,}$/i.test(atom) && !isWellKnownUid(atom)) yield { text: atom.replace(/^2\.25\./, ''), by: `${atom} itself` };
}

function* unkeyed(s: KnownStudy, atoms: readonly string[]): Generator<Candidate> {
  const keys = guessedKeys(s);
  for (const atom of atoms) {
    const inputs = [['', atom], ...keys.flatMap((key) => ['', '|', '/', ':'].map((between) => [key, `${key}${between}${atom}`]))];
    for (const algorithm of ['md5', 'sha1', 'sha256', 'sha512']) {
      for (const [key, input] of inputs) {
        for (const text of spellings(
          createHash(algorithm)
            .update(input ?? '')
            .digest(),
        ))
          yield { text, by: `${algorithm}(${key} and ${atom})` };
      }
      for (const key of keys)
        for (const text of spellings(createHmac(algorithm, key).update(atom).digest()))
          yield { text, by: `hmac-${algorithm}(${key}, ${atom})` };
    }
    for (const purpose of ['event', 'revision', 'study', 'patient', 'subject', 'site', 'uid', 'pseudonym', 'token', 'lineage']) {
      for (const text of spellings(Buffer.from(digestOfParts([purpose, atom]), 'hex')))
        yield { text, by: `digestOfParts(${purpose}, ${atom})` };
    }
    for (const text of spellings(Buffer.from(digestOfParts([atom]), 'hex'))) yield { text, by: `digestOfParts(${atom})` };
  }
}

/** The project's own keyed functions, with secrets that could be guessed. */
function* ownFunctions(s: KnownStudy, atoms: readonly string[]): Generator<Candidate> {
  const sha256 = (text: string): Buffer => createHash('sha256').update(text).digest();
  const [centre, study] = [s.centre as CentreId, s.studyInstanceUid as StudyInstanceUid];
  const revisions = [revisionOf(s.instances), revisionOf(s.instances.map((i) => ({ ...i, hash: i.md5 })))];
  const uids = [study, ...new Set(s.instances.map((i) => i.seriesInstanceUid)), ...s.instances.map((i) => i.sopInstanceUid)];
  for (const atom of ['', '0', 'ctstream', 'secret', ...atoms]) {
    const secrets = [
      sha256(atom),
      createHmac('sha256', '').update(atom).digest(),
      Buffer.from(digestOfParts([atom]), 'hex'),
      Buffer.alloc(32, atom === '' ? 0 : atom),
    ];
    for (const secret of secrets) {
      const by = (name: string): string => `${name} under a secret of ${atom}`;
      const subject = subjectIdentity(secret);
      yield { text: subject.pseudonym, by: by('pseudonym') };
      yield { text: researchStudyId(secret), by: by('researchStudyId') };
      yield { text: siteId(secret, centre), by: by('siteId') };
      for (const revision of revisions) {
        yield { text: researchRevision(secret, revision), by: by('researchRevision') };
        yield { text: createHmac('sha256', secret).update(`archive-revision|${revision}`).digest('hex'), by: by('archive-revision') };
      }
      // One UID of a study is enough to link it.
      for (const uid of uids.slice(0, 6)) yield { text: subject.mapUid(uid).slice('2.25.'.length), by: by('mapUid') };
      const crypto = vaultCrypto(secret);
      for (const [purpose, ...parts] of [
        ['patient', `issuer:${s.issuer}`, s.patientId],
        ['patient', `centre:${centre}`, s.patientId],
        ['study', centre, study],
      ] as const) {
        yield { text: crypto.digest(purpose, ...parts), by: by(`vault digest of the ${purpose}`) };
      }
    }
  }
}

/** Every (type, writer) that an id is made for. */
const STEPS = topicsFile.topics.flatMap((t) =>
  (t.writers.length === 0 ? [''] : t.writers).map((writer) => ({ type: t.type as EventType, writer })),
);

/** Chains of event ids, three long, from everything that one could start with. */
function* chains(s: KnownStudy): Generator<Candidate> {
  const [centre, study] = [s.centre as CentreId, s.studyInstanceUid as StudyInstanceUid];
  const revision = revisionOf(s.instances.map((i) => ({ ...i, hash: i.md5 })));
  for (const start of [
    study,
    clinicalKey(centre, study),
    revision as string,
    revisionOf(s.instances) as string,
    manifestKeyOf(centre, study, revision as ClinicalRevision),
    digestOfParts([centre, study]),
  ]) {
    const ids = (cause: string, ordinals: number): string[] =>
      STEPS.flatMap(({ type, writer }) => Array.from({ length: ordinals }, (_, ordinal) => outgoingId(writer, cause, type, ordinal)));
    for (const first of ids(start, 3)) {
      yield { text: first, by: `event id of ${start}` };
      for (const second of ids(first, 1)) {
        yield { text: second, by: `event id of an event id of ${start}` };
        for (const third of ids(second, 1)) yield { text: third, by: `third event id from ${start}` };
      }
    }
  }
}

/** All tries for a study, lazily: about a million. */
export function* candidatesFor(s: KnownStudy): Generator<Candidate> {
  const atoms = atomsOf(s);
  yield* direct(atoms);
  yield* unkeyed(s, atoms);
  yield* ownFunctions(s, atoms);
  yield* chains(s);
}
