//! When local times come to pass: what a change of the clocks skips or repeats.

use super::civil::Civil;
use super::options::{DstOverlap, Gap};
use super::zone::{Stretch, Zone};

/// 9999-01-01T00:00:00Z, the end of all schedules: beyond it not every zone can name an instant.
pub(super) const END: i64 = 253_370_764_800;

/// Local times, and what is done about those that don't exist or exist twice.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Calendar {
    pub(super) civil: Civil,
    /// Whether it is a rhythm, which goes on in real time whatever the clocks do.
    pub(super) is_wildcard: bool,
    pub(super) gap: Gap,
    pub(super) dst_overlap: DstOverlap,
}

/// What is odd about an instant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Note {
    /// It stands for local times that did not exist: the clocks went from before them to after them.
    Gap,
    /// Its local time exists twice.
    Overlap,
}

impl Calendar {
    /// The first second from one on. Seconds are counted since the Unix epoch.
    pub(super) fn first(&self, zone: &Zone, from: i64) -> Option<i64> {
        let mut from = from;
        while from < END {
            let stretch = zone.stretch(from);
            if from == stretch.start && self.makes_up(stretch) {
                return Some(from);
            }
            let end = stretch.end.min(END);
            let local = self.first_local(stretch, from);
            if let Some(local) = self.civil.first(local, end + stretch.offset) {
                return Some(local - stretch.offset);
            }
            from = end;
        }
        None
    }

    /// What is odd about a second that it fires at.
    pub(super) fn note(&self, zone: &Zone, at: i64) -> Option<Note> {
        let stretch = zone.stretch(at);
        if at == stretch.start && self.makes_up(stretch) {
            return Some(Note::Gap);
        }
        let local = at + stretch.offset;
        let is_second = local < stretch.start.saturating_add(stretch.before);
        let is_first = stretch.end < END && local >= stretch.end + zone.stretch(stretch.end).offset;
        (is_first || is_second).then_some(Note::Overlap)
    }

    /// Whether the beginning of a stretch stands for times of the gap before it.
    fn makes_up(&self, stretch: Stretch) -> bool {
        let has_gap = !self.is_wildcard && self.gap == Gap::After && stretch.before < stretch.offset;
        has_gap && self.civil.first(stretch.start + stretch.before, stretch.start + stretch.offset).is_some()
    }

    /// The local time of a second, or the first one after it that was not there before.
    fn first_local(&self, stretch: Stretch, from: i64) -> i64 {
        let local = from + stretch.offset;
        match self.is_wildcard || self.dst_overlap == DstOverlap::Both {
            true => local,
            false => local.max(stretch.start.saturating_add(stretch.before)),
        }
    }
}
