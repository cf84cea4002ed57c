/** Expressions of every kind, and the zones and moments in which they are looked at. */

export const expressions = [
  // A rhythm.
  '* * * * *',
  '*/5 * * * *',
  '*/7 * * * *',
  '*/15 * * * *',
  '0 * * * *',
  '15,45 * * * *',
  '5-20/5 * * * *',
  '0 */2 * * *',
  '0 */3 * * *',
  '0 */6 * * *',
  '15 */5 * * *',
  '*/10 1-3 * * *',
  '*/20 0,2 * * *',
  '* 2 * * *',
  '* 0-3 * * *',
  '*/15 9-17 * * 1-5',
  // Times of day, at and around the hours at which clocks change.
  '0 0 * * *',
  '30 0 * * *',
  '59 23 * * *',
  '0 1 * * *',
  '45 1 * * *',
  '0 2 * * *',
  '15 2 * * *',
  '30 2 * * *',
  '0 3 * * *',
  '45 3 * * *',
  '0 9 * * *',
  '0 0,12 * * *',
  '0 2,14 * * *',
  '15,45 2 * * *',
  '0,30 1-3 * * *',
  '10-50/20 0-4/2 * * *',
  '0 0-23 * * *',
  '30 8-18/2 * * *',
  // Days of the week.
  '0 9 * * 1-5',
  '30 17 * * fri',
  '0 10 * * sat,sun',
  '0 10 * * 0',
  '0 10 * * 7',
  '30 2 * * 0',
  '0 0 * * sun',
  '15 14 * * mon,wed,FRI',
  '0 8 * * 1-5/2',
  // Days of the month.
  '0 0 1 * *',
  '30 2 1,15 * *',
  '0 12 31 * *',
  '45 23 28-31 * *',
  '30 4 29 2 *',
  '0 0 29-31 2,4 *',
  // Months.
  '0 0 1 1 *',
  '0 2 1 1-12/3 *',
  '0 9 * mar *',
  '0 0 25 12 *',
  // Either of both days.
  '0 0 13 * 5',
  '0 9 1 * 1',
  '30 6 1,15 * mon',
  '0 12 1-7 * wed',
  '15 10 31 * 0',
  // A star with a step in a day.
  '0 9 */2 * *',
  '0 9 */10 * *',
  '0 9 * * */2',
  '0 9 */2 * 1',
  '0 9 1 * */3',
  '0 0 * */3 *',
  '0 9 */7 */2 *',
  // Days that depend on the month.
  '0 9 L * *',
  '30 2 L * *',
  '0 9 LW * *',
  '0 9 * * 5L',
  '30 2 * * 0L',
  '0 9 * * fri#2',
  '0 9 * * 1#1,1#3',
  '0 9 * * mon#5',
  '0 9 15W * *',
  '0 9 1W * *',
  // Seconds first.
  '0 30 2 * * *',
  '30 0 9 * * *',
  '*/20 * * * * *',
  '15,45 30 2 * * *',
  '0 */10 * * * *',
]

/** Three hours before the clocks go forward, and before they go back. */
export const zones: Record<string, [string, string]> = {
  'Europe/Berlin': ['2025-03-29T22:00:00Z', '2025-10-25T22:00:00Z'],
  'America/New_York': ['2025-03-09T04:00:00Z', '2025-11-02T03:00:00Z'],
  // By half an hour.
  'Australia/Lord_Howe': ['2025-10-04T12:30:00Z', '2025-04-05T12:00:00Z'],
  // At a quarter to three.
  'Pacific/Chatham': ['2025-09-27T11:00:00Z', '2025-04-05T11:00:00Z'],
  // At midnight.
  'Asia/Beirut': ['2025-03-29T19:00:00Z', '2025-10-25T18:00:00Z'],
  'Africa/Cairo': ['2025-04-24T19:00:00Z', '2025-10-30T18:00:00Z'],
  'America/Santiago': ['2025-09-07T01:00:00Z', '2025-04-06T00:00:00Z'],
  // At midnight, and never again.
  'America/Sao_Paulo': ['2018-11-04T00:00:00Z', '2019-02-16T23:00:00Z'],
}
