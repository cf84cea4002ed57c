//! The way of an append into the backend: in order, bounded, and back to whoever waits for it.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::Notify;

use crate::backend::{Append, Backend, Completion, Receipt, Settle, Settled};
use crate::clock::monotonic;
use crate::error::{Code, Error, Result};
use crate::io;

/// Outcomes of appends that were submitted with a ticket.
pub type Outcomes = Vec<(u64, Result<Receipt>)>;
/// Takes outcomes that did not come at once.
pub type Outlet = Box<dyn Fn(Outcomes) + Send + Sync>;

/// How exactly the deadlines of waiting appends are kept.
const TICK: Duration = Duration::from_millis(25);

/// Passes appends on while the bytes on their way are within the limit; the others wait here.
pub(super) struct Intake {
    max_bytes: usize,
    backend: OnceLock<Weak<dyn Backend>>,
    outlet: Outlet,
    /// Is told of the streams of appends that had to wait, once they are with the backend.
    passed_late: OnceLock<PassedLate>,
    queue: Mutex<Queue>,
    /// Whether any append waits; to be read without the lock.
    congested: AtomicBool,
    /// Whether it is closed; the same.
    shut: AtomicBool,
    appended: AtomicU64,
    emptied: Notify,
    passed: Notify,
}

#[derive(Default)]
struct Queue {
    waiting: VecDeque<Append>,
    under_way: usize,
    bytes_under_way: usize,
    /// How many appends have left `waiting` since the beginning, towards the backend or because
    /// their time was over.
    left: u64,
    /// A task looks after the deadlines of those that wait.
    watched: bool,
    /// How many want nothing to pass at the moment.
    holds: usize,
    closed: bool,
}

type PassedLate = Box<dyn Fn(&str) + Send + Sync>;

/// While it is there, nothing passes but what goes ahead.
pub(super) struct Hold {
    intake: Arc<Intake>,
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.intake.queue().holds -= 1;
        self.intake.settle(Vec::new());
    }
}

impl Queue {
    fn is_empty(&self) -> bool {
        self.under_way == 0 && self.waiting.is_empty()
    }

    /// Lets all of them go on, if none has to wait.
    fn admit_all(&mut self, appends: &[Append], max_bytes: usize) -> bool {
        let bytes: usize = appends.iter().map(|append| append.size).sum();
        let is_open = self.waiting.is_empty() && self.holds == 0;
        let has_room = is_open && self.bytes_under_way + bytes <= max_bytes;
        if has_room {
            self.under_way += appends.len();
            self.bytes_under_way += bytes;
            self.left += appends.len() as u64;
        }
        has_room
    }

    /// Takes those that may go on. Alone, an append of any size may.
    fn admit(&mut self, max_bytes: usize) -> Vec<Append> {
        let mut admitted = Vec::new();
        while let Some(next) = self.waiting.front().filter(|_| self.holds == 0) {
            if self.under_way > 0 && self.bytes_under_way + next.size > max_bytes {
                break;
            }
            self.under_way += 1;
            self.bytes_under_way += next.size;
            admitted.extend(self.waiting.pop_front());
        }
        self.left += admitted.len() as u64;
        admitted
    }

    fn release(&mut self, settled: &[Settled]) {
        self.under_way -= settled.len();
        self.bytes_under_way -= settled.iter().map(|append| append.size).sum::<usize>();
    }
}

impl Intake {
    pub(super) fn new(max_bytes: usize, outlet: Outlet) -> Self {
        let (backend, passed_late, queue, congested, shut) = Default::default();
        let (appended, emptied, passed) = Default::default();
        Intake { max_bytes, backend, outlet, passed_late, queue, congested, shut, appended, emptied, passed }
    }

    /// Names the backend, which could only be made with this intake at hand.
    pub(super) fn connect(&self, backend: &Arc<dyn Backend>) {
        let _ = self.backend.set(Arc::downgrade(backend));
    }

    /// Names who is told of streams whose appends had to wait, once they are with the backend.
    pub(super) fn when_passed_late(&self, tell: impl Fn(&str) + Send + Sync + 'static) {
        let _ = self.passed_late.set(Box::new(tell));
    }

    /// Whether it is open, and everything that was accepted is with the backend.
    pub(super) fn is_clear(&self) -> bool {
        !self.congested.load(Ordering::SeqCst) && !self.shut.load(Ordering::SeqCst)
    }

    /// The bytes on their way.
    pub(super) fn queued_bytes(&self) -> u64 {
        let queue = self.queue();
        (queue.bytes_under_way + queue.waiting.iter().map(|append| append.size).sum::<usize>()) as u64
    }

    /// Lets nothing pass until the value is dropped, but what goes ahead.
    pub(super) fn hold(self: &Arc<Self>) -> Hold {
        self.queue().holds += 1;
        Hold { intake: self.clone() }
    }

    /// Passes an append on before everything that waits.
    pub(super) fn submit_ahead(&self, append: Append) {
        let mut queue = self.queue();
        let settled = if queue.closed {
            vec![append.settled(Err(Error::closed()))]
        } else {
            queue.under_way += 1;
            queue.bytes_under_way += append.size;
            self.pass(&mut queue, vec![append])
        };
        drop(queue);
        self.hand_out(settled);
    }

    /// How many events were acknowledged.
    pub(super) fn appended(&self) -> u64 {
        self.appended.load(Ordering::Relaxed)
    }

    /// Takes appends over. Returns the outcomes that are known at once.
    pub(super) fn submit(self: &Arc<Self>, appends: Vec<Append>) -> Outcomes {
        let mut queue = self.queue();
        if queue.closed {
            drop(queue);
            let closed = |append: Append| append.settled(Err(Error::closed()));
            return self.deliver(appends.into_iter().map(closed).collect());
        }
        // The lock is kept, so that no other thread overtakes.
        let settled = match queue.admit_all(&appends, self.max_bytes) {
            true => self.pass(&mut queue, appends),
            false => {
                queue.waiting.extend(appends);
                self.pass_on(&mut queue)
            }
        };
        self.congested.store(!queue.waiting.is_empty(), Ordering::SeqCst);
        if !queue.waiting.is_empty() && !queue.watched {
            queue.watched = true;
            self.watch_deadlines();
        }
        drop(queue);
        self.deliver(settled)
    }

    /// Refuses what comes from now on, and waits until everything accepted is settled.
    pub(super) async fn close(&self) {
        self.queue().closed = true;
        self.shut.store(true, Ordering::SeqCst);
        loop {
            let emptied = self.emptied.notified();
            if self.queue().is_empty() {
                return;
            }
            emptied.await;
        }
    }

    /// Waits until the appends that were accepted before are with the backend, so that what it is
    /// asked next comes after them.
    pub(super) async fn passed(&self) {
        let wanted = {
            let queue = self.queue();
            queue.left + queue.waiting.len() as u64
        };
        loop {
            let passed = self.passed.notified();
            if self.queue().left >= wanted {
                return;
            }
            passed.await;
        }
    }

    /// Whether [`Intake::close`] was called.
    pub(super) fn is_closed(&self) -> bool {
        self.queue().closed
    }

    fn pass_on(&self, queue: &mut Queue) -> Vec<Settled> {
        let mut all = Vec::new();
        loop {
            let admitted = queue.admit(self.max_bytes);
            if admitted.is_empty() {
                return all;
            }
            let streams: Vec<Box<str>> = admitted.iter().map(|append| append.stream.clone()).collect();
            let settled = self.pass(queue, admitted);
            if let Some(tell) = self.passed_late.get() {
                streams.iter().for_each(|stream| tell(stream));
            }
            // Last: who finds it clear relies on versions that count all that has passed.
            self.congested.store(!queue.waiting.is_empty(), Ordering::SeqCst);
            match all.is_empty() {
                true => all = settled,
                false => all.extend(settled),
            }
        }
    }

    fn pass(&self, queue: &mut Queue, admitted: Vec<Append>) -> Vec<Settled> {
        let settled = match self.backend.get().and_then(Weak::upgrade) {
            Some(backend) => backend.submit(admitted),
            None => admitted.into_iter().map(|append| append.settled(Err(Error::closed()))).collect(),
        };
        queue.release(&settled);
        settled
    }

    /// Brings outcomes to those who wait; returns those that have a ticket.
    fn deliver(&self, settled: Vec<Settled>) -> Outcomes {
        let mut outcomes = Vec::with_capacity(settled.len());
        let mut appended = 0;
        for Settled { completion, result, after, .. } in settled {
            if let Some(after) = after {
                after.run(result.is_ok());
            }
            appended += match &result {
                Ok(Receipt::One(_)) => 1,
                Ok(Receipt::Batch(ids)) => ids.len() as u64,
                _ => 0,
            };
            match completion {
                Completion::Ticket(ticket) => outcomes.push((ticket, result)),
                // Nobody waits any more: the event is stored all the same.
                Completion::Channel(waiting) => drop(waiting.send(result)),
            }
        }
        self.appended.fetch_add(appended, Ordering::Relaxed);
        outcomes
    }

    fn hand_out(&self, settled: Vec<Settled>) {
        let outcomes = self.deliver(settled);
        if !outcomes.is_empty() {
            (self.outlet)(outcomes);
        }
    }

    fn watch_deadlines(self: &Arc<Self>) {
        let weak = Arc::downgrade(self);
        let Ok(io) = io::handle() else { return };
        io.spawn(async move {
            loop {
                tokio::time::sleep(TICK).await;
                match weak.upgrade() {
                    Some(intake) if intake.expire() => {}
                    _ => return,
                }
            }
        });
    }

    /// Ends what has waited past its deadline. False: nobody waits any more.
    fn expire(&self) -> bool {
        let now = monotonic();
        let mut late = Vec::new();
        let mut queue = self.queue();
        while queue.waiting.front().is_some_and(|append| append.deadline <= now) {
            late.extend(queue.waiting.pop_front());
        }
        queue.left += late.len() as u64;
        let go_on = !queue.waiting.is_empty();
        queue.watched = go_on;
        self.congested.store(go_on, Ordering::SeqCst);
        let emptied = queue.is_empty();
        drop(queue);
        let message = "The event was not stored: too much is on its way to the backend already. Append less at a time, or raise limits.maxQueuedBytes.";
        let late = late.into_iter().map(|append| append.settled(Err(Error::new(Code::Timeout, message))));
        self.hand_out(late.collect());
        self.passed.notify_waiters();
        if emptied {
            self.emptied.notify_waiters();
        }
        go_on
    }

    /// A lock is poisoned only by a panic; the queue is whole at every step.
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Settle for Intake {
    fn settle(&self, mut settled: Vec<Settled>) {
        // Before anything is released: whoever closes the store then finds it done.
        for append in &mut settled {
            if let Some(after) = append.after.take() {
                after.run(append.result.is_ok());
            }
        }
        let mut queue = self.queue();
        queue.release(&settled);
        let at_once = self.pass_on(&mut queue);
        let emptied = queue.is_empty();
        drop(queue);
        self.passed.notify_waiters();
        self.hand_out(settled);
        self.hand_out(at_once);
        if emptied {
            self.emptied.notify_waiters();
        }
    }
}
