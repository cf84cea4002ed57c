//! How urgent a diagnostic is, by name.

use serde::Serializer;
use tracing::Level;
use tracing::level_filters::LevelFilter;

/// The names that `NQ_LOG` takes.
const NAMES: [(&str, LevelFilter); 6] = [
    ("off", LevelFilter::OFF),
    ("error", LevelFilter::ERROR),
    ("warn", LevelFilter::WARN),
    ("info", LevelFilter::INFO),
    ("debug", LevelFilter::DEBUG),
    ("trace", LevelFilter::TRACE),
];

/// What is let through by a level of this name.
pub(super) fn parse(name: &str) -> Option<LevelFilter> {
    NAMES.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, filter)| *filter)
}

/// A level as JavaScript writes it.
pub(super) fn serialize<S: Serializer>(level: &Level, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&level.as_str().to_ascii_lowercase())
}
