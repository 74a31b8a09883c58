// The originals of a study that are looked at twice: surveyed, and then cleaned. As far as the shelf has room the second
// look needs no object again; what finds none is fetched again, and is the same by its hash.
import { DEFLATED_LE } from '../dicom/transfer-syntax.ts';
import type { DicomFile } from '../dicom/model.ts';
import type { ManifestInstance, ManifestSeries } from '../kernel/manifest.ts';
import type { ObjectStore } from '../ports/object-store.ts';
import { originalsOf } from './clinical-series.ts';
import { codeOfTooLarge } from './instance-limit.ts';
import type { CleanOptions } from './instance.ts';
import { reusable } from './shelf.ts';
import type { Shelf, ShelvedFile } from './shelf.ts';
import { leaveUnread, surveyFile } from './study-survey.ts';
import type { StudySurvey } from './study-survey.ts';

export interface OriginalsPorts {
  readonly store: ObjectStore;
  readonly shelf: Shelf;
  /** Larger instances are left behind unread. */
  readonly instanceLimitBytes: number;
}

export interface OriginalAgain {
  /** As the survey knows it. */
  name: string;
  /** Hold until the next one. */
  bytes: Uint8Array;
  judged: CleanOptions['judged'];
}

export interface KeptOriginals {
  /** First pass over a series. Throws as originalsOf does. */
  survey(series: ManifestSeries, survey: StudySurvey): Promise<void>;
  /** Second pass, over those of these names. */
  again(series: ManifestSeries, names: ReadonlySet<string>): AsyncIterable<OriginalAgain>;
  /** Gives the room back; called in any case. */
  forget(): void;
}

/** An instance by its place: two of a study may have one SOP Instance UID, and only one of them may cross. */
const nameOf = (series: ManifestSeries, { sopInstanceUid, offset }: ManifestInstance): string =>
  `${series.seriesInstanceUid}/${sopInstanceUid}/${offset}`;

/** An inflated dataset is memory that the shelf does not count: it is made again when it is needed. */
const mayStay = (file: DicomFile): boolean => file.transferSyntaxUid !== DEFLATED_LE;

export const keptOriginals = ({ store, shelf, instanceLimitBytes }: OriginalsPorts, signal: AbortSignal): KeptOriginals => {
  // A study may be in hand twice: its record came again while the first was being aborted.
  const study = {};
  const passing = reusable();
  const isTooLarge = ({ sizeBytes }: ManifestInstance): boolean => sizeBytes > instanceLimitBytes;
  return {
    survey: async (series, survey) => {
      for (const { sopClassUid } of series.instances.filter(isTooLarge)) leaveUnread(survey, codeOfTooLarge(sopClassUid));
      const room = (entry: ManifestInstance): Uint8Array | undefined =>
        isTooLarge(entry) ? undefined : (shelf.add(study, nameOf(series, entry), entry.sizeBytes)?.bytes ?? passing(entry.sizeBytes));
      for await (const { entry, bytes } of originalsOf(store, series, signal, room)) {
        const name = nameOf(series, entry);
        const result = surveyFile(survey, name, bytes);
        const shelved = shelf.kept(study, name);
        if (shelved !== undefined && typeof result !== 'string' && mayStay(result)) shelved.file = result;
      }
    },
    again: async function* (series, names) {
      // In the order of the tar, from wherever they come: the order of what is written does not depend on the room.
      const inOrder = series.instances.toSorted((a, b) => a.offset - b.offset);
      const wanted = inOrder.map((entry) => nameOf(series, entry)).filter((name) => names.has(name));
      const shelved = wanted.map((name) => shelf.kept(study, name));
      if (shelved.every((one): one is ShelvedFile => one?.file !== undefined)) {
        for (const [i, { bytes, file }] of shelved.entries()) yield { name: wanted[i] ?? '', bytes, judged: file };
        return;
      }
      const room = (entry: ManifestInstance): Uint8Array | undefined =>
        names.has(nameOf(series, entry)) ? passing(entry.sizeBytes) : undefined;
      for await (const { entry, bytes } of originalsOf(store, series, signal, room))
        yield { name: nameOf(series, entry), bytes, judged: 'these bytes' };
    },
    forget: () => shelf.clear(study),
  };
};
