// Descriptions of the answer key: identity and clinical words side by side, in English and Russian, and what must stay.
import type { Person } from './answer-key-people.ts';

type Descriptor = readonly [keyword: string, text: string, kept: string];

const english = (p: Person): readonly Descriptor[] => [
  ['StudyDescription', `CT CHEST W/O CONTRAST for ${p.given} ${p.surname} 03/04/1955`, 'CT CHEST W/O CONTRAST'],
  ['SeriesDescription', `AXIAL LUNG 1.25mm ${p.stranger}_${p.surname.toUpperCase()}^${p.given.toUpperCase()}`, 'AXIAL LUNG 1.25mm'],
  ['ProtocolName', `5.1 Thorax Routine_${p.surname}_${p.patientId}`, 'Thorax Routine'],
  ['ImageComments', `MRN: ${p.patientId}; call ${p.phone} before scan, patient coughing`, 'scan patient coughing'],
  ['PatientComments', `Wife ${p.motherName} says: fever and cough since 12 March 2009, works at ${p.employer}`, 'fever and cough'],
  [
    'AdditionalPatientHistory',
    `COPD, smoker. Dr. ${p.physician} (${p.hospital}) suspects pneumonia of the right lower lobe`,
    'COPD smoker pneumonia right lower lobe',
  ],
  ['StudyComments', `seen by ${p.physician2} and ${p.stranger} on 2009-04-12 at 14:35, no pleural effusion`, 'no pleural effusion'],
  ['AdmittingDiagnosesDescription', `Pneumonia, ${p.city} outbreak`, 'Pneumonia'],
  ['RequestedProcedureDescription', `CT Thorax with IV contrast Acc#${p.accession}`, 'CT Thorax with IV contrast'],
  ['PerformedProcedureStepDescription', `Chest HRCT ${p.surname}123`, 'Chest HRCT'],
  ['ReasonForStudy', `Rule out pulmonary embolism; SSN 123-45-6789; ${p.surname}`, 'Rule out pulmonary embolism'],
  ['Allergies', `Iodine contrast (told by ${p.physician})`, 'Iodine contrast'],
  ['MedicalAlerts', `Asthma. Phone ${p.phone}`, 'Asthma'],
  ['PatientState', `stable, ward ${p.department}`, 'stable'],
  ['ContrastBolusAgent', `OMNIPAQUE 350 ${p.surname}`, 'OMNIPAQUE 350'],
  ['AcquisitionComments', `Operator ${p.operator}: breath hold poor, motion artifact`, 'breath hold poor motion artifact'],
  ['AcquisitionProtocolDescription', `Low dose chest 100 kV 40 mAs, ${p.hospital}`, 'Low dose chest 100 kV 40 mAs'],
  ['FrameComments', `nodule 8 mm, compare with ID ${p.otherId}`, 'nodule 8 mm'],
  ['CommentsOnThePerformedProcedureStep', `${p.operator} repeated scan, contrast delay 60 s`, 'scan contrast delay 60 s'],
  ['RequestedProcedureComments', `see ${p.surname}@clinic.example, follow-up of lung nodule`, 'follow-up of lung nodule'],
  ['ImagingServiceRequestComments', `born 4 Mar 1955 in ${p.city}; emphysema`, 'emphysema'],
  ['ReasonForTheRequestedProcedure', `chest pain, Mr ${p.surname}`, 'chest pain'],
  ['InterpretationText', `Mr. ${p.surname}: bilateral ground glass opacities, ICD J18.9`, 'bilateral ground glass opacities'],
  ['Occupation', `exposed to asbestos dust at ${p.employer}`, 'exposed to asbestos dust'],
  ['RequestedContrastAgent', `Ultravist 370 for ${p.surname}`, 'Ultravist 370'],
];

const russian = (p: Person): readonly Descriptor[] => [
  [
    'StudyDescription',
    `КТ ОГК без контраста ${p.surname} ${p.given.slice(0, 1)}.${p.patronymic.slice(0, 1)}. 03.02.1961`,
    'КТ ОГК без контраста',
  ],
  ['SeriesDescription', `Лёгкие 1.25 мм ${p.stranger}_${p.surname.toUpperCase()}`, 'Лёгкие 1.25 мм'],
  ['ProtocolName', `Грудная клетка рутинный_${p.surname}_${p.patientId}`, 'Грудная клетка рутинный'],
  ['ImageComments', `ИБ № ${p.patientId}; тел. ${p.phone}; артефакты от движения`, 'артефакты от движения'],
  ['PatientComments', `Мать ${p.motherName}: кашель и одышка с 12 марта, работает: ${p.employer}`, 'кашель и одышка'],
  [
    'AdditionalPatientHistory',
    `ХОБЛ, курильщик. Врач ${p.physician} (${p.hospital}): пневмония нижней доли правого лёгкого`,
    'ХОБЛ курильщик пневмония нижней доли правого лёгкого',
  ],
  [
    'StudyComments',
    `осмотр: ${p.physician2}, ${p.stranger}, 12.04.2019 в 14:35, плевральный выпот не определяется`,
    'плевральный выпот не определяется',
  ],
  ['AdmittingDiagnosesDescription', `Внебольничная пневмония, г. ${p.city}`, 'Внебольничная пневмония'],
  ['RequestedProcedureDescription', `КТ грудной клетки с контрастированием № ${p.accession}`, 'КТ грудной клетки с контрастированием'],
  ['PerformedProcedureStepDescription', `МСКТ лёгких ${p.surname}123`, 'МСКТ лёгких'],
  ['ReasonForStudy', `Исключить ТЭЛА; СНИЛС 112-233-445 95; ${p.surname}`, 'Исключить ТЭЛА'],
  ['Allergies', `Йод, контраст (со слов ${p.physician})`, 'Йод контраст'],
  ['MedicalAlerts', `Астма. Телефон ${p.phone}`, 'Астма'],
  ['PatientState', `стабильное, отделение ${p.department}`, 'стабильное'],
  ['ContrastBolusAgent', `Омнипак 350 ${p.surname}`, 'Омнипак 350'],
  ['AcquisitionComments', `Лаборант ${p.operator}: задержка дыхания плохая`, 'задержка дыхания плохая'],
  ['AcquisitionProtocolDescription', `Низкодозовая КТ 100 кВ 40 мАс, ${p.hospital}`, 'Низкодозовая КТ 100 кВ 40 мАс'],
  ['FrameComments', `очаг 8 мм, сравнить с ${p.otherId}`, 'очаг 8 мм'],
  ['CommentsOnThePerformedProcedureStep', `${p.operator}: повтор сканирования, задержка 60 с`, 'сканирования задержка 60 с'],
  ['RequestedProcedureComments', `адрес: ${p.city}, ул. ${p.street}, д. 12 кв. 45; контроль очага в лёгком`, 'контроль очага в лёгком'],
  ['ImagingServiceRequestComments', `род. 4 марта 1955 г. в ${p.city}; эмфизема`, 'эмфизема'],
  ['ReasonForTheRequestedProcedure', `боль в груди, г-н ${p.surname}`, 'боль в груди'],
  [
    'InterpretationText',
    `${p.surname}: двусторонние уплотнения по типу матового стекла`,
    'двусторонние уплотнения по типу матового стекла',
  ],
  ['Occupation', `асбестовая пыль, ${p.employer}`, 'пыль'],
  ['RequestedContrastAgent', `Ультравист 370 для ${p.surname}`, 'Ультравист 370'],
];

export const descriptorsOf = (p: Person): readonly Descriptor[] => (p.language === 'en' ? english(p) : russian(p));
