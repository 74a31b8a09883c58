// Private elements that are known safe: PS3.15 2026d Table E.3.10-1 and, for CT scanners' acquisition
// numbers, the dispositions of TCIA's list. Numbers only: text that a person could type is not here.

export interface SafePrivate {
  /** The VR that the maker documents; the value must have its form whatever VR the file states. */
  vr: 'DS' | 'IS' | 'US' | 'SS' | 'UL' | 'SL' | 'FL' | 'FD';
}

// group -> creator -> [element's low byte, VR]
const LIST: readonly (readonly [group: number, creator: string, elements: readonly (readonly [number, SafePrivate['vr']])[]])[] = [
  [
    0x0019,
    'GEMS_ACQU_01',
    [
      [0x02, 'SL'],
      [0x03, 'DS'],
      [0x04, 'DS'],
      [0x19, 'DS'],
      [0x1b, 'DS'],
      [0x1e, 'DS'],
      [0x23, 'DS'],
      [0x24, 'DS'],
      [0x26, 'SL'],
      [0x27, 'DS'],
      [0x2c, 'SL'],
      [0x2e, 'DS'],
      [0x2f, 'DS'],
      [0x39, 'SS'],
      [0x42, 'SS'],
      [0x43, 'SS'],
      [0x47, 'SS'],
      [0x52, 'SS'],
      [0x5a, 'FL'],
      [0x6a, 'SS'],
      [0x6b, 'SS'],
    ],
  ],
  [0x0025, 'GEMS_SERS_01', [[0x07, 'SL']]],
  [
    0x0045,
    'GEMS_HELIOS_01',
    [
      [0x01, 'SS'],
      [0x02, 'FL'],
      [0x03, 'SS'],
      [0x04, 'SS'],
      [0x07, 'FL'],
      [0x32, 'FL'],
    ],
  ],
  [
    0x0019,
    'SIEMENS CT VA0  COAD',
    [
      [0x10, 'IS'],
      [0x11, 'IS'],
      [0x20, 'IS'],
      [0x21, 'IS'],
      [0x22, 'DS'],
      [0x23, 'DS'],
      [0x24, 'DS'],
      [0x90, 'DS'],
      [0x92, 'DS'],
      [0x93, 'DS'],
      [0x94, 'IS'],
      [0x96, 'IS'],
      [0xb0, 'DS'],
      [0xc0, 'DS'],
      [0xc1, 'DS'],
    ],
  ],
  [
    0x0019,
    'SIEMENS CT VA0  GEN',
    [
      [0x20, 'IS'],
      [0x21, 'IS'],
      [0x62, 'IS'],
      [0x70, 'IS'],
      [0x74, 'IS'],
      [0x75, 'IS'],
    ],
  ],
  [
    0x0021,
    'SIEMENS CT VA0  GEN',
    [
      [0x10, 'IS'],
      [0x11, 'IS'],
    ],
  ],
  [
    0x00e1,
    'ELSCINT1',
    [
      [0x01, 'US'],
      [0x21, 'DS'],
      [0x22, 'DS'],
      [0x23, 'DS'],
      [0x37, 'DS'],
      [0x50, 'DS'],
    ],
  ],
  [
    0x01f1,
    'ELSCINT1',
    [
      [0x05, 'DS'],
      [0x07, 'DS'],
      [0x08, 'DS'],
      [0x0a, 'US'],
      [0x0c, 'DS'],
      [0x0d, 'DS'],
      [0x26, 'DS'],
      [0x27, 'DS'],
      [0x28, 'DS'],
      [0x33, 'DS'],
    ],
  ],
  [
    0x7005,
    'TOSHIBA_MEC_CT3',
    [
      [0x07, 'DS'],
      [0x08, 'DS'],
      [0x0a, 'DS'],
      [0x22, 'DS'],
      [0x23, 'DS'],
      [0x40, 'FD'],
      [0x63, 'FD'],
    ],
  ],
];

const safe: ReadonlyMap<string, SafePrivate> = new Map(
  LIST.flatMap(([group, creator, elements]) => elements.map(([low, vr]): [string, SafePrivate] => [`${group}|${creator}|${low}`, { vr }])),
);

/** What is known of a private element; undefined: not known safe, so it goes. */
export const safePrivate = (tag: number, creator: string): SafePrivate | undefined => safe.get(`${tag >>> 16}|${creator}|${tag & 0xff}`);

const creators: ReadonlySet<string> = new Set(LIST.map(([group, creator]) => `${group}|${creator}`));

/** Whether some element of this group and creator is known safe. */
export const isSafeCreator = (group: number, creator: string): boolean => creators.has(`${group}|${creator}`);

/** The tag of the private creator element that owns a private element's block (PS3.5 7.8.1). */
export const creatorTagOf = (tag: number): number => ((tag & 0xffff0000) | ((tag >>> 8) & 0xff)) >>> 0;
