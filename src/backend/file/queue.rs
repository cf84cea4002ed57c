//! What waits for the one who writes, and who waits for what is being written.

use std::collections::VecDeque;
use std::time::Instant;

use rusqlite::Connection;
use tokio::sync::oneshot;

use super::contents::{Content, Contents};
use crate::backend::{Append, Completion, Receipt, Settled, WhenSettled};
use crate::error::{Code, Error, Result};

/// A question. It answers by itself.
pub(super) type Question = Box<dyn FnOnce(&Connection) + Send>;

/// A change that is no append.
pub(super) trait Change: Send {
    /// Does it, within a transaction that may be taken back; then it is done again.
    fn apply(&mut self, contents: &mut Contents) -> rusqlite::Result<()>;

    /// Answers: it is in the database, or it is not.
    fn settle(&mut self, failure: Option<Error>);
}

/// A change with its answer.
pub(super) struct Answering<T, F> {
    pub(super) change: F,
    pub(super) outcome: Option<T>,
    pub(super) reply: Option<oneshot::Sender<Result<T>>>,
}

impl<T: Send, F: FnMut(&mut Contents) -> rusqlite::Result<T> + Send> Change for Answering<T, F> {
    fn apply(&mut self, contents: &mut Contents) -> rusqlite::Result<()> {
        self.outcome = Some((self.change)(contents)?);
        Ok(())
    }

    fn settle(&mut self, failure: Option<Error>) {
        let Some(reply) = self.reply.take() else { return };
        let outcome = match (failure, self.outcome.take()) {
            (Some(error), _) => Err(error),
            (None, Some(outcome)) => Ok(outcome),
            (None, None) => Err(Error::new(Code::Internal, "The change was not made.")),
        };
        // Whoever asked may be gone.
        drop(reply.send(outcome));
    }
}

/// What is to be done, in order.
pub(super) enum Work {
    Append(Append),
    Change {
        /// The streams whose events it changes.
        streams: Vec<Box<str>>,
        change: Box<dyn Change>,
    },
    Ask(Question),
}

/// Work, and who brought it.
pub(super) struct Order {
    /// The number of the store.
    pub(super) from: u64,
    /// The store's instant.
    pub(super) now_ms: u64,
    pub(super) work: Work,
}

/// Who waits for an append that is being written.
pub(super) struct Ticket {
    pub(super) from: u64,
    deadline: Instant,
    completion: Completion,
    size: usize,
    after: Option<WhenSettled>,
}

impl Ticket {
    /// Parts an append into who waits and what is to be stored.
    pub(super) fn part(from: u64, append: Append) -> (Ticket, Content) {
        let Append { completion, stream, events, expected_last_id, idempotency_key, deadline, size, after, .. } =
            append;
        let ticket = Ticket { from, deadline, completion, size, after };
        (ticket, Content { stream, events, expected_last_id, idempotency_key })
    }

    pub(super) fn settled(self, result: Result<Receipt>) -> Settled {
        Settled { completion: self.completion, size: self.size, result, after: self.after }
    }
}

/// All that waits.
#[derive(Default)]
pub(super) struct Queue {
    pub(super) waiting: VecDeque<Order>,
    /// Those who wait for the appends that are being written, until their time is over.
    pub(super) writing: Vec<Option<Ticket>>,
    /// Something is being written, or the directory is not open yet.
    pub(super) is_busy: bool,
    /// Why nothing is taken any more.
    pub(super) refusal: Option<Error>,
    pub(super) is_closed: bool,
    /// A task looks after the deadlines.
    pub(super) is_watched: bool,
}

impl Queue {
    /// Ends what has waited past its deadline.
    pub(super) fn expire(&mut self, now: Instant) -> Vec<(u64, Settled)> {
        let mut late = Vec::new();
        let is_late = |order: &Order| matches!(&order.work, Work::Append(append) if append.deadline <= now);
        if self.waiting.iter().any(is_late) {
            let (over, waiting) = std::mem::take(&mut self.waiting).into_iter().partition(is_late);
            self.waiting = waiting;
            late.extend(VecDeque::into_iter(over).filter_map(|order| refused(order, &unwritten())));
        }
        for waits in &mut self.writing {
            if let Some(ticket) = waits.take_if(|ticket| ticket.deadline <= now) {
                late.push((ticket.from, ticket.settled(Err(undecided()))));
            }
        }
        late
    }

    /// Whether an append has a deadline that may pass.
    pub(super) fn has_deadlines(&self) -> bool {
        let is_append = |order: &Order| matches!(order.work, Work::Append(_));
        self.writing.iter().any(Option::is_some) || self.waiting.iter().any(is_append)
    }
}

/// Answers an order that is not carried out; an append's outcome is given back.
pub(super) fn refused(order: Order, error: &Error) -> Option<(u64, Settled)> {
    match order.work {
        Work::Append(append) => return Some((order.from, append.settled(Err(error.clone())))),
        Work::Change { mut change, .. } => change.settle(Some(error.clone())),
        // Its answer ends with it.
        Work::Ask(_) => {}
    }
    None
}

fn unwritten() -> Error {
    Error::new(
        Code::Timeout,
        "The event was not stored: the disk is too slow for what is appended. Append less at a time.",
    )
}

fn undecided() -> Error {
    let message = "The disk did not confirm the event in time, so it may or may not be stored. Read the stream, or append it again with an idempotencyKey.";
    Error::new(Code::Timeout, message)
}
