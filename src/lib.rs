//! The event core of nuxt-queue: everything that happens in a flow is an event in one ordered
//! stream, and everything else (state, status) is folded from those events.
//!
//! In reading order:
//!
//! * [`error`]: the one error type, with a stable code.
//! * [`clock`]: where the current time comes from.
//! * [`version`]: semantic versions of code, and which go together.
//! * [`event`]: ids, new events, and stored events as the JSON text that callers receive.
//! * [`backend`]: the contract of a home for events, and its implementations.
//! * [`run`]: what the events of a run amount to: the reducers.
//! * [`store`]: [`EventStore`]: checks, order, limits, queries, subscriptions, cache, retention.
//! * [`state`]: [`RunState`], the state of a run as users ask for it.
//! * [`flow`]: [`FlowEngine`](flow::FlowEngine), which decides what a run does next.
//! * [`webhook`]: requests as providers sign them: checks, routes, forms; pure.
//! * [`trigger`]: what starts runs and lets those go on that wait.
//! * [`schedule`]: [`Schedule`](schedule::Schedule), the instants of cron expressions, times of day and periods.
//! * [`registry`]: which instances there are, what they offer, and whether they are alive.
//! * `node`: the Node addon over all this (feature `node`).
//!
//! Nothing outside `node` knows JavaScript; each layer uses only those above it in this list.
//!
//! ```
//! use nuxt_queue_core::{AppendOptions, EventStore, NewEvent, Query, StoreOptions};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> nuxt_queue_core::Result<()> {
//! let store = EventStore::open(StoreOptions::memory()).await?;
//! let event = NewEvent::new("log.info").with_data(r#"{"level":"info","message":"hello"}"#);
//! store.append("nq:flow:1", event, AppendOptions::default()).await?;
//! let events = store.query(Query::stream("nq:flow:1")).await?;
//! assert_eq!(events.iter().next().unwrap().event_type, "log.info");
//! # Ok(())
//! # }
//! ```

pub mod backend;
pub mod clock;
pub mod error;
pub mod event;
pub mod flow;
mod io;
#[cfg(feature = "node")]
mod node;
pub mod registry;
pub mod run;
pub mod schedule;
pub mod state;
pub mod store;
pub mod trigger;
pub mod version;
pub mod webhook;

pub use clock::{Clock, SystemClock, VirtualClock};
pub use error::{Code, Error, Result};
pub use event::{Envelope, EventId, Events, Field, NewEvent};
pub use state::RunState;
pub use store::{AppendOptions, Consistency, EventStore, Query, StoreOptions};
