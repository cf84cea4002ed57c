//! One connection that carries everything in one order, and comes back by itself.
//!
//! Appends and reads share the connection, so a read sees every append that was submitted before
//! it. What has gathered while the task was busy goes out as one pipeline; what one read from the
//! socket brings is settled in one go.

use std::collections::{HashSet, VecDeque};
use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot, watch};

use super::cluster::Redirect;
use super::connection::{Connection, Identity, lost};
use super::entry::write_xadd;
use super::home::Home;
use super::options::{Address, RedisOptions};
use super::recovery::{Found, Unanswered, recover};
use super::session::Session;
use super::tracking::Tracking;
use super::wire::{command, refusal};
use super::{Eids, script};
use crate::backend::{Append, Receipt, Settled, Upwards};
use crate::clock::{Clock, monotonic};
use crate::error::{Code, Error, Result};
use crate::event::{EventId, format_time};
use crate::io::Task;

/// How exactly deadlines are kept.
pub(super) const TICK: Duration = Duration::from_millis(25);
/// Waiting times between attempts to connect.
pub(super) const BACKOFF: [u64; 7] = [20, 50, 100, 200, 400, 800, 1000];

pub(super) enum Request {
    Appends(Vec<Append>),
    Command(Command),
    /// One append or command for a slot that is just coming to this node.
    Asking(Box<Request>),
    /// Tells the cluster when everything before it has been answered.
    Fence(u16),
}

impl Request {
    pub(super) fn into_appends(self) -> Option<Vec<Append>> {
        match self {
            Request::Appends(appends) => Some(appends),
            Request::Asking(request) => request.into_appends(),
            Request::Command(_) | Request::Fence(_) => None,
        }
    }
}

/// A command that is answered to one caller.
pub(super) struct Command {
    pub(super) bytes: Vec<u8>,
    /// It may be sent again when the connection was lost before the answer came.
    pub(super) repeatable: bool,
    pub(super) deadline: Instant,
    /// The slot of its key, in a cluster.
    pub(super) slot: Option<u16>,
    /// The serial number of the append before it, in a cluster.
    pub(super) order: u64,
    pub(super) reply: oneshot::Sender<Result<Vec<u8>>>,
}

/// How an attempt to connect went.
pub(super) type Status = Option<Result<()>>;

/// What the link needs to know.
#[derive(Clone)]
pub(super) struct Setup {
    pub(super) options: RedisOptions,
    pub(super) home: Home,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) eids: Eids,
    pub(super) upwards: Upwards,
    pub(super) tracking: Arc<Tracking>,
    /// The beginning of the channels' names.
    pub(super) channels: String,
    pub(super) pipelines: Arc<AtomicU64>,
}

/// The handle; the work is done by a task that ends with it.
pub(super) struct Link {
    requests: mpsc::UnboundedSender<Request>,
    status: watch::Receiver<Status>,
    task: Task,
}

impl Link {
    pub(super) fn start(setup: Setup) -> Result<Link> {
        let (requests, incoming) = mpsc::unbounded_channel();
        let (status_sender, status) = watch::channel(None);
        let driver = Driver {
            incoming,
            status: status_sender,
            server: setup.options.address.clone(),
            waiting: VecDeque::new(),
            sent: VecDeque::new(),
            settled: Vec::new(),
            sent_back: HashSet::new(),
            setup,
        };
        Ok(Link { requests, status, task: Task::spawn(driver.run())? })
    }

    /// Hands a request over; gives it back if the link has ended.
    pub(super) fn send(&self, request: Request) -> Result<(), Request> {
        self.requests.send(request).map_err(|error| error.0)
    }

    /// Ends the connection. Whoever still waits is told that it was closed.
    pub(super) fn close(&self) {
        self.task.end();
    }

    /// Whether there is a connection at the moment.
    pub(super) fn is_connected(&self) -> bool {
        matches!(*self.status.borrow(), Some(Ok(())))
    }

    /// The outcome of the last attempt to connect, once there is one.
    pub(super) fn connected(&self) -> impl Future<Output = Result<()>> + Send + use<> {
        let mut status = self.status.clone();
        async move {
            let outcome = status.wait_for(Option::is_some).await.map_err(|_| Error::closed())?.clone();
            outcome.unwrap_or(Ok(()))
        }
    }
}

/// What was sent and is not answered, in the order of the answers.
pub(super) enum Slot {
    Append {
        append: Append,
        scripted: bool,
        sent: Instant,
    },
    /// Its answer is of no use to anyone: its deadline passed, or it only shows that the server is
    /// there. An append may be stored all the same.
    Abandoned(Option<Unanswered>),
    Command(Command),
    Announcement(Announcement),
    /// Everything about this slot that was sent before has been answered.
    Fence(u16),
}

impl Slot {
    /// The same, known not to have been executed.
    fn repeatable(self) -> Slot {
        match self {
            Slot::Command(command) => Slot::Command(Command { repeatable: true, ..command }),
            slot => slot,
        }
    }
}

/// An event that others are still to be told of.
pub(super) struct Announcement {
    pub(super) stream: Box<str>,
    pub(super) id: EventId,
}

pub(super) struct Driver {
    pub(super) setup: Setup,
    incoming: mpsc::UnboundedReceiver<Request>,
    status: watch::Sender<Status>,
    /// Where the connection leads to.
    server: Address,
    /// Taken over, not sent.
    waiting: VecDeque<Request>,
    sent: VecDeque<Slot>,
    /// Outcomes of this turn, to be handed over together.
    settled: Vec<Settled>,
    /// Streams with appends that were sent back to the cluster, while later ones may still be under way.
    sent_back: HashSet<Box<str>>,
}

impl Driver {
    async fn run(mut self) {
        let mut previous: Option<Identity> = None;
        let mut since_ms = 0;
        loop {
            let unanswered = self.unanswered();
            let Some((connection, found)) = self.reconnect(previous.take(), unanswered, since_ms).await else { return };
            self.status.send_replace(Some(Ok(())));
            previous = Some(connection.identity.clone());
            self.server = connection.address.clone();
            let mut session = Session::new(connection);
            let announcements = self.resume(&found);
            session.announce(&mut self, announcements);
            let ended = poll_fn(|context| self.poll(&mut session, context)).await;
            self.hand_over();
            let Err(error) = ended else { return };
            tracing::warn!(server = %self.server, %error, "connection lost; connecting again");
            self.setup.tracking.end(&*self.setup.upwards.invalidate);
            self.status.send_replace(None);
            since_ms = self.oldest_sent().map_or(0, |moment| session.connection.server_ms_at(moment));
        }
    }

    /// Connects until it works, keeping deadlines meanwhile. `None`: nobody needs the link any more.
    async fn reconnect(
        &mut self,
        previous: Option<Identity>,
        unanswered: Vec<Unanswered>,
        since_ms: u64,
    ) -> Option<(Connection, Found)> {
        let (options, eids, status) = (self.setup.options.clone(), self.setup.eids.clone(), self.status.clone());
        let (home, tracking) = (self.setup.home.clone(), self.setup.tracking.clone());
        let mut connecting = pin!(async move {
            let mut pauses = BACKOFF.iter();
            let mut pause = 0;
            loop {
                let recovered = async {
                    let previous = previous.as_ref();
                    let mut recovered = recover(&options, &home, &eids, previous, &unanswered, since_ms).await?;
                    tracking.begin(&mut recovered.0, &options).await?;
                    Ok(recovered)
                };
                match recovered.await {
                    Ok(recovered) => {
                        match previous.is_some() {
                            true => tracing::info!(server = %recovered.0.address, "connected again"),
                            false => tracing::debug!(server = %recovered.0.address, "connected"),
                        }
                        return recovered;
                    }
                    Err(error) => {
                        tracing::debug!(server = %options, %error, "not connected; trying again");
                        status.send_replace(Some(Err(error)));
                    }
                };
                pause = pauses.next().copied().unwrap_or(pause);
                tokio::time::sleep(Duration::from_millis(pause)).await;
            }
        });
        // Not a new sleep each turn: it would never end while requests keep coming.
        let mut ticks = tokio::time::interval(TICK);
        loop {
            tokio::select! {
                recovered = &mut connecting => return Some(recovered),
                request = self.incoming.recv() => self.waiting.push_back(request?),
                _ = ticks.tick() => self.expire(),
            }
        }
    }

    /// The appends whose fate is unknown.
    fn unanswered(&self) -> Vec<Unanswered> {
        let appends = self.sent.iter().filter_map(|slot| match slot {
            Slot::Append { append, .. } => Some(Unanswered::new(append)),
            Slot::Abandoned(append) => append.clone(),
            _ => None,
        });
        appends.collect()
    }

    fn oldest_sent(&self) -> Option<Instant> {
        self.sent.iter().find_map(|slot| match slot {
            Slot::Append { sent, .. } => Some(*sent),
            _ => None,
        })
    }

    /// Settles what turned out to be stored; everything else will go out again in its old order.
    /// Returns what is still to be announced.
    fn resume(&mut self, found: &Found) -> Vec<Announcement> {
        let mut again = VecDeque::new();
        let mut announcements = Vec::new();
        for slot in std::mem::take(&mut self.sent) {
            match slot {
                Slot::Append { append, .. } => match found.ids(append.serial, append.events.len()) {
                    Some(ids) => self.stored(append, Receipt::stored(ids), &mut announcements),
                    None => again.push_back(Request::Appends(vec![append])),
                },
                Slot::Command(command) if command.repeatable => again.push_back(Request::Command(command)),
                Slot::Command(command) => drop(command.reply.send(Err(lost_on_the_way()))),
                Slot::Announcement(announcement) => announcements.push(announcement),
                Slot::Fence(slot) => again.push_back(Request::Fence(slot)),
                Slot::Abandoned(_) => {}
            }
        }
        again.append(&mut self.waiting);
        self.waiting = again;
        self.hand_over();
        announcements
    }

    /// One turn: write what has come, read what is there, settle it, keep the deadlines.
    fn poll(&mut self, session: &mut Session, context: &mut Context<'_>) -> Poll<Result<()>> {
        loop {
            let open = self.take_requests(session, context);
            session.poll_write(context)?;
            let progressed = session.poll_read(self, context)?;
            // Announcements leave before anyone hears of the appends: the process may end then.
            session.poll_write(context)?;
            self.hand_over();
            if !open && self.is_idle() {
                return Poll::Ready(Ok(()));
            }
            if !progressed {
                break;
            }
        }
        while !self.is_idle() {
            if session.poll_tick(context).is_pending() {
                return Poll::Pending;
            }
            self.expire();
            session.check_silence(self.setup.options.silence_timeout)?;
        }
        // Nobody needs to be woken while silence is not relied on.
        if session.poll_heartbeat(context).is_ready() && self.setup.tracking.was_relied_on() {
            session.output.extend_from_slice(&command([b"PING"]));
            self.push(session, Slot::Abandoned(None));
            context.waker().wake_by_ref();
        }
        Poll::Pending
    }

    fn is_idle(&self) -> bool {
        self.sent.is_empty() && self.waiting.is_empty()
    }

    /// Takes over what has come and writes it into one pipeline. False: nothing will come any more.
    fn take_requests(&mut self, session: &mut Session, context: &mut Context<'_>) -> bool {
        let mut appends = 0;
        let open = loop {
            let request = match self.waiting.pop_front() {
                Some(request) => request,
                None => match self.incoming.poll_recv(context) {
                    Poll::Ready(Some(request)) => request,
                    Poll::Ready(None) => break false,
                    Poll::Pending => break true,
                },
            };
            appends += self.write(session, request);
        };
        if appends > 0 {
            self.setup.pipelines.fetch_add(1, Ordering::Relaxed);
        }
        open
    }

    /// Writes a request; returns how many appends it held.
    fn write(&mut self, session: &mut Session, request: Request) -> usize {
        match request {
            Request::Command(command) => {
                // A caller who has gone away needs no answer.
                if !command.reply.is_closed() {
                    session.output.extend_from_slice(&command.bytes);
                    self.push(session, Slot::Command(command));
                }
                0
            }
            Request::Appends(appends) => {
                let now = monotonic();
                let ts = format_time(self.setup.clock.now_ms());
                let count = appends.len();
                appends.into_iter().for_each(|append| self.write_append(session, append, &ts, now));
                count
            }
            Request::Asking(request) => {
                session.output.extend_from_slice(&command([b"ASKING"]));
                self.push(session, Slot::Abandoned(None));
                self.write(session, *request)
            }
            Request::Fence(slot) => {
                session.output.extend_from_slice(&command([b"PING"]));
                self.push(session, Slot::Fence(slot));
                0
            }
        }
    }

    fn write_append(&mut self, session: &mut Session, append: Append, ts: &str, now: Instant) {
        let eids = &self.setup.eids;
        let scripted = script::is_needed(&append);
        match append.events.first() {
            Some(event) if !scripted => {
                write_xadd(&mut session.output, &append.stream, event, ts, &eids.text(append.serial));
            }
            _ => script::write_append(&mut session.output, &append, ts, |n| eids.text(append.serial + n as u64)),
        }
        self.push(session, Slot::Append { append, scripted, sent: now });
    }

    pub(super) fn push(&mut self, session: &mut Session, slot: Slot) {
        if self.sent.is_empty() {
            session.listen();
        }
        self.sent.push_back(slot);
    }

    /// Takes one answer.
    pub(super) fn answer(&mut self, frame: &[u8], announcements: &mut Vec<Announcement>) -> Result<()> {
        let slot = self.sent.pop_front();
        let slot = match frame.first() {
            Some(b'-') if self.setup.home.has_successors() => self.send_back(slot, frame)?,
            _ => slot,
        };
        match slot {
            None => return Err(lost("an answer came to no question")),
            Some(Slot::Abandoned(_) | Slot::Announcement(_)) => {}
            Some(Slot::Fence(slot)) => self.passed(slot),
            Some(Slot::Command(command)) => {
                let _ = command.reply.send(refusal(frame).map_or_else(|| Ok(frame.to_vec()), Err));
            }
            Some(Slot::Append { append, scripted, .. }) => {
                let result = match scripted {
                    true => script::read_receipt(frame, &append),
                    false => read_id(frame).map(Receipt::One),
                };
                match result {
                    Ok(receipt) => self.stored(append, receipt, announcements),
                    Err(error) => self.settle(append, Err(error)),
                }
            }
        }
        Ok(())
    }

    /// Gives what this server does not do (any more) back to who knows where it is to go. Returns what was answered
    /// all the same.
    fn send_back(&mut self, slot: Option<Slot>, frame: &[u8]) -> Result<Option<Slot>> {
        if frame.starts_with(b"-READONLY") {
            // Nothing behind it was executed either: it all goes to whoever has taken over.
            if let Some(slot) = slot {
                self.sent.push_front(slot.repeatable());
            }
            return Err(lost("it has become a replica"));
        }
        let Home::Lane(lane) = &self.setup.home else { return Ok(slot) };
        let Some(redirect) = Redirect::read(frame, &self.server) else { return Ok(slot) };
        let (request, stream) = match slot {
            Some(Slot::Append { append, .. }) => {
                let stream = append.stream.clone();
                (Request::Appends(vec![append]), Some(stream))
            }
            Some(Slot::Command(command)) if command.slot.is_some() => (Request::Command(command), None),
            other => return Ok(other),
        };
        if !matches!(redirect, Redirect::Ask(_)) {
            self.sent_back.extend(stream);
        }
        if let Err(request) = lane.clone().send_back(request, redirect) {
            let appends = request.into_appends().into_iter().flatten();
            appends.for_each(|append| self.settle(append, Err(Error::closed())));
        }
        Ok(Some(Slot::Abandoned(None)))
    }

    /// Nothing of this slot is under way any more.
    fn passed(&mut self, slot: u16) {
        if let Home::Lane(lane) = &self.setup.home {
            lane.passed(slot);
        }
        if !self.sent.iter().any(|slot| matches!(slot, Slot::Fence(_))) {
            self.sent_back.clear();
        }
    }

    fn stored(&mut self, mut append: Append, receipt: Receipt, announcements: &mut Vec<Announcement>) {
        let stream = std::mem::take(&mut append.stream);
        if !self.sent_back.is_empty()
            && self.sent_back.contains(&stream)
            && let Home::Lane(lane) = &self.setup.home
        {
            self.settled.extend(lane.overtaken(&stream, append.serial));
        }
        match &receipt {
            Receipt::One(id) => announcements.push(Announcement { stream, id: *id }),
            Receipt::Batch(ids) => {
                announcements.extend(ids.iter().map(|id| Announcement { stream: stream.clone(), id: *id }));
            }
            Receipt::Repeated(_) => {}
        }
        self.settle(append, Ok(receipt));
    }

    fn settle(&mut self, append: Append, result: Result<Receipt>) {
        self.settled.push(append.settled(result));
    }

    fn hand_over(&mut self) {
        if !self.settled.is_empty() {
            self.setup.upwards.settle.settle(std::mem::take(&mut self.settled));
        }
    }

    /// Ends what is past its deadline.
    fn expire(&mut self) {
        let now = monotonic();
        for at in 0..self.sent.len() {
            let abandoned = match &self.sent[at] {
                Slot::Append { append, .. } if append.deadline <= now => Slot::Abandoned(Some(Unanswered::new(append))),
                Slot::Command(command) if command.deadline <= now => Slot::Abandoned(None),
                _ => continue,
            };
            match std::mem::replace(&mut self.sent[at], abandoned) {
                Slot::Append { append, .. } => self.settle(append, Err(outcome_unknown())),
                Slot::Command(command) => drop(command.reply.send(Err(self.not_sent("There was no answer in time.")))),
                Slot::Abandoned(_) | Slot::Announcement(_) | Slot::Fence(_) => {}
            }
        }
        for request in std::mem::take(&mut self.waiting) {
            // It is asked where it belongs when it is sent.
            let request = if let Request::Asking(request) = request { *request } else { request };
            match request {
                Request::Command(command) if command.deadline <= now => {
                    let _ = command.reply.send(Err(self.not_sent("The command was not sent in time.")));
                }
                Request::Appends(appends) => {
                    let (late, rest): (Vec<_>, Vec<_>) = appends.into_iter().partition(|append| append.deadline <= now);
                    late.into_iter()
                        .for_each(|append| self.settle(append, Err(self.not_sent("The event was not stored."))));
                    if !rest.is_empty() {
                        self.waiting.push_back(Request::Appends(rest));
                    }
                }
                request => self.waiting.push_back(request),
            }
        }
        self.hand_over();
    }

    fn not_sent(&self, consequence: &str) -> Error {
        match &*self.status.borrow() {
            Some(Err(error)) => {
                let unavailable = Error::new(error.code(), format!("{consequence} {}", error.message()));
                error.cause().map_or(unavailable.clone(), |cause| unavailable.caused_by(cause))
            }
            _ => Error::new(Code::Timeout, format!("{consequence} Redis at {} is too slow.", self.setup.options)),
        }
    }
}

/// However the task ends, each append has an outcome.
impl Drop for Driver {
    fn drop(&mut self) {
        for slot in std::mem::take(&mut self.sent) {
            if let Slot::Append { append, .. } = slot {
                self.settle(append, Err(Error::closed()));
            }
        }
        let incoming = std::iter::from_fn(|| self.incoming.try_recv().ok());
        let waiting: Vec<Request> = self.waiting.drain(..).chain(incoming).collect();
        for append in waiting.into_iter().filter_map(Request::into_appends).flatten() {
            self.settle(append, Err(Error::closed()));
        }
        self.hand_over();
    }
}

fn outcome_unknown() -> Error {
    let message = "Redis did not acknowledge the event in time; it may or may not have been stored. \
                   Read the stream to find out, or append it again with an idempotencyKey.";
    Error::new(Code::Timeout, message)
}

/// Done twice, a deletion would take what was stored after it.
fn lost_on_the_way() -> Error {
    let message = "The connection to Redis was lost during the deletion, which may or may not have happened; look, and delete again if need be.";
    Error::new(Code::Unavailable, message)
}

/// The id that an XADD answered.
fn read_id(frame: &[u8]) -> Result<EventId> {
    if let Some(refusal) = refusal(frame) {
        return Err(refusal);
    }
    let text = frame.split(|byte| *byte == b'\r').nth(1).and_then(|text| text.strip_prefix(b"\n"));
    text.and_then(EventId::from_bytes).ok_or_else(super::wire::not_redis)
}
