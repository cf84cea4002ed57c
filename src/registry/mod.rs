//! The registry: which instances there are, what they offer, and whether they are alive.
//!
//! Every instance says in the stream `{prefix}:registry` what it offers, and gives a sign of life every few seconds;
//! all of them fold the same stream. Nothing is recorded of who is dead: that is a matter of time, and judged by the
//! store's clock, which all instances share.
//!
//! ```
//! use nuxt_queue_core::registry::{RegistryEngine, RegistryOptions, WorkerOffer};
//! use nuxt_queue_core::{EventStore, StoreOptions};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> nuxt_queue_core::Result<()> {
//! let store = EventStore::open(StoreOptions::memory()).await?;
//! let registry = RegistryEngine::new(store, RegistryOptions::new("web-1"))?;
//! registry.register_worker("w", WorkerOffer { queue: "mail".into(), ..WorkerOffer::default() }).await?;
//! assert_eq!(registry.queue_handlers("mail").await?, ["web-1"]);
//! # Ok(())
//! # }
//! ```

mod board;
mod event;
mod heartbeat;
mod instance;
mod offer;
mod view;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use self::board::Board;
pub use self::heartbeat::Heartbeats;
pub use self::instance::{Instance, InstanceState, Role, StepOffer, WorkerOffer};
pub use self::view::{EntryView, FlowChoice, FlowView, InstanceView, Required, StepView, WorkerView};
use crate::backend::{Receipt, Selector};
use crate::error::{Code, Error, Result};
use crate::event::{EventId, Events, NewEvent};
use crate::store::{AppendOptions, Compact, Delivery, EventStore, Query, snapshot_state};
use crate::version::{StepVersion, Strategy};

/// From how many events on the stream is compacted, if it mostly holds signs of life.
const COMPACT_FROM: u64 = 500;

/// What an instance says of itself.
#[derive(Debug, Clone)]
pub struct RegistryOptions {
    /// Its id, unlike that of any other.
    pub instance_id: String,
    /// The version of its code.
    pub version: Option<String>,
    /// Which runs of other versions it takes.
    pub strategy: Strategy,
    /// The time between two signs of life, in milliseconds.
    pub heartbeat_interval_ms: u64,
    /// How long it may be silent before it counts as dead, in milliseconds; 0: for ever.
    pub heartbeat_timeout_ms: u64,
}

impl RegistryOptions {
    /// A sign of life each 10 seconds, and dead after 30.
    pub fn new(instance_id: impl Into<String>) -> Self {
        RegistryOptions {
            instance_id: instance_id.into(),
            version: None,
            strategy: Strategy::default(),
            heartbeat_interval_ms: 10_000,
            heartbeat_timeout_ms: 30_000,
        }
    }

    fn check(&self) -> Result<()> {
        let config = |error: Error| Error::new(Code::Config, format!("registry.version: {}", error.message()));
        StepVersion::parse(self.version.as_deref()).map_err(config)?;
        let (interval, timeout) = (self.heartbeat_interval_ms, self.heartbeat_timeout_ms);
        if interval == 0 {
            return Err(Error::new(Code::Config, "registry.heartbeatInterval is 0; expected at least 1 ms."));
        }
        if timeout != 0 && timeout <= interval {
            let message = format!(
                "registry.heartbeatTimeout ({timeout} ms) is not longer than registry.heartbeatInterval ({interval} ms): an instance would look dead between two heartbeats. Make it three times as long."
            );
            return Err(Error::new(Code::Config, message));
        }
        Ok(())
    }
}

/// Takes part for one instance, and answers for all of them. Clones share what they know.
#[derive(Clone)]
pub struct RegistryEngine {
    store: EventStore,
    own: Arc<Own>,
    known: Arc<Mutex<Known>>,
    /// One reads the stream at a time.
    reading: Arc<tokio::sync::Mutex<()>>,
    /// One writes about the instance at a time.
    writing: Arc<tokio::sync::Mutex<()>>,
}

/// The instance itself.
struct Own {
    options: RegistryOptions,
    /// What its workers offer, recorded or not yet.
    workers: Mutex<BTreeMap<String, WorkerOffer>>,
    is_draining: AtomicBool,
    is_closed: AtomicBool,
    /// When the event loop ran last, by the steady clock; `u64::MAX`: there is none.
    tick_ms: AtomicU64,
    /// The time between two runs of it that nobody wonders at.
    tick_every_ms: AtomicU64,
    was_blocked: AtomicBool,
}

#[derive(Default)]
struct Known {
    board: Board,
    /// The last event that is in the board.
    last: EventId,
    /// The present instant of the store's clock, as it was at an instant of the steady clock here.
    anchor: Option<(u64, u64)>,
}

impl Known {
    fn replace(&mut self, mut board: Board) {
        board.revision = self.board.revision + 1;
        self.board = board;
    }

    /// The present instant by the store's clock, as far as events tell.
    fn now_ms(&self, steady_ms: u64) -> u64 {
        self.anchor.map_or(0, |(at_ms, since_ms)| at_ms + steady_ms.saturating_sub(since_ms))
    }

    /// An event was stored at this instant, a moment ago at best.
    fn observe(&mut self, at_ms: u64, steady_ms: u64) {
        if at_ms > self.now_ms(steady_ms) || self.anchor.is_none() {
            self.anchor = Some((at_ms, steady_ms));
        }
    }
}

impl RegistryEngine {
    /// The engine of an instance. Nothing is recorded before it says something.
    ///
    /// # Errors
    /// `Config` for options that can't work.
    pub fn new(store: EventStore, options: RegistryOptions) -> Result<Self> {
        options.check()?;
        store.check_event(&event::started(&options)).map_err(|error| {
            Error::new(Code::Config, format!("registry.instanceId can't be recorded: {}", error.message()))
        })?;
        let own = Own {
            options,
            workers: Mutex::default(),
            is_draining: AtomicBool::new(false),
            is_closed: AtomicBool::new(false),
            tick_ms: AtomicU64::new(u64::MAX),
            tick_every_ms: AtomicU64::new(0),
            was_blocked: AtomicBool::new(false),
        };
        Ok(RegistryEngine {
            store,
            own: Arc::new(own),
            known: Arc::default(),
            reading: Arc::default(),
            writing: Arc::default(),
        })
    }

    /// The instance's id.
    pub fn instance_id(&self) -> &str {
        &self.own.options.instance_id
    }

    fn stream(&self) -> String {
        format!("{}:registry", self.store.prefix())
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes what was read of the stream; what is known already is passed over.
    fn take(&self, events: &Events) {
        let steady_ms = self.store.steady_ms();
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
        let at_ms = known.last.ms;
        known.observe(at_ms, steady_ms);
    }

    /// Reads the stream up to its end.
    async fn catch_up(&self) -> Result<()> {
        let _turn = self.reading.lock().await;
        let after = self.known().last;
        let stream = self.stream();
        let query = Query { after: (after > EventId::MIN).then_some(after), ..Query::stream(&*stream) };
        match self.store.query(query).await {
            // Whoever deleted the stream deleted what was known.
            Ok(events) if events.is_empty() && after > EventId::MIN => {
                if self.store.last_id(&stream).await?.is_none() {
                    let mut known = self.known();
                    known.replace(Board::default());
                    known.last = EventId::MIN;
                }
            }
            Ok(events) => self.take(&events),
            Err(error) if error.code() == Code::Trimmed => {
                let (board, last) = self.store.fold::<Board>(&stream).await?;
                let steady_ms = self.store.steady_ms();
                let mut known = self.known();
                known.replace(board);
                known.last = last;
                known.observe(last.ms, steady_ms);
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// Appends what the instance says; the store's clock is known afterwards.
    async fn say(&self, events: Vec<NewEvent>, options: AppendOptions) -> Result<()> {
        let id = match self.store.append_batch(&self.stream(), events, options).await? {
            Receipt::One(id) => Some(id),
            Receipt::Batch(ids) => ids.last().copied(),
            Receipt::Repeated(_) => None,
        };
        if let Some(id) = id {
            let steady_ms = self.store.steady_ms();
            self.known().anchor = Some((id.ms, steady_ms));
        }
        Ok(())
    }

    /// Asks the board as it is now.
    async fn ask<T>(&self, question: impl FnOnce(&Board, u64) -> T) -> Result<T> {
        self.catch_up().await?;
        let steady_ms = self.store.steady_ms();
        let known = self.known();
        Ok(question(&known.board, known.now_ms(steady_ms)))
    }

    /// All instances that are remembered, by id.
    ///
    /// # Errors
    /// Those of reading.
    pub async fn instances(&self) -> Result<Vec<InstanceView>> {
        self.ask(Board::instances).await
    }

    /// All workers of these, by instance and id.
    ///
    /// # Errors
    /// Those of reading.
    pub async fn workers(&self) -> Result<Vec<WorkerView>> {
        self.ask(Board::workers).await
    }

    /// The ids of the healthy instances.
    ///
    /// # Errors
    /// Those of reading.
    pub async fn healthy_instances(&self) -> Result<Vec<String>> {
        self.ask(Board::healthy).await
    }

    /// The ids of the healthy instances that take jobs from a queue.
    ///
    /// # Errors
    /// Those of reading.
    pub async fn queue_handlers(&self, queue: &str) -> Result<Vec<String>> {
        self.ask(|board, now_ms| board.handlers(queue, now_ms)).await
    }

    /// A flow as its steps are offered; `None`: nobody offers any in such a version.
    ///
    /// # Errors
    /// Those of reading.
    pub async fn flow(&self, name: &str, choice: &FlowChoice) -> Result<Option<FlowView>> {
        self.ask(|board, now_ms| board.flow(name, choice, now_ms)).await
    }

    /// What keeps a flow from running, in words, and the revision of the registry that this is about. Nothing: each of
    /// its steps, and each that is required, is taken by a healthy instance.
    ///
    /// # Errors
    /// Those of reading.
    pub async fn missing(&self, name: &str, required: &[Required]) -> Result<(Vec<String>, u64)> {
        self.ask(|board, now_ms| (board.missing(name, required, now_ms), board.revision)).await
    }

    /// Why nobody takes a step that is to run in a version, in words; `None`: somebody would.
    ///
    /// # Errors
    /// Those of reading.
    pub async fn unavailable(&self, flow_name: &str, step: &Required, version: Option<&str>) -> Result<Option<String>> {
        let version = StepVersion::read(version);
        self.ask(|board, now_ms| board.unavailable(flow_name, step, &version, now_ms)).await
    }

    /// Waits until the registry is another one than in a revision. False: the store was closed.
    ///
    /// # Errors
    /// Those of reading.
    pub async fn changed(&self, revision: u64) -> Result<bool> {
        self.catch_up().await?;
        let after = self.known().last;
        let mut subscription = self.store.subscribe(Selector::Stream(self.stream().into()), Some(after)).await?;
        while self.known().board.revision <= revision {
            match subscription.next().await? {
                Delivery::Closed => return Ok(false),
                Delivery::CaughtUp => {}
                Delivery::Events(events) => self.take(&events),
            }
        }
        Ok(true)
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
        let stream = self.stream();
        let compacted = async {
            self.store.compact::<Board>(&stream).await?;
            self.catch_up().await
        };
        if let Err(error) = compacted.await {
            tracing::debug!(stream, %error, "not compacted");
        }
    }
}
