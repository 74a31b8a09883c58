// Three questions that an analyst asks on the first day, answered from the event log.

export interface ExampleQuery {
  readonly question: string;
  readonly sql: string;
}

export const EXAMPLE_QUERIES: readonly ExampleQuery[] = [
  {
    question: 'How many events of each kind are there, and from when to when?',
    sql: 'select event_type, count(*) as events, min(event_time) as first, max(event_time) as last from events group by all order by first',
  },
  {
    question: 'How does the estimate spread over the classes?',
    sql: 'select estimated_class, count(*) as studies, round(avg(affected_percent), 1) as mean_percent, round(avg(lung_volume_ml)) as mean_lung_ml from research.study_assessed group by 1 order by 1',
  },
  {
    question: 'What was refused, where and why?',
    sql: "select stage, code, count(*) as studies from (select stage, code from clinical.study_rejected union all select stage, code from research.study_rejected union all select 'select', code from research.study_excluded union all select 'intake', code from clinical.intake_refused) group by all order by studies desc, code",
  },
];
