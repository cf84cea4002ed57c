//! Following streams: first what is there, then what comes, without a gap or a double between.
//!
//! An announcement only says *look again*; what is delivered comes from reading the stream after
//! the last delivered position. So an announcement may be lost or come twice without harm.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use super::query::Listing;
use crate::backend::{Backend, PageRequest, Positions, Selector, Watch};
use crate::error::{Code, Result};
use crate::event::{EventId, Events};

/// How many events are delivered at once.
const PAGE: usize = 512;
/// The pause before reading again from a backend that could not be reached.
const RETRY_AFTER: Duration = Duration::from_millis(250);
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
    backend: Arc<dyn Backend>,
    selector: Selector,
    watch: Watch,
    closed: watch::Receiver<bool>,
    positions: Positions,
    /// Streams that may have undelivered events.
    due: Vec<Box<str>>,
    /// Goes through all streams that match.
    listing: Option<Listing>,
    caught_up: bool,
    /// The greatest id that was listed: everything up to it has been looked at.
    listed_to: EventId,
}

impl Subscription {
    /// Begins after `after`; `None`: with what is appended from now on.
    pub(super) async fn begin(
        backend: Arc<dyn Backend>,
        selector: Selector,
        after: Option<EventId>,
        closed: watch::Receiver<bool>,
    ) -> Result<Self> {
        let watch = backend.watch(selector.clone()).await?;
        let positions = match after {
            Some(after) => Positions { known: HashMap::new(), others: after },
            None => backend.ends(&selector).await?,
        };
        let mut subscription = Subscription {
            backend,
            selector,
            watch,
            closed,
            positions,
            due: Vec::new(),
            listing: None,
            caught_up: false,
            listed_to: EventId::MIN,
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
            let request = PageRequest { stream, from, to: EventId::MAX, descending: false, count: PAGE };
            let events = self.backend.read(request).await?;
            let Some(last) = events.last().map(|event| event.id) else {
                self.due.pop();
                continue;
            };
            let stream = match events.len() < PAGE {
                true => self.due.pop(),
                false => self.due.last().cloned(),
            };
            self.positions.known.extend(stream.map(|stream| (stream, last)));
            return Ok(Some(events));
        }
        Ok(None)
    }

    fn look_everywhere(&mut self) -> Result<()> {
        match &self.selector {
            Selector::Stream(stream) => self.due = vec![stream.clone()],
            Selector::Pattern(glob) => self.listing = Some(Listing::new(self.backend.clone(), glob.as_str())?),
        }
        Ok(())
    }

    /// Goes on with the listing. False: there is nothing to list.
    async fn list_more(&mut self) -> Result<bool> {
        let Some(listing) = &mut self.listing else { return Ok(false) };
        let Some(page) = listing.next().await? else {
            self.listing = None;
            self.forget_idle();
            return Ok(false);
        };
        for info in page {
            self.listed_to = self.listed_to.max(info.last_id);
            let position = self.positions.known.get(&*info.stream).copied().unwrap_or(self.positions.others);
            if info.last_id > position {
                self.due.push(info.stream.into());
            }
        }
        Ok(true)
    }

    /// Keeps the positions bounded: after a look at every stream, those of streams that have been
    /// idle for a minute need no place of their own.
    fn forget_idle(&mut self) {
        if self.positions.known.len() < MANY_POSITIONS {
            return;
        }
        let horizon = EventId::new(self.listed_to.ms.saturating_sub(60_000), 0);
        self.positions.known.retain(|_, position| *position >= horizon);
        self.positions.others = self.positions.others.max(horizon);
    }
}
