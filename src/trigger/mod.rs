//! Triggers: what starts runs and lets those go on that wait.
//!
//! Every instance follows the stream `{prefix}:triggers` and folds it into the same board: which triggers there
//! are, who subscribes to them, what is awaited where. Each trigger has a stream of its own, `{prefix}:trigger:{name}`,
//! with its firings. Whoever fires something records that there first, then starts runs, whose ids derive from the
//! firing, and ends the awaits of that name, then records that it is done; what someone began and did not finish is
//! finished by another.

mod board;
mod definition;
mod firing;
mod gate;
mod history;
mod ledger;
mod recorded;
mod registry;
mod schedule;
mod starts;
mod unfinished;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use uuid::{ContextV7, Uuid};

use self::board::{Board, News, news};
pub use self::board::{Mode, PendingStart, RegisteredTrigger, Subscriber};
pub use self::definition::{Deduplicate, Endpoint, RateLimit, Scope, TriggerConfig, TriggerDefinition, TriggerType};
pub use self::firing::{FireRequest, Outcome};
use self::gate::Gates;
pub use self::history::{FiringRecord, FiringStatus, StartedRun, Stats};
pub use self::ledger::DeliveryRecord;
use self::ledger::Rejections;
pub use self::registry::Subscription as FlowSubscription;
use self::schedule::Agenda;
use crate::backend::Selector;
use crate::error::{Code, Error, Result};
use crate::event::{EventId, Events};
use crate::flow::{AwaitRequest, AwaitState, Fired, Firing, FlowEngine, Job};
use crate::run::{AwaitPhase, ends_by_name};
use crate::store::{Compact, Delivery, Query, Subscription, snapshot_state};

/// From how many events on the stream is compacted, if it is mostly about what is over.
const COMPACT_FROM: u64 = 4_000;

/// How far the clocks of instances may differ, in milliseconds.
const SKEW_MS: u64 = 10 * 60_000;

/// The pause before a deadline is acted on again that could not be acted on.
const TRY_AGAIN_MS: u64 = 1_000;

/// Fires triggers, and sees to the deadlines of awaits. Clones share what they know.
#[derive(Clone)]
pub struct TriggerEngine {
    flows: FlowEngine,
    known: Arc<Mutex<Known>>,
    gates: Arc<Gates>,
    rejections: Arc<Rejections>,
    ids: Arc<Mutex<ContextV7>>,
    /// One reads the stream at a time.
    reading: Arc<tokio::sync::Mutex<()>>,
    following: Arc<tokio::sync::Mutex<Option<Subscription>>>,
}

#[derive(Default)]
struct Known {
    board: Board,
    agenda: Agenda,
    /// The last event that is in the board.
    last: EventId,
}

impl Known {
    fn replace(&mut self, mut board: Board) {
        board.registry.follow(&self.board.registry);
        self.board = board;
        self.agenda.replace(&self.board);
    }

    /// The agenda follows what has changed.
    fn follow_schedules(&mut self) {
        for name in self.board.schedules.take_changed() {
            self.agenda.follow(&name, &self.board);
        }
    }

    fn next_deadline(&self) -> Option<u64> {
        self.board.next_deadline().into_iter().chain(self.agenda.next_due()).min()
    }
}

/// Whether the same would be refused again.
fn is_final(error: &Error) -> bool {
    matches!(error.code(), Code::TooLarge | Code::InvalidEvent | Code::Validation)
}

/// Whether it is one run's trouble, and not that of all.
fn is_of_one_run(error: &Error) -> bool {
    matches!(error.code(), Code::Corrupt | Code::Backend | Code::Conflict | Code::Trimmed)
}

/// What is to be executed, and for which runs.
#[derive(Debug, Clone, Default)]
pub struct Due {
    /// What is to be executed.
    pub jobs: Vec<Job>,
    /// The runs that were looked at.
    pub run_ids: Vec<String>,
    /// The triggers that fired or were skipped, and what became of it.
    pub fired: Vec<(String, FiringStatus)>,
    /// The next deadline, in milliseconds since the Unix epoch.
    pub next_ms: Option<u64>,
    /// More is due already.
    pub is_more: bool,
}

impl Due {
    fn extend(&mut self, name: &str, outcome: Outcome) {
        if outcome.status != FiringStatus::Fired {
            self.fired.push((name.to_owned(), outcome.status));
        }
        self.jobs.extend(outcome.jobs);
        self.run_ids.extend(outcome.runs.into_iter().map(|run| run.run_id));
        self.run_ids.extend(outcome.run_ids);
    }
}

/// What others did that matters to those who wait in this process.
#[derive(Debug, Clone, Default)]
pub struct Digest {
    /// Run and id of awaits for which something came.
    pub woken: Vec<(String, String)>,
    /// Runs that failed or were canceled.
    pub ended: Vec<String>,
    /// The next deadline, in milliseconds since the Unix epoch.
    pub next_ms: Option<u64>,
}

impl TriggerEngine {
    /// The engine over that of flows.
    pub fn new(flows: FlowEngine) -> Self {
        TriggerEngine {
            flows,
            known: Arc::default(),
            gates: Arc::default(),
            rejections: Arc::default(),
            ids: Arc::new(Mutex::new(ContextV7::new())),
            reading: Arc::default(),
            following: Arc::default(),
        }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The earliest instant at which something is due, as far as is known to this engine.
    pub fn next_deadline(&self) -> Option<u64> {
        self.known().next_deadline()
    }

    /// How many awaits are open, as far as is known to this engine.
    pub fn open_awaits(&self) -> usize {
        self.known().board.open_awaits()
    }

    /// Takes what was read of the stream; what is known already is passed over.
    fn take(&self, events: &Events) {
        let mut known = self.known();
        for event in events.iter().filter(|event| event.id > known.last).collect::<Vec<_>>() {
            match snapshot_state(event).filter(|_| event.event_type == Board::SNAPSHOT) {
                // What it stands for is in the board already, unless it was trimmed before it was read.
                Some((up_to, state)) => {
                    if up_to > known.last
                        && let Some(board) = Board::from_json(state)
                    {
                        known.replace(board);
                    }
                    known.board.taken = 0;
                }
                None => known.board.apply(event),
            }
            known.last = event.id;
        }
        known.follow_schedules();
    }

    /// Reads the stream up to its end.
    async fn catch_up(&self) -> Result<()> {
        let _turn = self.reading.lock().await;
        let after = self.known().last;
        let stream = self.flows.triggers();
        let query = Query { after: (after > EventId::MIN).then_some(after), ..Query::stream(&*stream) };
        match self.flows.store().query(query).await {
            Ok(events) => self.take(&events),
            Err(error) if error.code() == Code::Trimmed => {
                let (board, last) = self.flows.store().fold::<Board>(&stream).await?;
                let mut known = self.known();
                known.replace(board);
                known.last = last;
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// Begins an await, or finds its record; then what was fired before it counts.
    ///
    /// # Errors
    /// As [`FlowEngine::open_await`].
    pub async fn open_await(&self, request: &AwaitRequest) -> Result<AwaitState> {
        // Also if it was begun before: whoever began it may have died before it looked back.
        let (state, _) = self.flows.open_await(request).await?;
        if !ends_by_name(&request.kind) || state.state != AwaitPhase::Open {
            return Ok(state);
        }
        self.catch_up().await?;
        let since = match request.since {
            Some(since) => since,
            None => self.flows.began_at(&request.run_id).await?.previous().unwrap_or(EventId::MIN),
        };
        let past = self.known().board.fired_since(&request.name, since);
        if past.is_empty() {
            return Ok(state);
        }
        // One that ended the await before this one does not end this one, too.
        let used = self.flows.used_by_earlier(request).await?;
        let past = match past.iter().position(|fired| used.as_deref() == Some(&fired.fire_id)) {
            Some(at) => &past[at + 1..],
            None => &past[..],
        };
        for fired in past {
            // A payload that isn't kept can't be had later.
            let Some(recorded) = self.recorded(&fired.name, fired.at).await? else { continue };
            let firing = Firing { id: &fired.fire_id, payload: recorded.payload.as_deref() };
            let fired = self.flows.fire_await(&request.run_id, &state.await_id, firing, false).await?;
            if matches!(fired, Fired::Taken { is_settled: true, .. }) {
                break;
            }
        }
        self.flows.await_state(&request.run_id, &state.await_id).await
    }

    /// Sees to all deadlines that have passed, in their order.
    ///
    /// # Errors
    /// Those of reading and appending; what was not seen to is seen to the next time.
    pub async fn fire_due(&self) -> Result<Due> {
        self.catch_up().await?;
        let mut result = Due::default();
        let mut failed = false;
        let due = self.known().board.due(self.flows.store().now_ms());
        for (_, (run_id, await_id)) in due {
            self.flows.owe(&run_id).await?;
            result.run_ids.push(run_id.to_string());
            match self.flows.expire_await(&run_id, &await_id).await {
                // The deadlines of others must not wait for it.
                Err(error) if is_final(&error) || is_of_one_run(&error) => {
                    tracing::warn!(%run_id, %await_id, %error, "a deadline could not be acted on; this is tried again");
                    failed = true;
                }
                expired => result.jobs.extend(expired?),
            }
        }
        let quiet = self.known().board.quiet(self.flows.store().now_ms());
        for name in quiet {
            let released = self.release(&name).await?;
            result.extend(&name, released);
        }
        result.is_more = self.fire_schedules(&mut result).await?;
        self.catch_up().await?;
        result.next_ms = match failed {
            true => Some(self.flows.store().now_ms() + TRY_AGAIN_MS),
            false => self.next_deadline(),
        };
        self.compact_if_long().await;
        Ok(result)
    }

    /// Ends an await with a payload (JSON text), or hands it to the handler that judges it. `None`: it was
    /// over before.
    ///
    /// # Errors
    /// `NotFound` for an unknown run, and those of appending.
    pub async fn resolve_await(&self, run_id: &str, await_id: &str, payload: Option<&str>) -> Result<Option<Vec<Job>>> {
        self.flows.owe(run_id).await?;
        let id = Uuid::new_v4().to_string();
        self.compact_if_long().await;
        match self.flows.fire_await(run_id, await_id, Firing { id: &id, payload }, true).await? {
            Fired::Taken { job, .. } | Fired::Known(job) => Ok(Some(job.into_iter().collect())),
            Fired::Late => Ok(None),
            Fired::Unknown => {
                // An unknown run is an error of the caller.
                self.flows.awaits(run_id).await?;
                Ok(None)
            }
        }
    }

    /// Waits until others did something that matters here. `None`: the store was closed.
    ///
    /// # Errors
    /// Those of reading; call again.
    pub async fn follow(&self) -> Result<Option<Digest>> {
        let mut following = self.following.lock().await;
        if following.is_none() {
            self.catch_up().await?;
            let after = self.known().last;
            let selector = Selector::Stream(self.flows.triggers().into());
            *following = Some(self.flows.store().subscribe(selector, Some(after)).await?);
        }
        let Some(subscription) = following.as_mut() else { return Ok(None) };
        let delivery = subscription.next().await;
        if delivery.is_err() {
            // It begins anew, behind what is known then.
            *following = None;
        }
        match delivery? {
            Delivery::Closed => Ok(None),
            Delivery::CaughtUp => Ok(Some(Digest { next_ms: self.next_deadline(), ..Digest::default() })),
            Delivery::Events(events) => {
                self.take(&events);
                let mut digest = Digest { next_ms: self.next_deadline(), ..Digest::default() };
                for news in events.iter().filter_map(news) {
                    match news {
                        News::Woken(run_id, await_id) => digest.woken.push((run_id, await_id)),
                        News::Ended(run_id) => digest.ended.push(run_id),
                    }
                }
                Ok(Some(digest))
            }
        }
    }

    /// Keeps the stream short. What fails here is tried again the next time.
    async fn compact_if_long(&self) {
        let is_long = {
            let known = self.known();
            !known.board.has_others && known.board.taken > COMPACT_FROM.max(2 * known.board.len() as u64)
        };
        if !is_long {
            return;
        }
        let stream = self.flows.triggers();
        let compacted = async {
            self.flows.store().compact::<Board>(&stream).await?;
            self.catch_up().await
        };
        if let Err(error) = compacted.await {
            tracing::debug!(stream, %error, "not compacted");
        }
    }
}
