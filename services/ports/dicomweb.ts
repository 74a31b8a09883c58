// A centre's PACS as DICOMweb shows it: QIDO-RS searches (PS3.18 10.6) and WADO-RS retrieval (PS3.18 10.4).
import type { StudyInstanceUid } from '../kernel/ids.ts';

/** A row of a QIDO-RS study search. One study UID can have several rows: one per patient that claims it. */
export interface FoundStudy {
  /** Empty when the server lists a study without one. */
  readonly studyInstanceUid: StudyInstanceUid;
  /** PatientID (0010,0020): for the opt-out list only. Never logged, stored or published. */
  readonly patientId: string;
  /** StudyDate (0008,0020), YYYYMMDD; empty when unknown. */
  readonly studyDate: string;
  readonly studyDescription: string;
  /** ModalitiesInStudy (0008,0061); empty when the server does not say. */
  readonly modalities: readonly string[];
  /** NumberOfStudyRelatedInstances (0020,1208); undefined when the server does not say. */
  readonly instanceCount: number | undefined;
}

/** A row of a QIDO-RS series search. */
export interface FoundSeries {
  readonly seriesInstanceUid: string;
  /** NumberOfSeriesRelatedInstances (0020,1209); undefined when the server does not say. */
  readonly instanceCount: number | undefined;
}

/** A row of a QIDO-RS instance search. */
export interface FoundInstance {
  readonly seriesInstanceUid: string;
  readonly sopInstanceUid: string;
  readonly sopClassUid: string;
  readonly modality: string;
  /** AvailableTransferSyntaxUID (0008,3002); empty when the server does not say. */
  readonly availableTransferSyntaxUids: readonly string[];
}

export interface StudyFilter {
  /** Most rows of one page. */
  readonly pageSize: number;
  /** StudyDate range, YYYYMMDD. */
  readonly studyDateFrom?: string | undefined;
  readonly studyDateTo?: string | undefined;
}

/** A part of a multipart answer. The body must be read (or left) before the next part is asked for. */
export interface RetrievedPart {
  /** Names in lower case. */
  readonly headers: ReadonlyMap<string, string>;
  readonly body: AsyncIterable<Uint8Array>;
}

/**
 * Every method throws Fault: PACS_UNREACHABLE (no answer in time), PACS_UNAUTHORISED (401, 403), PACS_ERROR
 * (any other status, or an answer that is not what the standard says). 404 is no fault: nothing is there.
 */
export interface DicomWeb {
  /** Pages to the end: every study that the server lists and the filter lets through. */
  studies(filter: StudyFilter, signal: AbortSignal): AsyncIterable<FoundStudy>;
  /** The rows of one study; none when it is not there. */
  study(study: StudyInstanceUid, signal: AbortSignal): Promise<readonly FoundStudy[]>;
  /** Every series of a study; none when it is not there. With more than `atMost` it may end there. */
  series(study: StudyInstanceUid, signal: AbortSignal, atMost?: number): Promise<readonly FoundSeries[]>;
  /**
   * Every instance of a study; none when it is not there. With more than `atMost` it may end there. An Orthanc opens the file of
   * each (1 ms of its processor).
   */
  instances(study: StudyInstanceUid, signal: AbortSignal, atMost?: number): Promise<readonly FoundInstance[]>;
  /** The files of a series, in the syntax that the server stores, streamed; undefined on 404. */
  retrieveSeries(
    study: StudyInstanceUid,
    seriesInstanceUid: string,
    signal: AbortSignal,
  ): Promise<AsyncIterable<RetrievedPart> | undefined>;
}

/** What a PACS's own change feed adds to DICOMweb. Orthanc has one. Faults as above. */
export interface PacsChanges {
  /** Changes behind `sequence`, oldest first, at most `limit`. */
  since(sequence: number, limit: number, signal: AbortSignal): Promise<ChangePage>;
  /** Hash per SOPInstanceUID of a study, as the server keeps it; an instance without one is not in the map. */
  hashes(study: StudyInstanceUid, signal: AbortSignal): Promise<ReadonlyMap<string, string>>;
}

/** What came of studies: they got an instance, or the server calls them stable. */
export interface Change {
  readonly kind: 'touched' | 'stable';
  readonly studies: readonly StudyInstanceUid[];
}

export interface ChangePage {
  /** In the order in which they happened. */
  readonly changes: readonly Change[];
  /** Number of the last change in this page; the server's own last one when there is none. */
  readonly last: number;
  /** No more changes behind this page. */
  readonly done: boolean;
}
