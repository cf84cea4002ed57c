//! What state is asked for.

use crate::event::EventId;

/// An instant or a position: what state is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Point {
    /// A millisecond since the Unix epoch, as a whole.
    Time(u64),
    /// An event, included.
    Event(EventId),
}

impl Point {
    /// The greatest id that belongs to the point.
    pub fn last_id(self) -> EventId {
        match self {
            Point::Time(ms) => EventId::new(ms, u64::MAX),
            Point::Event(id) => id,
        }
    }

    /// The instant at which keys are alive or expired.
    pub fn ms(self) -> u64 {
        self.last_id().ms
    }
}
