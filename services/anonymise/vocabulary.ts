// Words that a description may keep: anatomy, technique, contrast, plain clinical terms, in English and
// Russian. No given names, surnames, places or institutions, in any case form; lower case, e for yo.

const ENGLISH = `
abdomen abdominal adrenal airway airways angio angiogram angiography aorta aortic apex apical arm arms arterial
artery axial axilla back base basal bilateral bladder bolus bone bones brain breath breathhold bronchi bronchial
bronchus ca calcium cardiac care caudal cavity cervical chest clavicle colon column contrast control coronal
coronary cor cough covid ct cta ctpa delayed delay diagnostic diaphragm diffuse dose dual early effusion elbow
embolism emphysema energy enhanced enhancement esophagus exam examination exp expiration expiratory exp extremity
femur fibrosis fine filter first fissure flash follow followup foot free full gantry gated gating general glass
ground hand head heart helical helix hilar hip high hr hrct hx iliac infection infiltrate insp inspiration
inspiratory interstitial intravenous iodine iv kernel kidney knee lateral late left leg liver lobe lobes low lower
lumbar lung lungs lymph lymphoma mediastinal mediastinum medium mets middle mip minip mpr multi multiphase muscle
nasal native neck nodes nodule nodules non noncontrast normal nc oblique oncology opacity oral orbit pancreas
parenchyma parenchymal patient pe pelvis pelvic percent perfusion pericardial phase plain pleura pleural
pneumonia pneumothorax portal post posterior postcontrast pre precontrast prone protocol pulmonary quiet rapid
recon reconstruction reformat renal repeat research respiration respiratory rib ribs right routine row rule out
sagittal scan scanogram scapula screening secondary segment segmental sequence sequential series sharp shoulder
sinus slice slices smooth soft spine spiral spleen standard std sternum stomach study supine surview test
thick thickness thin thoracic thoracoabdominal thorax thyroid tissue topogram trachea tracheal trauma tumor tumour
two three four upper uncorrected unenhanced urgent vascular vein venous ventilation vertebra vessel vessels view
volume vrt wall wb whole body window without with wo w and or of the for in on to from at by no not all axials
medcial anterior inferior superior medial distal proximal acute chronic mild moderate severe suspected suspicion
fever dyspnea dyspnoea cough sepsis virus viral bacterial pcr positive negative copd asthma tb tuberculosis
edema oedema fracture lesion lesions mass cyst abscess atelectasis bronchiectasis consolidation crazy paving
adult child pediatric paediatric infant ultravist omnipaque iopamiro visipaque iomeron iohexol iopromide iodixanol
iopamidol iomeprol iodinated barium water air fat none unspecified applied removed default auto manual
lossless lossy jpeg compression compressed ratio image images uncompressed predecessor factor quality baseline
extended process near rle localizer topo scout lowdose ld uld hd mar imar idose asir asirv admire safire veo aidr
iterative fbp br bl hr bf axi sag coronals thx abd abdo cap tap wc ws lungwindow mediast iec phantom dosimetry
body route intravenously injection venous intraarterial iodine cm diameter effective tube current modulation
`;

const RUSSIAN = `
аорта аорты аортография ангиография ангиопульмонография артериальная артерии артерия без бедра бифуркация
брюшная брюшной бронхи бронхов бронхоскопия в верхний верхняя вдох вдохе венозная вирусная внутривенно
внутривенный воздух выдох выдохе высокого головы головной голова голень грудная грудной груди грудь грудина
двусторонняя двусторонний диагноз диагностика диффузные динамике динамика диафрагма доза дозы доля доли долей
задержка задержке из инфильтрат инфекция исследование исследования и или кашель контраст контраста контрастирование
контрастированием контрастное контрастный контрастом контроль контрольное корень корни корней кости костей кт
клетка клетки коронавирус коронавирусная ковид легкие легких легкого легочная легочной лимфоузел лимфоузлы левая
левое левый лихорадка малого матовое матового мозг мозга мягкие мягких мягкотканный на нативная нативное нижний
нижняя низкодозная низкодозовая область области образование образования обзорная одышка окно острая острый
органов органы осмотр отделов отдел очаг очаги очаговое очаговые очагов пациент первичное перикард печень
пневмония пневмонии пневмоторакс плевра плевральная плевральный плеврит повторное повторный позвоночник
позвоночника полости полость по при почек почки почка правая правое правый протокол равномерно разрешения
реконструкция ребра ребер рак респираторная сегмент сегмента сегменты сердца сердце синдром синус скрининг
скт срезы среза средостение средостения стандарт стандартный стандартная стекло стекла спираль спиральная с со
сосуды сосудов суставов таза топограмма толщина ткани тканей трахея трахеи травма туберкулез тэла узел узлы
уточнение уплотнение фаза фазы фиброз фильтр хобл хроническая хронический шея шеи эмфизема эмболия нет да не
подозрение подозрением состояние после до лечения лечение температура повышение тест положительный отрицательный
мскт мрт рентген рентгенография высокое низкое разрешение детский взрослый костный резкий легочное мягкотканое
`;

const words = (text: string): string[] => text.split(/\s+/).filter((word) => word !== '');

/** Lower case, NFC, е for ё: how words are compared everywhere in this folder. */
export const fold = (text: string): string => text.normalize('NFC').toLowerCase().replaceAll('ё', 'е');

export const VOCABULARY: ReadonlySet<string> = new Set(words(ENGLISH + RUSSIAN).map(fold));

/** Units that make a number worth keeping. Ages and dates have none here: years, лет, г are left out. */
export const UNITS: ReadonlySet<string> = new Set([
  'mm',
  'cm',
  'ml',
  'mg',
  'kv',
  'kvp',
  'ma',
  'mas',
  'mgy',
  'msv',
  's',
  'sec',
  'ms',
  'min',
  'hu',
  'deg',
  'mgi',
  'cc',
  'bit',
  'мм',
  'см',
  'мл',
  'мг',
  'кв',
  'ма',
  'мас',
  'мзв',
  'мгр',
  'с',
  'сек',
  'мс',
  'мин',
]);

/** Makers and models' words as scanners write them into Manufacturer (0008,0070). */
export const MANUFACTURERS: ReadonlySet<string> = new Set(
  words(`
ge medical systems healthcare siemens healthineers philips toshiba canon hitachi neusoft united imaging uih shimadzu
fujifilm samsung neurologica elscint picker marconi mindray anke acme devices technology technologies corporation
company co inc ltd gmbh ag nv bv llc sinovision medtronic imris carestream agfa ctstream phantom synthetic
`),
);
