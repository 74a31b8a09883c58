// The centre's view of itself: sent, acknowledged, waiting, refused and why. No patient's values.
import { createHmac } from 'node:crypto';
import { CODES, isCode } from '../kernel/codes.ts';
import type { CentreLink } from './link.ts';
import { outboxDepth } from './outbox.ts';
import type { State } from './state.ts';
import { IS_INCONSISTENT, toAnnounceAgain } from './studies.ts';

export interface CentreReport {
  readonly centre: string;
  readonly name: string;
  /** Studies that the PACS was seen to list and that the rule lets through, and refusals before the PACS. */
  readonly sent: number;
  /** Stored by ingest. */
  readonly acknowledged: number;
  /** Not yet announced, or announced and not yet answered. */
  readonly waiting: number;
  readonly refused: number;
  readonly outOfScope: number;
  /** Were in the PACS, and were taken out of it before they could be announced. */
  readonly vanished: number;
  /** Count per code, of waiting and refused ones. */
  readonly reasons: Readonly<Record<string, number>>;
  readonly pacs: { readonly usable: boolean; readonly code: string | null; readonly detail: string | null; readonly since: string | null };
  readonly census: { readonly takenAt: string; readonly total: number; readonly id: string } | null;
  /** Set while censuses fail although the PACS answers. */
  readonly censusFailed: { readonly code: string; readonly detail: string; readonly since: string } | null;
  /** Studies that somebody asked to announce again, and that are not yet. */
  readonly toAnnounceAgain: number;
  /** Events that wait for Kafka. */
  readonly outbox: number;
  /** Answers of ingest that this gateway could not read, per code. */
  readonly unreadAnswers: Readonly<Record<string, number>>;
  /** Studies that wait or were refused, newest first, at most 200. */
  readonly studies: readonly StudyReport[];
}

export interface StudyReport {
  /** Short name of the study, to speak of it and to find it with the UIDs; tells nothing by itself. */
  readonly reference: string;
  /** Only for who has the token. */
  readonly studyInstanceUid?: string;
  readonly state: 'waiting' | 'refused';
  readonly code: string | null;
  readonly instances: number;
  readonly firstSeen: string;
}

interface Group {
  readonly kind: string;
  readonly code: string | null;
  readonly n: number;
}

// One kind per study, in this order; a study that is not in the PACS any more and never came does not count.
const KIND = `CASE
  WHEN ${IS_INCONSISTENT} THEN 'waiting'
  WHEN status = 'stored' AND revision IS NOT NULL THEN 'acknowledged'
  WHEN status = 'rejected' THEN 'refused'
  WHEN state = 'outOfScope' THEN 'outOfScope'
  WHEN state = 'unlisted' AND revision IS NULL THEN 'gone'
  ELSE 'waiting' END`;
const CODE = `CASE WHEN ${IS_INCONSISTENT} THEN 'PACS_INCONSISTENT' WHEN status_code IS NOT NULL THEN status_code WHEN revision IS NOT NULL THEN NULL WHEN deadline_ms IS NULL THEN 'NOT_ANNOUNCED' ELSE 'NOT_YET_STABLE' END`;

const iso = (ms: number | null | undefined): string | null => (ms === null || ms === undefined ? null : new Date(ms).toISOString());

/** The report of one centre; `withUids` only for a caller who has shown the token. */
export function reportOf(state: State, link: CentreLink, withUids = false): CentreReport {
  const { centre } = link;
  const groups = state.all<Group>(
    `SELECT ${KIND} AS kind, ${CODE} AS code, count(*) AS n FROM study WHERE centre = ? GROUP BY 1, 2`,
    centre,
  );
  const intake = state.all<{ code: string; n: number }>(
    "SELECT code, count(*) AS n FROM intake WHERE centre = ? AND unit = 'study' GROUP BY code",
    centre,
  );
  const sum = (kind: string): number => groups.filter((g) => g.kind === kind).reduce((total, g) => total + g.n, 0);
  const refusedBefore = intake.reduce((total, i) => total + i.n, 0);
  const reasons: Record<string, number> = {};
  for (const g of groups)
    if ((g.kind === 'waiting' || g.kind === 'refused') && g.code !== null) reasons[g.code] = (reasons[g.code] ?? 0) + g.n;
  for (const i of intake) reasons[i.code] = (reasons[i.code] ?? 0) + i.n;
  const row = state.get<{
    pacs_code: string | null;
    pacs_detail: string | null;
    pacs_since_ms: number | null;
    census_ms: number | null;
    census_id: string | null;
    census_total: number | null;
  }>('SELECT * FROM centre WHERE centre = ?', centre);
  const acknowledged = sum('acknowledged');
  const waiting = sum('waiting');
  const refused = sum('refused') + refusedBefore;
  return {
    centre,
    name: link.name,
    sent: acknowledged + waiting + refused,
    acknowledged,
    waiting,
    refused,
    outOfScope: sum('outOfScope'),
    vanished: sum('gone'),
    reasons,
    pacs: {
      usable: row?.pacs_code === null && row.census_ms !== null,
      code: row?.pacs_code ?? null,
      detail: row?.pacs_detail ?? null,
      since: iso(row?.pacs_since_ms),
    },
    census:
      row === undefined || row.census_ms === null
        ? null
        : { takenAt: iso(row.census_ms) ?? '', total: row.census_total ?? 0, id: row.census_id ?? '' },
    censusFailed: censusFailed(state, centre),
    toAnnounceAgain: toAnnounceAgain(state, centre),
    outbox: outboxDepth(state, centre),
    unreadAnswers: Object.fromEntries(
      state
        .all<{ code: string; n: number }>('SELECT code, count(*) AS n FROM unread_status WHERE centre = ? GROUP BY code', centre)
        .map((u) => [u.code, u.n]),
    ),
    studies: openStudies(state, centre, withUids),
  };
}

function censusFailed(state: State, centre: string): CentreReport['censusFailed'] {
  const row = state.get<{ code: string; detail: string; since_ms: number }>('SELECT * FROM census_failed WHERE centre = ?', centre);
  return row === undefined ? null : { code: row.code, detail: row.detail, since: iso(row.since_ms) ?? '' };
}

function openStudies(state: State, centre: string, withUids: boolean): StudyReport[] {
  const rows = state.all<{
    uid: string;
    kind: 'waiting' | 'refused';
    code: string | null;
    instance_count: number | null;
    first_seen_ms: number;
  }>(
    `SELECT * FROM (SELECT uid, ${KIND} AS kind, ${CODE} AS code, instance_count, first_seen_ms FROM study WHERE centre = ?) WHERE kind IN ('waiting', 'refused') ORDER BY first_seen_ms DESC LIMIT 200`,
    centre,
  );
  return rows.map((r) => ({
    reference: referenceOf(state, r.uid),
    ...(withUids ? { studyInstanceUid: r.uid } : {}),
    state: r.kind,
    code: r.code,
    instances: r.instance_count ?? 0,
    firstSeen: iso(r.first_seen_ms) ?? '',
  }));
}

/** Under this database's own secret: who knows a UID and not the gateway can't find it in the page. */
function referenceOf(state: State, uid: string): string {
  return createHmac('sha256', `reference|${state.secret}`).update(uid).digest('hex').slice(-6);
}

const ENTITIES: Readonly<Record<string, string>> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;', "'": '&#39;' };
const text = (value: string | number): string => String(value).replaceAll(/[&<>"']/g, (c) => ENTITIES[c] ?? c);

function explained(code: string): string {
  return isCode(code) ? `${CODES[code].meaning} ${CODES[code].remedy}` : '';
}

function pacsLine(report: CentreReport): string {
  if (report.pacs.usable)
    return `<p class="good">The PACS answers. Last census ${text(report.census?.takenAt ?? '')}: ${report.census?.total ?? 0} studies.</p>`;
  if (report.pacs.code === null) return '<p>The PACS has not been counted yet.</p>';
  return `<p class="bad"><b>${text(report.pacs.code)}</b> since ${text(report.pacs.since ?? '')}: ${text(explained(report.pacs.code))}</p>`;
}

function censusLine({ censusFailed: failed }: CentreReport): string {
  if (failed === null) return '';
  return `<p class="bad">The PACS can't be counted since ${text(failed.since)} (<b>${text(failed.detail)}</b>): a study whose arrival it did not tell is not known until it can. Others go on.</p>`;
}

function centreSection(report: CentreReport): string {
  const tiles = [
    ['sent', report.sent],
    ['acknowledged', report.acknowledged],
    ['waiting', report.waiting],
    ['refused', report.refused],
    ['out of scope', report.outOfScope],
    ['vanished', report.vanished],
  ];
  const reasons = Object.entries(report.reasons).sort(([, a], [, b]) => b - a);
  const reasonRows = reasons
    .map(([code, n]) => `<tr><td>${text(code)}</td><td class="n">${n}</td><td>${text(explained(code))}</td></tr>`)
    .join('');
  const studyRows = report.studies
    .map(
      (s) =>
        `<tr><td><code>${text(s.studyInstanceUid ?? s.reference)}</code></td><td>${s.state}</td><td>${text(s.code ?? (s.state === 'waiting' ? 'announced' : ''))}</td><td class="n">${s.instances}</td><td>${text(s.firstSeen)}</td></tr>`,
    )
    .join('');
  return `<section id="${text(report.centre)}">
<h2>${text(report.name)}</h2>
${pacsLine(report)}
${censusLine(report)}
${report.toAnnounceAgain > 0 ? `<p>${report.toAnnounceAgain} studies wait to be announced again.</p>` : ''}
${report.outbox > 0 ? `<p>${report.outbox} events wait to be published.</p>` : ''}
${Object.entries(report.unreadAnswers)
  .map(([code, n]) => `<p class="bad">${n} answers could not be read: <b>${text(code)}</b>. ${text(explained(code))}</p>`)
  .join('')}
<dl>${tiles.map(([name, n]) => `<div><dt>${text(name ?? '')}</dt><dd>${text(n ?? 0)}</dd></div>`).join('')}</dl>
${reasonRows === '' ? '' : `<table><caption>Why studies wait or were refused</caption><thead><tr><th>code</th><th>studies</th><th>meaning and what to do</th></tr></thead><tbody>${reasonRows}</tbody></table>`}
${studyRows === '' ? '' : `<details><summary>Studies that wait or were refused</summary><table><thead><tr><th>study</th><th>state</th><th>code</th><th>instances</th><th>first seen</th></tr></thead><tbody>${studyRows}</tbody></table></details>`}
</section>`;
}

const STYLE = `body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#1a1a1a;background:#fff}
h2{margin:2rem 0 .25rem}dl{display:flex;flex-wrap:wrap;gap:1rem;margin:.75rem 0}dl div{min-width:7rem;padding:.5rem 1rem;border:1px solid #ccc;border-radius:.5rem}
dt{color:#555}dd{margin:0;font-size:1.75rem;font-variant-numeric:tabular-nums}table{border-collapse:collapse;width:100%;margin:.75rem 0}caption{text-align:left;font-weight:600}
th,td{text-align:left;padding:.25rem .75rem .25rem 0;border-bottom:1px solid #ddd;vertical-align:top}.n{text-align:right}.bad{color:#a00}.good{color:#060}code{font-size:.85em;overflow-wrap:anywhere}`;

/** The status page: HTML without scripts; it reloads itself. */
export function statusPage(reports: readonly CentreReport[]): string {
  const links =
    reports.length > 1 ? `<nav>${reports.map((r) => `<a href="#${text(r.centre)}">${text(r.name)}</a>`).join(' · ')}</nav>` : '';
  return `<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><meta http-equiv="refresh" content="15"><title>ctstream: what became of your studies</title><style>${STYLE}</style></head><body><h1>What became of your studies</h1>${links}${reports.map(centreSection).join('')}</body></html>`;
}
