//! The one who writes: what has gathered goes into one transaction, and so to the disk at once.

use std::sync::PoisonError;
use std::time::Duration;

use super::contents::{Content, Contents};
use super::database;
use super::engine::Shared;
use super::queue::{Change, Order, Question, Queue, Ticket, Work};
use super::remains;
use crate::backend::{Receipt, Settled};
use crate::error::{Code, Error, Result};

/// How many orders one transaction takes.
const GROUP: usize = 1024;
/// How many events of streams that are gone are cleared away beside others' work, and when there is none.
const CLEARED_BESIDE: i64 = 128;
const CLEARED_ALONE: i64 = 2048;
/// The longest rest: clocks may be set.
const LONGEST_REST: Duration = Duration::from_secs(60);

/// A part of a group.
enum Step {
    Append { from: u64, now_ms: u64, content: Content, outcome: Option<Result<Receipt>> },
    Change { from: u64, now_ms: u64, streams: Vec<Box<str>>, change: Box<dyn Change>, failure: Option<Error> },
}

impl Step {
    fn apply(&mut self, contents: &mut Contents) -> rusqlite::Result<()> {
        match self {
            Step::Append { now_ms, content, outcome, .. } => {
                contents.advance(*now_ms)?;
                *outcome = Some(contents.append(content)?);
                Ok(())
            }
            Step::Change { now_ms, change, .. } => {
                contents.advance(*now_ms)?;
                change.apply(contents)
            }
        }
    }

    fn fail(&mut self, error: Error) {
        match self {
            Step::Append { outcome, .. } => *outcome = Some(Err(error)),
            Step::Change { failure, .. } => *failure = Some(error),
        }
    }

    /// Who did it, and the streams that are not what they were.
    fn changed(&self) -> (u64, &[Box<str>]) {
        match self {
            Step::Append { from, content, outcome: Some(Ok(Receipt::One(_) | Receipt::Batch(_))), .. } => {
                (*from, std::slice::from_ref(&content.stream))
            }
            Step::Change { from, streams, failure: None, .. } => (*from, streams),
            Step::Append { from, .. } | Step::Change { from, .. } => (*from, &[]),
        }
    }
}

/// What is written next.
#[derive(Default)]
pub(super) struct Group {
    steps: Vec<Step>,
    questions: Vec<Question>,
}

impl Group {
    /// Takes what waits; who waits for appends stays in the queue.
    fn take(shared: &Shared) -> Group {
        let mut queue = shared.queue();
        let mut group = Group::default();
        queue.is_busy = true;
        for _ in 0..GROUP {
            let Some(Order { from, now_ms, work }) = queue.waiting.pop_front() else { break };
            match work {
                Work::Append(append) => {
                    let (ticket, content) = Ticket::part(from, append);
                    queue.writing.push(Some(ticket));
                    group.steps.push(Step::Append { from, now_ms, content, outcome: None });
                }
                Work::Change { streams, change } => {
                    group.steps.push(Step::Change { from, now_ms, streams, change, failure: None });
                }
                Work::Ask(question) => group.questions.push(question),
            }
        }
        group
    }
}

pub(super) struct Writer<'a> {
    pub(super) shared: &'a Shared,
    pub(super) contents: Contents,
    /// The file may have room that nobody needs.
    is_loose: bool,
    /// It was made smaller in the journal.
    is_shrinking: bool,
    /// Why nothing is written any more.
    broken: Option<Error>,
    /// Clearing away has failed, and is not tried again before there is something to write.
    is_stuck: bool,
}

/// What comes next.
enum Next {
    Work,
    Rest,
    End,
}

impl<'a> Writer<'a> {
    pub(super) fn new(shared: &'a Shared, contents: Contents) -> Self {
        let writer = Writer { shared, contents, is_loose: true, is_shrinking: false, broken: None, is_stuck: false };
        writer.tell_expiry();
        writer
    }

    /// Writes until the end.
    pub(super) fn run(&mut self) {
        loop {
            match self.wait() {
                Next::Work => self.write(Group::take(self.shared)),
                Next::Rest => self.keep_house(),
                Next::End => return,
            }
        }
    }

    fn wait(&self) -> Next {
        let mut queue = self.shared.queue();
        let rest = self.rest();
        if queue.waiting.is_empty() {
            queue.is_busy = false;
        }
        let is_idle = |queue: &mut Queue| queue.waiting.is_empty() && !queue.is_closed;
        let queue = match rest {
            Some(rest) => self
                .shared
                .arrived
                .wait_timeout_while(queue, rest, is_idle)
                .map_or_else(|poisoned| poisoned.into_inner().0, |(queue, _)| queue),
            None => self.shared.arrived.wait_while(queue, is_idle).unwrap_or_else(PoisonError::into_inner),
        };
        match (queue.waiting.is_empty(), queue.is_closed) {
            (false, _) => Next::Work,
            (true, true) => Next::End,
            (true, false) => Next::Rest,
        }
    }

    /// How long there is nothing to do; `None`: until something comes.
    fn rest(&self) -> Option<Duration> {
        if self.broken.is_some() {
            return None;
        }
        if self.is_stuck {
            return Some(LONGEST_REST);
        }
        if self.contents.has_remains || self.is_loose {
            return Some(Duration::ZERO);
        }
        let expiry_ms = self.contents.next_expiry_ms()?;
        Some(Duration::from_millis(expiry_ms.saturating_sub(self.shared.now_ms())).min(LONGEST_REST))
    }

    /// Writes a group and answers all who wait for it.
    fn write(&mut self, mut group: Group) {
        self.is_stuck = false;
        self.is_loose |= group.steps.iter().any(|step| matches!(step, Step::Change { .. }));
        if !group.steps.is_empty() {
            self.commit_all(&mut group.steps);
        }
        self.tell_expiry();
        self.tell_changes(&group.steps);
        self.settle(group.steps);
        for question in group.questions {
            self.shared.ask(question);
        }
    }

    /// All of them together; if that can't be, each by itself, so that none fails for another one.
    fn commit_all(&mut self, steps: &mut [Step]) {
        if let Some(error) = &self.broken {
            return steps.iter_mut().for_each(|step| step.fail(error.clone()));
        }
        let Err(error) = self.commit(steps, None) else { return };
        if database::is_uncertain(&error) {
            // What the disk has of this is not known, nor what it would have of anything that comes.
            let error = uncertain(&self.shared.options.dir, &error);
            steps.iter_mut().for_each(|step| step.fail(error.clone()));
            tracing::error!(%error, "nothing more is written");
            self.broken = Some(error.clone());
            return self.shared.refuse(error);
        }
        let is_busy = database::is_busy(&error);
        match steps {
            steps if is_busy => {
                let error = database::failed(&self.shared.options.dir, &error);
                steps.iter_mut().for_each(|step| step.fail(error.clone()));
            }
            [step] => step.fail(database::failed(&self.shared.options.dir, &error)),
            _ => steps.iter_mut().for_each(|step| self.commit_all(std::slice::from_mut(step))),
        }
    }

    /// Does all of it in one transaction, or nothing. `now_ms`: what expires by then vanishes, too.
    fn commit(&mut self, steps: &mut [Step], now_ms: Option<u64>) -> rusqlite::Result<()> {
        let cleared = if steps.is_empty() { CLEARED_ALONE } else { CLEARED_BESIDE };
        self.contents.connection.prepare_cached("BEGIN IMMEDIATE")?.execute([])?;
        let expired = now_ms.map_or(Ok(()), |now_ms| self.contents.advance(now_ms));
        let written = expired.and_then(|()| steps.iter_mut().try_for_each(|step| step.apply(&mut self.contents)));
        let cleared = written.and_then(|()| remains::clear(&mut self.contents, cleared));
        let flushed = cleared.and_then(|()| self.contents.flush());
        let committed = flushed.and_then(|()| self.contents.connection.prepare_cached("COMMIT")?.execute([]).map(drop));
        if let Err(error) = committed {
            if !self.contents.connection.is_autocommit() {
                self.contents.connection.prepare_cached("ROLLBACK")?.execute([])?;
            }
            self.contents.load()?;
            return Err(error);
        }
        self.contents.forget();
        self.shared.committed();
        Ok(())
    }

    /// Nobody wants anything: streams vanish, and the file gets smaller.
    fn keep_house(&mut self) {
        let cleared = self.commit(&mut [], Some(self.shared.now_ms()));
        let shrunk = cleared.and_then(|()| self.shrink());
        self.tell_expiry();
        self.tell_changes(&[]);
        match shrunk {
            Ok(is_loose) => self.is_loose = is_loose,
            Err(error) => {
                self.is_stuck = true;
                tracing::warn!(%error, "the event store's file can't be cleared up; this is tried again");
            }
        }
    }

    /// Makes the file smaller by a little; whether there is more to do.
    fn shrink(&mut self) -> rusqlite::Result<bool> {
        let connection = &self.contents.connection;
        let is_loose = remains::shrink(connection)?;
        if self.is_shrinking && !is_loose {
            remains::settle(connection)?;
        }
        self.is_shrinking = is_loose;
        Ok(is_loose)
    }

    fn tell_expiry(&self) {
        self.shared.set_next_expiry(self.contents.next_expiry_ms());
    }

    fn tell_changes(&mut self, steps: &[Step]) {
        let expired = self.contents.take_expired();
        self.shared.tell_changes(steps.iter().map(Step::changed), &expired);
    }

    fn settle(&self, steps: Vec<Step>) {
        let writing = std::mem::take(&mut self.shared.queue().writing);
        let mut tickets = writing.into_iter();
        let mut settled: Vec<(u64, Settled)> = Vec::with_capacity(steps.len());
        for step in steps {
            match step {
                Step::Append { outcome, .. } => {
                    let outcome =
                        outcome.unwrap_or_else(|| Err(Error::new(Code::Internal, "The append was not made.")));
                    // Whoever waited past the deadline was told so.
                    let waits = tickets.next().flatten();
                    settled.extend(waits.map(|ticket| (ticket.from, ticket.settled(outcome))));
                }
                Step::Change { mut change, failure, .. } => change.settle(failure),
            }
        }
        self.shared.settle(settled);
    }
}

fn uncertain(dir: &std::path::Path, error: &rusqlite::Error) -> Error {
    let message = format!(
        "The disk failed to confirm what was written to {}, so it may or may not be stored. Nothing more is written; look after the disk and open the store again.",
        dir.display()
    );
    Error::new(Code::Backend, message).caused_by(error)
}
