//! The contract of a home for events.
//!
//! A backend stores what it is given, under any name, and knows no event type. Checks, limits and
//! type filters live above, in [`crate::store`]. To add a backend, implement [`Backend`] and run
//! the conformance suite on it.

pub mod file;
mod glob;
pub mod memory;
pub mod redis;
mod watch;

use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use crate::error::{Code, Error, Result};
use crate::event::{EventId, Events, NewEvent};

pub use glob::Glob;
pub(crate) use watch::Hub;
pub use watch::{Changes, Selector, Watch};

/// How long an idempotency key is remembered: seven days, in milliseconds.
pub const IDEMPOTENCY_MS: u64 = 7 * 86_400_000;

/// What a backend method gives back: ready at once where no I/O is needed.
pub type Pending<'a, T> = Pin<Box<dyn Future<Output = Result<T>> + Send + 'a>>;

/// One append: events that are stored together or not at all.
#[derive(Debug)]
pub struct Append {
    /// Where to report the outcome.
    pub completion: Completion,
    /// The stream's name.
    pub stream: Box<str>,
    /// At least one event.
    pub events: Vec<NewEvent>,
    /// The number of the first event among all events of this store; the others follow.
    pub serial: u64,
    /// Store only if this is the last id of the stream (`0-0`: the stream has no events).
    pub expected_last_id: Option<EventId>,
    /// Store only if no append with this key is remembered for the stream.
    pub idempotency_key: Option<Box<str>>,
    /// The append fails when it is not acknowledged by then.
    pub deadline: Instant,
    /// What the append weighs against the limits, in bytes.
    pub size: usize,
    /// What is to be done once it is settled; handed back with the outcome.
    pub after: Option<WhenSettled>,
}

/// Something that is done once an append is settled, before anyone hears of it. It is told whether
/// the append is stored.
pub struct WhenSettled(Box<dyn FnOnce(bool) + Send>);

impl WhenSettled {
    /// Must not block.
    pub fn new(action: impl FnOnce(bool) + Send + 'static) -> Self {
        WhenSettled(Box::new(action))
    }

    pub(crate) fn run(self, is_stored: bool) {
        (self.0)(is_stored);
    }
}

impl std::fmt::Debug for WhenSettled {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("WhenSettled")
    }
}

/// Where the outcome of an append goes.
#[derive(Debug)]
pub enum Completion {
    /// To the one who waits at the other end.
    Channel(oneshot::Sender<Result<Receipt>>),
    /// To the store's outlet, under this number.
    Ticket(u64),
}

/// The outcome of an acknowledged append.
#[derive(Debug, Clone)]
pub enum Receipt {
    /// One event was stored under this id.
    One(EventId),
    /// A batch was stored under these ids.
    Batch(Vec<EventId>),
    /// The idempotency key was used before: the records that were stored then.
    Repeated(Events),
}

impl Receipt {
    /// The receipt of events that were stored under these ids.
    pub(crate) fn stored(mut ids: Vec<EventId>) -> Receipt {
        match (ids.len(), ids.pop()) {
            (1, Some(id)) => Receipt::One(id),
            (_, Some(last)) => {
                ids.push(last);
                Receipt::Batch(ids)
            }
            (_, None) => Receipt::Batch(ids),
        }
    }
}

/// An append that came to its end.
#[derive(Debug)]
pub struct Settled {
    /// Where the outcome goes.
    pub completion: Completion,
    /// What the append weighed.
    pub size: usize,
    /// What became of it.
    pub result: Result<Receipt>,
    /// What is to be done now.
    pub after: Option<WhenSettled>,
}

impl Append {
    /// The append with its outcome.
    pub(crate) fn settled(self, result: Result<Receipt>) -> Settled {
        Settled { completion: self.completion, size: self.size, result, after: self.after }
    }
}

/// Whom a backend reports to.
#[derive(Clone)]
pub struct Upwards {
    /// Takes the outcomes of appends.
    pub settle: Arc<dyn Settle>,
    /// Is told what others have changed.
    pub invalidate: Arc<dyn Invalidate>,
}

/// Is told by a backend what others have changed.
pub trait Invalidate: Send + Sync {
    /// This stream is not what it was.
    fn changed(&self, stream: &str);

    /// Any stream may not be what it was.
    fn all_changed(&self);
}

/// Takes the outcomes of appends that did not end within [`Backend::submit`].
pub trait Settle: Send + Sync {
    /// Takes the outcomes of one round trip.
    fn settle(&self, settled: Vec<Settled>);
}

/// A page of a stream that is wanted.
#[derive(Debug, Clone)]
pub struct PageRequest<'a> {
    /// The stream's name.
    pub stream: &'a str,
    /// The smallest id, inclusive.
    pub from: EventId,
    /// The greatest id, inclusive.
    pub to: EventId,
    /// Newest first.
    pub descending: bool,
    /// At most this many events, at least one.
    pub count: usize,
}

/// A stream as [`Backend::streams`] lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamInfo {
    /// The stream's name.
    pub stream: String,
    /// The id of its last event.
    pub last_id: EventId,
    /// How many events it holds.
    pub length: u64,
}

/// Where a listing of streams goes on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Cursor {
    /// From the beginning.
    #[default]
    Start,
    /// At a position that only the backend understands.
    At(Box<str>),
    /// The listing is complete.
    End,
}

/// The longest life there is, in milliseconds: a hundred years.
const LONGEST_MS: u64 = 100 * 365 * 86_400_000;

/// How long a stream is to live from now on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Life {
    /// At least so long, and never shorter than it would have lived.
    AtLeast(Duration),
    /// Exactly so long.
    Exactly(Duration),
    /// Exactly so long, and that is the last word: nothing that is said afterwards has an effect.
    Finally(Duration),
}

impl Life {
    /// How long that is.
    pub(crate) fn duration(self) -> Duration {
        let (Life::AtLeast(life) | Life::Exactly(life) | Life::Finally(life)) = self;
        life
    }

    /// The life in milliseconds, rounded up: no stream vanishes too early. At least one, at most a hundred years.
    pub(crate) fn ms(self) -> u64 {
        let ms = self.duration().as_nanos().div_ceil(1_000_000).clamp(1, u128::from(LONGEST_MS));
        ms as u64
    }
}

/// Positions in many streams.
#[derive(Debug, Clone, Default)]
pub struct Positions {
    /// The position in these streams.
    pub known: HashMap<Box<str>, EventId>,
    /// The position in all other streams.
    pub others: EventId,
}

/// The error of an `expectedLastId` that no longer holds.
pub(crate) fn conflict(stream: &str, expected: EventId, actual: EventId) -> Error {
    let message = format!(
        "The last event of {stream} is {actual}, not {expected} as expected; read the stream again and decide again."
    );
    Error::new(Code::Conflict, message)
}

/// A home for events.
///
/// * Appends are stored in the order in which they are submitted, one submission after the other.
/// * Each submitted append is settled exactly once, by its deadline at the latest, and one that is
///   settled as stored is in the backend exactly once, whatever happened to the connection.
/// * A read sees every append that was submitted before it.
/// * Nothing blocks the calling thread.
pub trait Backend: Send + Sync + 'static {
    /// Takes appends over. Returns those that are settled already; the others go to [`Settle`].
    fn submit(&self, appends: Vec<Append>) -> Vec<Settled>;

    /// Waits until the backend can be used.
    fn connect(&self) -> Pending<'_, ()>;

    /// Reads one page of a stream, in id order.
    fn read<'a>(&'a self, request: PageRequest<'a>) -> Pending<'a, Events>;

    /// The same with what the writers of the events noted as their time, as `ts` of each record. Where that is
    /// not kept, records have none.
    fn read_with_ts<'a>(&'a self, request: PageRequest<'a>) -> Pending<'a, Events> {
        self.read(request)
    }

    /// The id of the last event; `None` if the stream has no events.
    fn last_id<'a>(&'a self, stream: &'a str) -> Pending<'a, Option<EventId>>;

    /// Lists a part of the streams whose names match, and where to go on. A name may come twice.
    fn streams<'a>(&'a self, pattern: &'a Glob, cursor: Cursor) -> Pending<'a, (Vec<StreamInfo>, Cursor)>;

    /// Deletes streams; how many were there. An event that is appended to one of them afterwards
    /// has a greater id than all that were deleted, and begins a stream that stays until it is deleted.
    fn delete_streams<'a>(&'a self, streams: &'a [&'a str]) -> Pending<'a, u64>;

    /// Deletes single events; how many were there. The others keep their ids, and later events have
    /// greater ones than all that were deleted. A stream without events has not vanished. An
    /// idempotency key is forgotten with any event that it stored.
    fn delete_events<'a>(&'a self, stream: &'a str, ids: &'a [EventId]) -> Pending<'a, u64>;

    /// Deletes all events before this one, which need not be there; how many. Otherwise the same.
    fn trim<'a>(&'a self, stream: &'a str, before: EventId) -> Pending<'a, u64>;

    /// Says how long a stream is to live. Nothing happens if it is not there.
    ///
    /// * A stream of which nothing was said lives for ever.
    /// * Appending prolongs no life; it takes an `AtLeast` to do so, which never shortens one.
    /// * `Exactly` and `Finally` may make a life longer or shorter; after `Finally` nothing does.
    /// * At the end of its life the stream vanishes as if it had been deleted, with what is
    ///   remembered of its idempotency keys. A stream that begins again is a new one.
    fn keep<'a>(&'a self, stream: &'a str, life: Life) -> Pending<'a, ()>;

    /// How many events a stream has.
    fn length<'a>(&'a self, stream: &'a str) -> Pending<'a, u64>;

    /// How long a stream still lives; `None`: it is not there; `Some(None)`: for ever.
    fn remaining<'a>(&'a self, stream: &'a str) -> Pending<'a, Option<Option<Duration>>>;

    /// Adds a member to a sorted index, or gives it a new score.
    fn index_add<'a>(&'a self, key: &'a str, id: &'a str, score: f64) -> Pending<'a, ()>;

    /// Members of a sorted index, highest score first, equal scores by descending id.
    fn index_read<'a>(&'a self, key: &'a str, offset: usize, limit: Option<usize>) -> Pending<'a, Vec<(String, f64)>>;

    /// Members of a sorted index with a score of at most this, lowest first, equal scores by
    /// ascending id; at most `limit`.
    fn index_due<'a>(&'a self, key: &'a str, score: f64, limit: usize) -> Pending<'a, Vec<String>>;

    /// Members of a sorted index with exactly this score, by ascending id.
    fn index_at<'a>(&'a self, key: &'a str, score: f64) -> Pending<'a, Vec<String>>;

    /// Removes members of a sorted index; those that are not there are passed over.
    fn index_remove<'a>(&'a self, key: &'a str, ids: &'a [&'a str]) -> Pending<'a, ()>;

    /// Deletes a sorted index.
    fn index_delete<'a>(&'a self, key: &'a str) -> Pending<'a, ()>;

    /// Tells of changes of streams, from the moment it is ready on. A change may be told more
    /// than once, never too seldom: after a lost connection everything counts as changed.
    fn watch(&self, selector: Selector) -> Pending<'_, Watch>;

    /// Where the streams end now, so that a subscription can begin after it.
    fn ends<'a>(&'a self, selector: &'a Selector) -> Pending<'a, Positions>;

    /// Whether everything is answered at once, and nobody else changes anything.
    fn is_local(&self) -> bool {
        false
    }

    /// Whether what is stored outlives this process, and no other one writes: whoever wrote before and
    /// is not alive in this process is gone.
    fn is_owned(&self) -> bool {
        false
    }

    /// Whether [`Invalidate`] is told, within moments, when someone else changes a stream that was
    /// read here and has not been written here since.
    fn tracks(&self) -> bool;

    /// How often appends were sent, several at a time.
    fn pipelines(&self) -> u64;

    /// Sends what is still to be sent and ends background work. Everything is settled before.
    fn close(&self) -> Pending<'_, ()>;
}
