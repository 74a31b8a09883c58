// Words that a description may keep: anatomy, technique, contrast, findings, plain clinical terms, in English and
// Russian. No given names, places or institutions; lower case, e for yo. A patient's own name goes even when it is here.
import { RUSSIAN_FORMS } from './vocabulary-russian.ts';

const ENGLISH = `
abdomen abdominal adrenal airway airways angio angiogram angiography aorta aortic apex apical arm arms arterial
artery arteries axial axilla axillary back base basal bilateral bladder bolus bone bones brain breast breath breathhold
breathing bronchi bronchial bronchus ca calcium cardiac care caudal cavity cervical chest clavicle colon column contrast
control coronal coronary cor cough coughing covid ct cta ctpa delayed delay diagnostic diaphragm diffuse dose dual early effusion elbow
effusions embolism emphysema energy enhanced enhancement enhancing esophagus exam examination examinations exp expiration expiratory extremity
femur fibrosis fibrotic fine filter first fissure flash follow followup foot free full gantry gated gating general glass
ground hand head headneck heart helical helix hila hilar hilum hip high hr hrct hx iliac infection infections infiltrate infiltrates insp inspiration
inspiratory interstitial intravenous iodine iv kernel kidney kidneys knee lateral late left leg legs liver lobe lobes low lower
lumbar lung lungs lymph lymphoma mediastinal mediastinum medium mets middle mip minip mpr multi multiphase muscle
nasal native neck nodes node nodule nodules nodular non noncontrast normal nc oblique oncology opacity opacities oral orbit orbits pancreas
parenchyma parenchymal patient pe pelvis pelvic percent perfusion pericardial phase phases plain pleura pleural
pneumonia pneumonitis pneumothorax portal post posterior postcontrast pre precontrast premonitoring prone protocol pulmonary quiet rapid
recon recons reconstruction reconstructions reformat reformats renal repeat repeated research respiration respiratory rib ribs right routine rule out
sagittal scan scans scanning scanogram scapula screening secondary segment segmental sequence sequential series sharp shoulder
sinus sinuses slice slices smooth soft spine spinal spiral spleen standard std sternum stomach study studies supine surview test
thick thickness thin thoracic thoracoabdominal thorax thyroid tissue tissues topogram trachea tracheal trauma tumor tumour tumors tumours
two three four upper uncorrected unenhanced urgent vascular vein veins venous ventilation vertebra vertebrae vertebral vessel vessels view views
volume vrt wall wb whole body window without with wo w up down and or of the for in on to from at by no not all axials
anterior inferior superior medial distal proximal acute subacute chronic mild moderate severe suspected suspicion suspicious
fever dyspnea dyspnoea sepsis virus viral bacterial pcr positive negative copd asthma tb tuberculosis
edema oedema fracture fractures lesion lesions mass masses cyst cysts cystic abscess atelectasis bronchiectasis consolidation consolidations crazy paving
adult child pediatric paediatric infant ultravist omnipaque iopamiro isovue optiray visipaque iomeron xenetix iohexol iopromide iodixanol
iopamidol iomeprol ioversol iobitridol iodinated barium gastrografin water air fat none unspecified applied removed default auto manual
lossless lossy jpeg compression compressed ratio image images uncompressed predecessor factor quality baseline
extended process near rle localizer topo scout lowdose ld uld hd mar imar idose asir asirv admire safire veo aidr
iterative fbp br bl hr bf axi sag coronals thx thor abd abdo cap tap cp wc ws lungwindow mediast iec phantom dosimetry
ax pel cont ldct nlst rul rml rll lul lll staging vol pt metastasis metastases metastatic cancer carcinoma malignancy adenopathy
lymphadenopathy opacification inflammatory
route intravenously injection injected injector intraarterial cm diameter effective tube current modulation
pain artifact artifacts artefact artefacts motion poor limited stable stability unchanged increased increase decreased decrease new
resolved progression regression improved improvement worsened worsening response treatment therapy chemotherapy radiotherapy radiation
surgery surgical postoperative preoperative resection lobectomy pneumonectomy biopsy drain drainage catheter pacemaker stent stents
stenosis occlusion thrombus thrombosis thrombotic aneurysm dissection calcification calcifications calcified hernia hiatal ascites
cirrhosis steatosis hepatic splenic gallbladder biliary bowel intestine appendix appendicitis diverticulitis obstruction ileus
hemorrhage haemorrhage hematoma haematoma bleeding stroke ischemia ischemic infarct infarction metastasis metastases metastatic
primary malignant malignancy benign cancer carcinoma adenocarcinoma squamous lymphadenopathy lymphatic enlarged enlargement sarcoidosis
silicosis asbestosis asbestos exposed exposure dust occupational smoker smoking smoked hypertension diabetes diabetic obesity hypoxia
hemoptysis haemoptysis sputum wheezing wheeze stridor chills malaise fatigue weight loss night sweats shortness short
allergy allergies allergic reaction penicillin latex known prior previous comparison compare compared evaluate evaluation assess
assessment please exclude excluded confirm confirmed history findings finding impression clinical indication indications symptoms symptom
diagnosis diagnoses condition status before after during since over under between within near above below both each same other single
multiple several small large tiny bulky thickened thickening irregular spiculated smoothly rounded round solid subsolid partsolid ggo ggn
reticular honeycombing mosaic attenuation trapping hyperinflation hyperinflated bullae bulla bleb blebs cavitary cavitation tree bud
centrilobular paraseptal panlobular perilymphatic peripheral central subpleural perihilar basilar lingula lingular bibasilar bibasal apices
hypodense hyperdense dense density densities homogeneous heterogeneous focal multifocal patchy scattered confluent extensive minimal
is are was were be been has have had as an also only more less than this that there seen noted shown present absent possible possibly
probable probably likely unlikely consistent concerning versus vs due secondary
pet mdct mri mr us xray ray fluoroscopy mammography ultrasound radiograph radiography tomography computed
monitoring bolustracking tracking tracker timing trigger triggered prospective retrospective ecg breathhold hold held suspended resp
gate systole diastole systolic diastolic best end full quarter half rotation pitch collimation interval increment overlap table feed fov sfov dfov
recon1 recon2 thins thick coronalmpr sagittalmpr curved multiplanar reformatted projection maximum minimum intensity average
arch ascending descending root valve valves atrium ventricle ventricles atria ventricular septum pericardium myocardium myocardial
subclavian carotid jugular brachiocephalic azygos vena cava ivc svc skull facial face mandible maxilla jaw temporal ear ears eye eyes
larynx laryngeal pharynx oropharynx nasopharynx hypopharynx tongue tonsil salivary parotid thigh thighs calf ankle wrist forearm humerus
radius ulna tibia fibula patella pelvis sacrum sacral coccyx sacroiliac disc disk discs joint joints cartilage tendon ligament
uterus ovary ovaries ovarian prostate seminal testis ureter ureters urethra urinary kub urography enterography colonography
portovenous nephrographic excretory corticomedullary equilibrium arterialphase venousphase triphasic biphasic split
kev monoenergetic virtual noncalcium iodinemap mono spectral material decomposition effectivez mixed blended
portable decubitus upright standing lying position positioned
lungbone bonelung softtissue mediastinalwindow bonewindow lungthin thinlung thoraxroutine chestroutine abdomenroutine
failure failed unable able clear disease diseases ards ild uip nsip ipf hp dlp ctd bronchopneumonia bronchitis bronchiolitis mesothelioma melanoma sarcoma
hamartoma granuloma granulomas granulomatous myeloma leukemia leukaemia thymoma teratoma schwannoma ce nce cect ncct pulmonology
day days week weeks month months onset duration woman man female male smear swab saturation oxygen ventilated intubated intubation icu
halo reversed perihilar crazy vacuolar organizing organising pneumocystis aspergillosis mycobacterial miliary
corrected uncorrected attenuationcorrected nac ac wholebody skullbase base mid midthigh vertex
`;

const words = (text: string): string[] => text.split(/\s+/).filter((word) => word !== '');

/** Lower case, NFC, е for ё: how words are compared everywhere in this folder. */
export const fold = (text: string): string => text.normalize('NFC').toLowerCase().replaceAll('ё', 'е');

export const VOCABULARY: ReadonlySet<string> = new Set([...words(ENGLISH), ...RUSSIAN_FORMS].map(fold));

/** Contrast media: the number behind one of them is its iodine in mg/ml. */
export const CONTRAST_MEDIA: ReadonlySet<string> = new Set(
  words(`ultravist omnipaque iopamiro isovue optiray visipaque iomeron xenetix iohexol iopromide iodixanol iopamidol iomeprol ioversol
iobitridol ультравист омнипак йопамиро визипак йомерон ксенетикс оптирей сканлюкс юнигексол йогексол йопромид йодиксанол йоверсол йомепрол
йобитридол`),
);

/** Units that make a number worth keeping. Ages and dates have none here: years, лет, г are left out. */
export const UNITS: ReadonlySet<string> = new Set(
  words(`mm slices slice images срезов среза phases cm ml mg kv kvp kev ma mas mgy msv s sec ms min hu deg mgi cc bit bpm
мм см мл мг кв кэв ма мас мзв мгр с сек мс мин`),
);

/** Makers and models' words as scanners write them into Manufacturer (0008,0070). */
export const MANUFACTURERS: ReadonlySet<string> = new Set(
  words(`
ge medical systems healthcare siemens healthineers philips toshiba canon hitachi neusoft united imaging uih shimadzu
fujifilm samsung neurologica elscint picker marconi mindray anke acme devices technology technologies corporation
company co inc ltd gmbh ag nv bv llc sinovision medtronic imris carestream agfa ctstream phantom synthetic
`),
);
