//! The registry for JavaScript. Requests and answers are JSON.

use std::sync::Mutex;

use napi_derive::napi;
use serde::{Deserialize, Serialize};

use super::options::parse;
use super::outcome::{Outlet, json, thrown};
use crate::error::Result;
use crate::registry::{FlowChoice, Heartbeats, RegistryEngine, RegistryOptions, Required, StepOffer, WorkerOffer};
use crate::store::EventStore;
use crate::version::{StepVersion, Strategy};

/// One instance among others.
#[napi]
pub struct NativeRegistry {
    outlet: Outlet,
    is_local: bool,
    registry: RegistryEngine,
    heartbeats: Mutex<Option<Heartbeats>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct OptionsInput {
    instance_id: String,
    version: Option<String>,
    #[serde(default)]
    strategy: Strategy,
    heartbeat_interval: u64,
    heartbeat_timeout: u64,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WorkerInput {
    worker_id: String,
    #[serde(flatten)]
    worker: WorkerOffer,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct StepInput {
    worker_id: String,
    #[serde(flatten)]
    step: StepOffer,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WorkerIdInput {
    worker_id: String,
}

#[derive(Deserialize)]
struct FlowInput {
    name: String,
    version: Option<String>,
    #[serde(default)]
    strategy: Strategy,
}

#[derive(Deserialize)]
struct MissingInput {
    name: String,
    required: Vec<Required>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WaitingInput {
    flow_name: String,
    #[serde(flatten)]
    step: Required,
    version: Option<String>,
}

#[derive(Deserialize)]
struct QueueInput {
    queue: String,
}

#[derive(Deserialize)]
struct RevisionInput {
    revision: u64,
}

#[derive(Serialize)]
struct MissingOutput {
    missing: Vec<String>,
    revision: u64,
}

/// Reads a request and answers it with the registry at hand.
macro_rules! ask {
    ($self:ident, $ticket:ident, $request:ident, |$input:ident: $type:ty, $registry:ident| $work:expr) => {{
        let $registry = $self.registry.clone();
        $self.begin($ticket, async move {
            let $input: $type = parse("The request's members", &$request)?;
            $work
        })
    }};
}

impl NativeRegistry {
    pub(super) fn open(store: EventStore, outlet: Outlet, options: &str) -> Result<Self> {
        let input: OptionsInput = parse("The members of the registry's options", options)?;
        let options = RegistryOptions {
            instance_id: input.instance_id,
            version: input.version,
            strategy: input.strategy,
            heartbeat_interval_ms: input.heartbeat_interval,
            heartbeat_timeout_ms: input.heartbeat_timeout,
        };
        let is_local = store.is_local();
        Ok(NativeRegistry {
            outlet,
            is_local,
            registry: RegistryEngine::new(store, options)?,
            heartbeats: Mutex::default(),
        })
    }

    fn begin(&self, ticket: f64, work: impl Future<Output = Result<String>> + Send + 'static) -> Option<String> {
        match self.is_local {
            true => self.outlet.begin(ticket, work),
            false => self.outlet.begin_there(ticket, work),
        }
    }

    fn say(&self, ticket: f64, work: impl Future<Output = Result<()>> + Send + 'static) -> Option<String> {
        self.begin(ticket, async move { work.await.map(|()| "null".into()) })
    }
}

#[napi]
impl NativeRegistry {
    /// Records that the instance is there.
    #[napi(catch_unwind)]
    pub fn start(&self, ticket: f64) -> Option<String> {
        let registry = self.registry.clone();
        self.say(ticket, async move { registry.start().await })
    }

    /// Gives signs of life from a thread of its own.
    #[napi(catch_unwind)]
    pub fn keep_beating(&self) -> napi::Result<()> {
        let heartbeats = self.registry.keep_beating().map_err(thrown)?;
        if let Ok(mut kept) = self.heartbeats.lock() {
            *kept = Some(heartbeats);
        }
        Ok(())
    }

    /// Gives a sign of life.
    #[napi(catch_unwind)]
    pub fn beat(&self, ticket: f64) -> Option<String> {
        let registry = self.registry.clone();
        self.say(ticket, async move { registry.beat().await })
    }

    /// The event loop runs, and says so again within so many milliseconds.
    #[napi(catch_unwind)]
    pub fn tick(&self, every_ms: f64) {
        self.registry.tick(every_ms as u64);
    }

    /// Records that the instance takes no new steps.
    #[napi(catch_unwind)]
    pub fn drain(&self, ticket: f64) -> Option<String> {
        let registry = self.registry.clone();
        self.say(ticket, async move { registry.drain().await })
    }

    /// Records that the instance is gone, and ends its signs of life.
    #[napi(catch_unwind)]
    pub fn shut_down(&self, ticket: f64) -> Option<String> {
        let registry = self.registry.clone();
        self.say(ticket, async move { registry.shut_down().await })
    }

    /// Records a worker.
    #[napi(catch_unwind)]
    pub fn register_worker(&self, ticket: f64, request: String) -> Option<String> {
        ask!(self, ticket, request, |input: WorkerInput, registry| {
            registry.register_worker(&input.worker_id, input.worker).await.map(|()| "null".into())
        })
    }

    /// Records a step of a worker.
    #[napi(catch_unwind)]
    pub fn register_step(&self, ticket: f64, request: String) -> Option<String> {
        ask!(self, ticket, request, |input: StepInput, registry| {
            registry.register_step(&input.worker_id, input.step).await.map(|()| "null".into())
        })
    }

    /// Records that a worker is gone.
    #[napi(catch_unwind)]
    pub fn deregister_worker(&self, ticket: f64, request: String) -> Option<String> {
        ask!(self, ticket, request, |input: WorkerIdInput, registry| {
            registry.deregister_worker(&input.worker_id).await.map(|()| "null".into())
        })
    }

    /// All instances.
    #[napi(catch_unwind)]
    pub fn instances(&self, ticket: f64) -> Option<String> {
        let registry = self.registry.clone();
        self.begin(ticket, async move { Ok(json(&registry.instances().await?)) })
    }

    /// All workers.
    #[napi(catch_unwind)]
    pub fn workers(&self, ticket: f64) -> Option<String> {
        let registry = self.registry.clone();
        self.begin(ticket, async move { Ok(json(&registry.workers().await?)) })
    }

    /// The ids of the healthy instances.
    #[napi(catch_unwind)]
    pub fn healthy_instances(&self, ticket: f64) -> Option<String> {
        let registry = self.registry.clone();
        self.begin(ticket, async move { Ok(json(&registry.healthy_instances().await?)) })
    }

    /// The ids of the healthy instances that take jobs from a queue.
    #[napi(catch_unwind)]
    pub fn queue_handlers(&self, ticket: f64, request: String) -> Option<String> {
        ask!(self, ticket, request, |input: QueueInput, registry| {
            Ok(json(&registry.queue_handlers(&input.queue).await?))
        })
    }

    /// A flow, or `null`.
    #[napi(catch_unwind)]
    pub fn flow(&self, ticket: f64, request: String) -> Option<String> {
        ask!(self, ticket, request, |input: FlowInput, registry| {
            let version = input.version.as_deref().map(|text| StepVersion::parse(Some(text))).transpose()?;
            Ok(json(&registry.flow(&input.name, &FlowChoice { version, strategy: input.strategy }).await?))
        })
    }

    /// What keeps a flow from running.
    #[napi(catch_unwind)]
    pub fn missing(&self, ticket: f64, request: String) -> Option<String> {
        ask!(self, ticket, request, |input: MissingInput, registry| {
            let (missing, revision) = registry.missing(&input.name, &input.required).await?;
            Ok(json(&MissingOutput { missing, revision }))
        })
    }

    /// Why nobody takes a step, or `null`.
    #[napi(catch_unwind)]
    pub fn unavailable(&self, ticket: f64, request: String) -> Option<String> {
        ask!(self, ticket, request, |input: WaitingInput, registry| {
            let reason = registry.unavailable(&input.flow_name, &input.step, input.version.as_deref());
            Ok(json(&reason.await?))
        })
    }

    /// Waits for another revision; `false` at the end.
    #[napi(catch_unwind)]
    pub fn changed(&self, ticket: f64, request: String) -> Option<String> {
        ask!(self, ticket, request, |input: RevisionInput, registry| {
            Ok(json(&registry.changed(input.revision).await?))
        })
    }
}
