//! The position of an event in its stream.

use std::fmt;
use std::str::FromStr;

use crate::error::{Code, Error};

/// `<ms>-<seq>`: milliseconds since the Unix epoch and a counter within the millisecond.
///
/// The form of Redis stream ids, on every backend. Ids grow strictly within a stream.
///
/// ```
/// use nuxt_queue_core::EventId;
/// let id: EventId = "1762336800000-3".parse().unwrap();
/// assert_eq!((id.ms, id.seq), (1762336800000, 3));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct EventId {
    /// Milliseconds since the Unix epoch.
    pub ms: u64,
    /// Counter within the millisecond.
    pub seq: u64,
}

impl EventId {
    /// `0-0`: before every event.
    pub const MIN: EventId = EventId { ms: 0, seq: 0 };
    /// After every event.
    pub const MAX: EventId = EventId { ms: u64::MAX, seq: u64::MAX };

    /// The id `<ms>-<seq>`.
    pub fn new(ms: u64, seq: u64) -> Self {
        EventId { ms, seq }
    }

    /// The smallest id above this one, if there is one.
    pub fn next(self) -> Option<Self> {
        match self.seq.checked_add(1) {
            Some(seq) => Some(EventId { ms: self.ms, seq }),
            None => self.ms.checked_add(1).map(|ms| EventId { ms, seq: 0 }),
        }
    }

    /// The greatest id below this one, if there is one.
    pub fn previous(self) -> Option<Self> {
        match self.seq.checked_sub(1) {
            Some(seq) => Some(EventId { ms: self.ms, seq }),
            None => self.ms.checked_sub(1).map(|ms| EventId { ms, seq: u64::MAX }),
        }
    }

    /// Reads `<ms>-<seq>` from bytes; `None` if it is anything else.
    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let dash = memchr::memchr(b'-', bytes)?;
        Some(EventId { ms: decimal(&bytes[..dash])?, seq: decimal(&bytes[dash + 1..])? })
    }

    /// The text of the id, quicker than by formatting.
    pub fn to_text(self) -> String {
        let mut text = String::with_capacity(24);
        self.write_to(&mut text);
        text
    }

    /// Appends the text of the id.
    pub(crate) fn write_to(self, out: &mut String) {
        let mut digits = itoa::Buffer::new();
        out.push_str(digits.format(self.ms));
        out.push('-');
        out.push_str(digits.format(self.seq));
    }
}

fn decimal(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() || digits.len() > 20 {
        return None;
    }
    digits.iter().try_fold(0_u64, |value, byte| {
        let digit = byte.checked_sub(b'0').filter(|digit| *digit <= 9)?;
        value.checked_mul(10)?.checked_add(u64::from(digit))
    })
}

impl FromStr for EventId {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        EventId::from_bytes(text.as_bytes()).ok_or_else(|| {
            let shown: String = text.chars().take(60).collect();
            Error::new(Code::Validation, format!("{shown:?} is not an event id; ids look like \"1762336800000-0\"."))
        })
    }
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.ms, self.seq)
    }
}
