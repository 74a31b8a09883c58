// CSV (RFC 4180) and TSV, written and read: '\n' line ends, a header, quotes where needed.

export type Cell = string | number | boolean | null;

function csvCell(cell: Cell): string {
  const text = cell === null ? '' : String(cell);
  return /[",\n\r]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

/** TSV has no quoting (BIDS): a tab or line end inside a cell becomes a space. Missing is `n/a`. */
function tsvCell(cell: Cell): string {
  return cell === null || cell === '' ? 'n/a' : String(cell).replace(/[\t\r\n]/g, ' ');
}

export function toCsv(columns: readonly string[], rows: readonly (readonly Cell[])[]): string {
  return [columns, ...rows].map((row) => `${row.map(csvCell).join(',')}\n`).join('');
}

export function toTsv(columns: readonly string[], rows: readonly (readonly Cell[])[]): string {
  return [columns, ...rows].map((row) => `${row.map(tsvCell).join('\t')}\n`).join('');
}

/** Rows of a CSV text as objects by the header's names. @throws Error for an open quote or a row of another length. */
export function fromCsv(text: string): Record<string, string>[] {
  const rows: string[][] = [];
  let row: string[] = [];
  let cell = '';
  let quoted = false;
  for (let i = 0; i < text.length; i += 1) {
    const c = text[i] ?? '';
    if (quoted) {
      if (c !== '"') cell += c;
      else if (text[i + 1] === '"') cell += text[(i += 1)] ?? '';
      else quoted = false;
    } else if (c === '"') quoted = true;
    else if (c === ',' || c === '\n') {
      row.push(cell);
      cell = '';
      if (c === '\n') rows.push(row);
      if (c === '\n') row = [];
    } else if (c !== '\r') cell += c;
  }
  if (quoted) throw new Error('a quote is not closed');
  if (cell !== '' || row.length > 0) rows.push([...row, cell]);
  const [header, ...body] = rows;
  if (header === undefined) return [];
  return body.map((cells, i) => {
    if (cells.length !== header.length) throw new Error(`row ${i + 2} has ${cells.length} cells, the header ${header.length}`);
    return Object.fromEntries(header.map((name, j) => [name, cells[j] ?? '']));
  });
}
