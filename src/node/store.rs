//! The event store for JavaScript.

use std::collections::HashMap;
use std::sync::Arc;

use napi::bindgen_prelude::{External, Function};
use napi_derive::napi;
use tokio::sync::Mutex;

use super::clock::NativeClock;
use super::diagnostics;
use super::flows::{CodeInput, NativeFlows};
use super::options::{OptionsInput, QueryInput, parse};
use super::outcome::{CallbackArgs, Outlet, json, receipt, text, thrown};
use super::pages::{NativePages, NativeStreams};
use super::registry::NativeRegistry;
use super::run_state::NativeRunState;
use super::submit::unpack;
use super::subscription::NativeSubscription;
use crate::clock::Clock;
use crate::event::{Envelope, Field};
use crate::flow::FlowEngine;
use crate::state::RunState;
use crate::store::EventStore;
use crate::trigger::TriggerEngine;

/// A store, with the callback that its outcomes go to.
#[napi]
pub struct NativeStore {
    store: EventStore,
    outlet: Outlet,
}

#[napi]
impl NativeStore {
    /// Opens a store without waiting for its backend.
    #[napi(constructor, catch_unwind)]
    pub fn new(
        options: String,
        #[napi(ts_arg_type = "(stored: Float64Array, others: Array<[number, string]>) => void")] callback: Function<
            '_,
            CallbackArgs,
            (),
        >,
        clock: Option<&NativeClock>,
    ) -> napi::Result<Self> {
        diagnostics::begin();
        let outlet = Outlet::new(callback)?;
        let settle = outlet.clone();
        let clock = clock.map(|native| native.clock.clone() as Arc<dyn Clock>);
        let input: OptionsInput = parse("The options", &options).map_err(thrown)?;
        let options = input.into_options(clock).map_err(thrown)?;
        let store =
            EventStore::open_lazily(options, Box::new(move |outcomes| settle.settle(outcomes))).map_err(thrown)?;
        Ok(NativeStore { store, outlet })
    }

    /// Waits for the backend.
    #[napi(catch_unwind)]
    pub fn connect(&self, ticket: f64) -> Option<String> {
        let store = self.store.clone();
        self.outlet.begin(ticket, async move { store.connect().await.map(|()| "null".into()) })
    }

    /// Takes packed appends, which get consecutive tickets from the first on. Returns what is
    /// known at once as `[ticket, text]`.
    #[napi(catch_unwind)]
    pub fn submit(&self, first_ticket: f64, packed: String) -> Vec<(f64, String)> {
        let (submissions, refused) = unpack(&packed, first_ticket as u64);
        let mut outcomes = self.store.submit(submissions);
        outcomes.extend(refused.into_iter().map(|(ticket, error)| (ticket, Err(error))));
        outcomes.into_iter().map(|(ticket, result)| (ticket as f64, receipt(result))).collect()
    }

    /// For [`append_now`].
    #[napi(catch_unwind, ts_return_type = "object")]
    pub fn handle(&self) -> External<EventStore> {
        External::new(self.store.clone())
    }

    /// Events of one stream as a JSON array.
    #[napi(catch_unwind)]
    pub fn query(&self, ticket: f64, query: String) -> Option<String> {
        let store = self.store.clone();
        self.outlet.begin(ticket, async move {
            let input: QueryInput = parse("The query", &query)?;
            store.query(input.into_query()?).await.map(|events| events.to_json())
        })
    }

    /// Events of one stream or many, page by page.
    #[napi(catch_unwind)]
    pub fn pages(&self, query: String) -> napi::Result<NativePages> {
        let pages = || {
            let input: QueryInput = parse("The query", &query)?;
            match input.is_global() {
                true => self.store.iterate_global(input.into_query()?),
                false => self.store.iterate(input.into_query()?),
            }
        };
        let pages = Arc::new(Mutex::new(pages().map_err(thrown)?));
        Ok(NativePages { outlet: self.outlet.clone(), pages })
    }

    /// A subscription that has not begun.
    #[napi(catch_unwind)]
    pub fn subscription(&self) -> NativeSubscription {
        NativeSubscription { outlet: self.outlet.clone(), store: self.store.clone(), state: Arc::default() }
    }

    /// Streams whose names match, page by page.
    #[napi(catch_unwind)]
    pub fn streams(&self, pattern: String) -> napi::Result<NativeStreams> {
        let streams = self.store.streams(&pattern).map_err(thrown)?;
        Ok(NativeStreams { outlet: self.outlet.clone(), streams: Arc::new(Mutex::new(streams)) })
    }

    /// Whether a stream was there to be deleted.
    #[napi(catch_unwind)]
    pub fn delete_stream(&self, ticket: f64, stream: String) -> Option<String> {
        let store = self.store.clone();
        self.outlet.begin(ticket, async move { store.delete_stream(&stream).await.map(|deleted| json(&deleted)) })
    }

    /// Deletes the events of a stream before this one.
    #[napi(catch_unwind)]
    pub fn forget_before(&self, ticket: f64, stream: String, id: String) -> Option<String> {
        let store = self.store.clone();
        self.outlet
            .begin(ticket, async move { store.forget_before(&stream, id.parse()?).await.map(|()| "null".into()) })
    }

    /// How many streams were deleted.
    #[napi(catch_unwind)]
    pub fn delete_streams(&self, ticket: f64, pattern: String) -> Option<String> {
        let store = self.store.clone();
        self.outlet.begin(ticket, async move { store.delete_streams(&pattern).await.map(|count| json(&count)) })
    }

    /// Adds a member to a sorted index.
    #[napi(catch_unwind)]
    pub fn index_add(&self, ticket: f64, key: String, id: String, score: f64) -> Option<String> {
        let store = self.store.clone();
        self.outlet.begin(ticket, async move { store.index_add(&key, &id, score).await.map(|()| "null".into()) })
    }

    /// Members of a sorted index as `[id, score]`.
    #[napi(catch_unwind)]
    pub fn index_read(&self, ticket: f64, key: String, offset: f64, limit: Option<f64>) -> Option<String> {
        let store = self.store.clone();
        self.outlet.begin(ticket, async move {
            let members = store.index_read(&key, offset as usize, limit.map(|limit| limit as usize)).await?;
            Ok(json(&members))
        })
    }

    /// Deletes a sorted index.
    #[napi(catch_unwind)]
    pub fn index_delete(&self, ticket: f64, key: String) -> Option<String> {
        let store = self.store.clone();
        self.outlet.begin(ticket, async move { store.index_delete(&key).await.map(|()| "null".into()) })
    }

    /// The counters as JSON.
    #[napi(catch_unwind)]
    pub fn stats(&self) -> String {
        json(&self.store.stats())
    }

    /// Ends the store once everything accepted is settled.
    #[napi(catch_unwind)]
    pub fn close(&self, ticket: f64) -> Option<String> {
        let store = self.store.clone();
        self.outlet.begin(ticket, async move {
            store.close().await;
            Ok("null".into())
        })
    }

    /// The engines of flows and triggers, for code that is described by a JSON object.
    #[napi(catch_unwind)]
    pub fn flows(&self, code: String) -> napi::Result<NativeFlows> {
        let CodeInput { version, strategy } = parse("The members of the code", &code).map_err(thrown)?;
        let flows = FlowEngine::new(self.store.clone()).with_version(version, strategy).map_err(thrown)?;
        Ok(NativeFlows { outlet: self.outlet.clone(), triggers: TriggerEngine::new(flows.clone()), flows })
    }

    /// The registry, for an instance that is described by a JSON object.
    #[napi(catch_unwind)]
    pub fn registry(&self, options: String) -> napi::Result<NativeRegistry> {
        NativeRegistry::open(self.store.clone(), self.outlet.clone(), &options).map_err(thrown)
    }

    /// The state of a run. What it writes carries the envelope, a JSON object of texts.
    #[napi(catch_unwind)]
    pub fn run_state(&self, run_id: String, envelope: String) -> napi::Result<NativeRunState> {
        let texts: HashMap<String, String> = parse("The envelope", &envelope).map_err(thrown)?;
        let mut fields = Envelope::default();
        let known = texts.into_iter().filter_map(|(name, value)| Some((Field::from_name(&name)?, value)));
        known.for_each(|(field, value)| fields.set(field, value));
        Ok(NativeRunState { state: RunState::new(&self.store, &run_id, fields), outlet: self.outlet.clone() })
    }
}

/// The same as `submit` for one append to a backend that answers at once. A function, as a call of
/// a method costs three times as much.
#[napi(catch_unwind)]
pub fn append_now(#[napi(ts_arg_type = "object")] store: &External<EventStore>, packed: String) -> Option<String> {
    let (submissions, mut refused) = unpack(&packed, 0);
    if let Some((_, error)) = refused.pop() {
        return Some(text(Err(error)));
    }
    store.submit(submissions).pop().map(|(_, result)| receipt(result))
}
