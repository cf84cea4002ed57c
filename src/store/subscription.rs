//! Following streams: first what is there, then what comes, without a gap or a double between.
//!
//! An announcement only says *look again*; what is delivered comes from reading the stream after
//! the last delivered position. So an announcement may be lost or come twice without harm.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use tokio::sync::watch;

use super::query::{FIRST_PAGE, Listing, next_page};
use super::reader::Reader;
use crate::backend::{PageRequest, Positions, Selector, Watch};
use crate::clock::monotonic;
use crate::error::{Code, Result};
use crate::event::{EventId, Events};

/// At most so many events are delivered at once.
const LARGEST_PAGE: usize = 512;
/// The pause before reading again from a backend that could not be reached.
const RETRY_AFTER: Duration = Duration::from_millis(250);
/// For how long a stream was idle whose position may be forgotten.
const IDLE_MS: u64 = 60_000;
/// How many positions are remembered before idle streams are forgotten.
const MANY_POSITIONS: usize = 10_000;

/// What a subscription brings.
#[derive(Debug)]
pub enum Delivery {
    /// New events of one stream, in order.
    Events(Events),
    /// Everything that was there at the beginning has been delivered. Comes once.
    CaughtUp,
    /// The store was closed.
    Closed,
}

/// A subscription; ends with the value.
pub struct Subscription {
    reader: Reader,
    selector: Selector,
    watch: Watch,
    closed: watch::Receiver<bool>,
    positions: Positions,
    /// Streams that may have undelivered events.
    due: Vec<Box<str>>,
    /// Goes through all streams that match.
    listing: Option<Listing>,
    /// When that began.
    listing_since: Instant,
    caught_up: bool,
    /// How many events are read at once.
    page: usize,
    /// At how many positions idle ones are forgotten the next time.
    forget_at: usize,
}

impl Subscription {
    /// Begins after `after`; `None`: with what is appended from now on.
    pub(super) async fn begin(
        reader: Reader,
        selector: Selector,
        after: Option<EventId>,
        closed: watch::Receiver<bool>,
    ) -> Result<Self> {
        let watch = reader.backend.watch(selector.clone()).await?;
        let positions = match after {
            Some(after) => Positions { known: HashMap::new(), others: after },
            None => reader.backend.ends(&selector).await?,
        };
        let mut subscription = Subscription {
            reader,
            selector,
            watch,
            closed,
            positions,
            due: Vec::new(),
            listing: None,
            listing_since: monotonic(),
            caught_up: false,
            page: FIRST_PAGE,
            forget_at: MANY_POSITIONS,
        };
        if after.is_some() {
            subscription.look_everywhere()?;
        }
        Ok(subscription)
    }

    /// Waits for the next delivery. While the backend can't be reached it goes on trying.
    pub async fn next(&mut self) -> Result<Delivery> {
        loop {
            match self.step().await {
                Err(error) if matches!(error.code(), Code::Unavailable | Code::Timeout) => {
                    tokio::time::sleep(RETRY_AFTER).await
                }
                delivery => return delivery,
            }
        }
    }

    async fn step(&mut self) -> Result<Delivery> {
        loop {
            if *self.closed.borrow() {
                return Ok(Delivery::Closed);
            }
            if let Some(events) = self.read_due().await? {
                return Ok(Delivery::Events(events));
            }
            if self.list_more().await? {
                continue;
            }
            if !self.caught_up {
                self.caught_up = true;
                return Ok(Delivery::CaughtUp);
            }
            tokio::select! {
                changes = self.watch.changed() => {
                    let unknown = changes.is_empty() || changes.any;
                    self.due.extend(changes.streams);
                    if unknown {
                        self.look_everywhere()?;
                    }
                }
                _ = self.closed.changed() => {}
            }
        }
    }

    /// The next page of a stream that is due.
    async fn read_due(&mut self) -> Result<Option<Events>> {
        while let Some(stream) = self.due.last() {
            let position = self.positions.known.get(stream).copied().unwrap_or(self.positions.others);
            let Some(from) = position.next() else {
                self.due.pop();
                continue;
            };
            let count = self.page;
            let request = PageRequest { stream, from, to: EventId::MAX, descending: false, count };
            let events = self.reader.page(request).await?;
            let Some(last) = events.last().map(|event| event.id) else {
                self.due.pop();
                continue;
            };
            let stream = match events.len() < count {
                true => self.due.pop(),
                false => self.due.last().cloned(),
            };
            self.positions.known.extend(stream.map(|stream| (stream, last)));
            self.page = next_page(&events, LARGEST_PAGE);
            if self.positions.known.len() >= self.forget_at && self.listing.is_none() {
                self.look_everywhere()?;
            }
            return Ok(Some(events));
        }
        Ok(None)
    }

    fn look_everywhere(&mut self) -> Result<()> {
        match &self.selector {
            Selector::Stream(stream) => self.due = vec![stream.clone()],
            Selector::Pattern(glob) => {
                self.listing = Some(Listing::new(self.reader.clone(), glob.as_str())?);
                self.listing_since = monotonic();
            }
        }
        Ok(())
    }

    /// Goes on with the listing. False: there is nothing to list.
    async fn list_more(&mut self) -> Result<bool> {
        let Some(listing) = &mut self.listing else { return Ok(false) };
        let Some(page) = listing.next().await? else {
            self.listing = None;
            self.forget_idle().await?;
            return Ok(false);
        };
        for info in page {
            let position = self.positions.known.get(&*info.stream).copied().unwrap_or(self.positions.others);
            if info.last_id > position {
                self.due.push(info.stream.into());
            }
        }
        Ok(true)
    }

    /// Keeps the positions bounded. After a look at every stream, those of streams that are gone,
    /// or were idle for a minute before it began, need no place of their own.
    async fn forget_idle(&mut self) -> Result<()> {
        if self.positions.known.len() < self.forget_at {
            return Ok(());
        }
        let ends = self.reader.backend.ends(&self.selector).await?;
        let since_ms = self.listing_since.elapsed().as_millis() as u64 + IDLE_MS;
        let horizon = EventId::new(ends.others.ms.saturating_sub(since_ms), 0);
        match ends.known.is_empty() {
            true => self.positions.known.retain(|_, position| *position >= horizon),
            false => self.positions.known.retain(|stream, _| ends.known.contains_key(stream)),
        }
        self.positions.others = self.positions.others.max(horizon);
        self.forget_at = MANY_POSITIONS.max(self.positions.known.len() * 2);
        Ok(())
    }
}
