//! A subscription of a play, and what it has brought so far.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use nuxt_queue_core::EventStore;
use nuxt_queue_core::store::Delivery;
use tokio::sync::watch;
use tokio::task::AbortHandle;

use super::arguments::{self, Failure, text};
use super::json::Json;
use super::values::{Mode, mismatch};

/// Longest wait for something that has to come.
const PATIENCE: Duration = Duration::from_secs(15);

/// Follows a stream or a pattern in a task of its own.
pub struct Following {
    seen: watch::Receiver<Seen>,
    task: AbortHandle,
}

#[derive(Clone, Default)]
struct Seen {
    events: Arc<Mutex<Vec<Json>>>,
    /// How many events had come when the subscription said that it had caught up.
    caught_up: Option<usize>,
    failure: Option<Failure>,
}

impl Seen {
    fn events(&self) -> Vec<Json> {
        self.events.lock().expect("no panic while it is held").clone()
    }
}

impl Following {
    /// Begins where the step says: `to`, `after`.
    pub async fn begin(store: &EventStore, arguments: &Json, stream: &str) -> Result<Self, Failure> {
        let selector = arguments::selector(text(arguments, "to")?.unwrap_or(stream));
        let mut subscription = store.subscribe(selector, arguments::id(arguments, "after")?).await?;
        let (sender, seen) = watch::channel(Seen::default());
        let task = tokio::spawn(async move {
            loop {
                let delivery = subscription.next().await;
                let done = !matches!(delivery, Ok(Delivery::Events(_) | Delivery::CaughtUp));
                sender.send_modify(|seen| take(seen, delivery));
                if done {
                    return;
                }
            }
        });
        Ok(Following { seen, task: task.abort_handle() })
    }

    /// All events so far, once one that is like `until` is among them.
    pub async fn received(&self, until: Option<&Json>) -> Result<Json, Failure> {
        let Some(until) = until else { return Ok(Json::List(self.seen.borrow().events())) };
        let is_last = |event: &Json| mismatch(until, Some(event), Mode::Like, "").is_none();
        let mut looked_at = 0;
        let has_come = |seen: &Seen| {
            let events = seen.events.lock().expect("no panic while it is held");
            let found = events[looked_at..].iter().any(is_last);
            looked_at = events.len();
            found
        };
        let seen = self.wait(&format!("an event like {}", until.to_json()), has_come).await?;
        Ok(Json::List(seen.events()))
    }

    /// The events that had come when the subscription had caught up.
    pub async fn caught_up(&self) -> Result<Json, Failure> {
        let seen = self.wait("it to catch up", |seen| seen.caught_up.is_some()).await?;
        let mut events = seen.events();
        events.truncate(seen.caught_up.unwrap_or_default());
        Ok(Json::List(events))
    }

    /// Unsubscribes.
    pub fn end(&self) {
        self.task.abort();
    }

    async fn wait(&self, what: &str, mut holds: impl FnMut(&Seen) -> bool) -> Result<Seen, Failure> {
        let mut receiver = self.seen.clone();
        let seen =
            tokio::time::timeout(PATIENCE, receiver.wait_for(|seen| seen.failure.is_some() || holds(seen))).await;
        let vain = || Failure::Play(format!("waited in vain for {what}"));
        let seen = seen.map_err(|_| vain())?.map_err(|_| vain())?.clone();
        match &seen.failure {
            Some(failure) => Err(failure.clone()),
            None => Ok(seen),
        }
    }
}

impl Drop for Following {
    fn drop(&mut self) {
        self.end();
    }
}

fn take(seen: &mut Seen, delivery: nuxt_queue_core::Result<Delivery>) {
    match delivery {
        Ok(Delivery::Events(events)) => match Json::parse(&events.to_json()) {
            Ok(Json::List(new)) => seen.events.lock().expect("no panic while it is held").extend(new),
            other => seen.failure = Some(Failure::Play(format!("no list of events: {other:?}"))),
        },
        Ok(Delivery::CaughtUp) => seen.caught_up = Some(seen.events().len()),
        Ok(Delivery::Closed) => {}
        Err(error) => seen.failure = Some(error.into()),
    }
}
