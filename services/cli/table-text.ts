// A query's rows as a table for people, or as CSV for machines.
import Table from 'cli-table3';
import type { QueryResult } from '../event-log/query.ts';

function cell(value: unknown): string {
  if (value === null || value === undefined) return '';
  return typeof value === 'object' ? JSON.stringify(value) : String(value);
}

/** The rows with column names and types above, at most `most` of them. */
export function tableText(result: QueryResult, most = 50): string {
  const table = new Table({ head: result.columns.map((c) => `${c.name}\n${c.type}`), style: { head: [], border: [], compact: true } });
  for (const row of result.rows.slice(0, most)) table.push(result.columns.map((c) => cell(row[c.name]).slice(0, 60)));
  const more = result.rows.length > most ? `\n${result.rows.length - most} more rows` : '';
  return table.toString() + more;
}

const quoteCsv = (text: string): string => (/[",\n\r]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text);

/** RFC 4180. */
export function csvText(result: QueryResult): string {
  const lines = [result.columns.map((c) => c.name), ...result.rows.map((row) => result.columns.map((c) => cell(row[c.name])))];
  return `${lines.map((line) => line.map(quoteCsv).join(',')).join('\r\n')}\r\n`;
}
