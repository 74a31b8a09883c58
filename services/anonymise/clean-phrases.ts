// What a description says in more than one word or number: kept whole where it has a clinical meaning only so, gone
// whole where it is a date, a phone or an address.
import { CONTRAST_MEDIA } from './vocabulary.ts';

/** No letter or digit follows. */
const END = String.raw`(?![\p{L}\p{M}\p{N}])`;
const AMOUNT = String.raw`\d{1,3}(?:[.,]\d{1,3})?`;
const UP_TO_99 = String.raw`\d{1,2}(?:[.,]\d{1,2})?`;
/** No number before it that it may be the end of: a date, a phone. */
const FREE = String.raw`(?<!\d[-–./:,]? ?)`;

const KEPT: readonly string[] = [
  String.raw`(?:covid[- ]?19|sars-?cov-?2|(?:2019-?)?ncov|h1n1|spo2|pao2|fio2)${END}`,
  // Categories of reporting systems: CO-RADS 5, Lung-RADS 4A.
  String.raw`(?:co|lung|li|pi|bi|ti)-?rads(?:[ -]?(?:[0-6]|4[abcx]))?${END}`,
  // With, without: W/O, W & W/O, W/CONTRAST, C+, б/к, в/в.
  String.raw`w ?& ?w\/?o${END}`,
  String.raw`w\/(?:wo?|o|c|iv)?${END}`,
  String.raw`w\/(?=\p{L}{3})`,
  String.raw`wo\/(?=[\s\p{L}])`,
  String.raw`[ciс][+-]${END}`,
  String.raw`[бс]\/к${END}`,
  String.raw`в\/в${END}`,
  String.raw`[clts]-?spine${END}`,
  String.raw`x-ray${END}`,
  String.raw`(?:icd|мкб)(?:-1[01])?[ :]{0,2}[a-z]\d\d(?:\.\d{1,2})?(?![\p{L}\p{M}\p{N}.])`,
  // Sizes, shares and spans: 2.5x2.5, 50-75%, 5-7 mm.
  String.raw`(?<!\d[-–./:,])${AMOUNT} ?[xх×] ?${AMOUNT}(?= ?mm| ?мм|[^\p{L}\p{M}\p{N}.,]|$)`,
  String.raw`${FREE}${UP_TO_99} ?[-–] ?(?:${UP_TO_99}|100) ?%${END}`,
  String.raw`${FREE}${UP_TO_99} ?[-–] ?${UP_TO_99} ?(?:mm|мм|cm|см)${END}`,
  // Concentrations and rates: 120 mg/L, 12 г/л.
  String.raw`${FREE}${AMOUNT} ?(?:mg|мг|g|г|ng|нг|mcg|мкг|ml|мл|mmol|ммоль|l|л)\/(?:d?l|д?л|kg|кг|ml|мл|min|мин)${END}`,
  // A medium and its iodine, and how much of it: ISOVUE300/100.
  String.raw`(?:${[...CONTRAST_MEDIA].join('|')})[ -]?(?:[23]\d0|400)(?:\/\d{2,3}(?: ?m?l)?)?${END}`,
  // Windows: W:1500 L:-600.
  String.raw`ww?[:= ]{1,2}\d{2,4}[ ,/;]{1,2}(?:wl|l|c)[:= ]{1,2}-?\d{1,4}${END}`,
  String.raw`[sd]?fov[:= ]{1,2}\d{2,3}(?: ?mm)?${END}`,
  // How long ago: 3-й день болезни, 2nd day, через 2 недели.
  String.raw`${FREE}\d{1,2}-?(?:й|е|я|го|ые|ых|th|st|nd|rd)? (?:день|дня|дней|сутки|суток|недел[яьюие]|месяц(?:а|ев)?|days?|weeks?|months?)${END}`,
  // Siemens' 8.0.0 is no date: there is no month 0.
  String.raw`\d{1,2}\.0\.\d(?![\d.])`,
];

/** What has a meaning only whole. */
export const PHRASE = new RegExp(String.raw`(?<![\p{L}\p{M}\p{N}])(?:${KEPT.join('|')})`, 'giu');

/**
 * Dates, times, phones, addresses of the net and the like: groups of digits tied by punctuation or spaces; whole, so
 * that no part survives.
 */
export const CHAIN =
  /\S+@\S+|(?:https?:\/\/|www\.)\S+|\+?\d+(?:\s?[-./:\\()]+\s?\d+){2,}|\+?\d+(?:[.,]\d+)?(?:\s+\d+(?:[.,]\d+)?){2,}|\d{1,4}[-./_,;|*]\d{1,2}[-./_,;|*]\d{1,4}|\(\d+\)\s?\d[\d\s-]*|\d+[:/]\d+|\d+-\d+/gu;
