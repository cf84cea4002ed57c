//! Requests that wait until those before them have come to their end elsewhere.
//!
//! Requests to one slot keep their order when the slot changes its node: as soon as one is sent
//! back, no more are sent. A fence goes out behind those that are under way; when it has passed,
//! everything that was sent back is here, and all of it goes to the new node in its old order.

use std::time::Instant;

use super::LaneId;
use crate::backend::Settled;
use crate::backend::redis::link::{Command, Request};
use crate::error::{Code, Error};

/// The waiting requests of one slot.
pub(super) struct Hold {
    /// Where they are to go.
    pub(super) lane: LaneId,
    /// What is under way to these lanes is not known yet.
    pub(super) fences: Vec<LaneId>,
    pub(super) not_before: Option<Instant>,
    pub(super) queue: Vec<Request>,
    /// Why they wait, in the server's words.
    pub(super) reason: Option<String>,
}

impl Hold {
    pub(super) fn new(lane: LaneId) -> Self {
        Hold { lane, fences: Vec::new(), not_before: None, queue: Vec::new(), reason: None }
    }

    pub(super) fn is_over(&self, now: Instant) -> bool {
        self.fences.is_empty() && self.not_before.is_none_or(|moment| moment <= now)
    }

    /// The requests in the order in which they were made.
    pub(super) fn into_requests(mut self) -> Vec<Request> {
        self.queue.sort_by_key(order);
        self.queue
    }

    /// Takes out appends of a stream from before `serial`: a later one is stored, and they would come behind it.
    pub(super) fn take_overtaken(&mut self, stream: &str, serial: u64, settled: &mut Vec<Settled>) {
        for request in &mut self.queue {
            let Request::Appends(appends) = request else { continue };
            for append in appends.extract_if(.., |append| *append.stream == *stream && append.serial < serial) {
                settled.push(append.settled(Err(not_stored("The cluster was down for a moment."))));
            }
        }
    }

    /// Ends what is past its deadline.
    pub(super) fn expire(&mut self, now: Instant, settled: &mut Vec<Settled>) {
        let reason = self.reason.as_deref();
        expire(&mut self.queue, reason, now, settled);
    }
}

/// Ends what is past its deadline.
pub(super) fn expire(queue: &mut Vec<Request>, reason: Option<&str>, now: Instant, settled: &mut Vec<Settled>) {
    let reason = reason.map_or_else(
        || "The cluster took too long.".to_owned(),
        |reason| format!("The cluster does not serve its slot: {reason}."),
    );
    queue.retain_mut(|request| match request {
        Request::Appends(appends) => {
            for append in appends.extract_if(.., |append| append.deadline <= now) {
                settled.push(append.settled(Err(not_stored(&reason))));
            }
            !appends.is_empty()
        }
        Request::Command(command) => command.deadline > now && !command.reply.is_closed(),
        Request::Asking(_) | Request::Fence(_) => true,
    });
}

fn not_stored(reason: &str) -> Error {
    Error::new(Code::Unavailable, format!("The event was not stored. {reason} Append it again."))
}

/// Commands follow the appends that were made before them.
fn order(request: &Request) -> (u64, bool) {
    match request {
        Request::Appends(appends) => (appends.first().map_or(0, |append| append.serial), false),
        Request::Command(Command { order, .. }) => (*order, true),
        Request::Asking(request) => order(request),
        Request::Fence(_) => (u64::MAX, true),
    }
}
