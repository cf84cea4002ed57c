//! Triggers for JavaScript: methods of the native engines. Requests and answers are JSON.

use std::collections::HashMap;

use napi_derive::napi;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::flows::NativeFlows;
use super::options::parse;
use super::outcome::{json, thrown};
use super::request::{AgeInput, Raw, ask, raw, text};
use crate::event::format_time;
use crate::flow::Job;
use crate::trigger::{
    DeliveryRecord, Due, FireRequest, FiringStatus, FlowSubscription, Mode, Outcome, RegisteredTrigger, StartedRun,
    TriggerDefinition,
};
use crate::webhook::{Found, WebhookAuth};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct FireInput {
    name: String,
    #[serde(default, deserialize_with = "raw")]
    payload: Raw,
    idempotency_key: Option<String>,
    #[serde(default)]
    modes: HashMap<String, Option<Mode>>,
    user_id: Option<String>,
    skip: Option<String>,
    traceparent: Option<String>,
    delivery: Option<Box<RawValue>>,
}

#[derive(Deserialize)]
struct DefinitionInput {
    definition: TriggerDefinition,
}

#[derive(Deserialize)]
struct UpdateInput {
    name: String,
    changes: Box<RawValue>,
}

#[derive(Deserialize)]
struct EnableInput {
    name: String,
    enabled: bool,
}

#[derive(Deserialize)]
struct NameInput {
    name: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct SubscribeInput {
    trigger_name: String,
    flow_name: String,
    #[serde(default)]
    mode: Mode,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct DefinedInput {
    flow_name: String,
    triggers: Vec<String>,
    #[serde(default)]
    mode: Mode,
}

#[derive(Deserialize)]
struct FiringsInput {
    name: String,
    status: Option<FiringStatus>,
    limit: Option<usize>,
}

#[derive(Deserialize)]
struct StatsInput {
    name: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct FireIdInput {
    fire_id: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RetryInput {
    fire_id: String,
    #[serde(default)]
    modes: HashMap<String, Option<Mode>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct UndecidedOutput {
    trigger_name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    payload: Option<Box<RawValue>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PendingInput {
    fire_id: String,
    flow_name: String,
    user_id: Option<String>,
    reason: Option<String>,
}

#[derive(Deserialize)]
struct DeliveryInput {
    name: String,
    delivery: Box<RawValue>,
    rejected: bool,
}

#[derive(Deserialize)]
struct DeliveriesInput {
    name: String,
    verdict: Option<String>,
    limit: Option<usize>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct DeliveryIdInput {
    delivery_id: String,
}

#[derive(Deserialize)]
struct Nothing {}

#[derive(Serialize)]
struct RouteOutput {
    name: String,
    params: Vec<(String, String)>,
}

#[derive(Serialize)]
struct AllowOutput {
    allow: Vec<String>,
}

#[derive(Serialize)]
struct FoundOutput {
    name: String,
    delivery: DeliveryRecord,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct FiredOutput {
    fire_id: String,
    trigger_name: String,
    timestamp: String,
    status: FiringStatus,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_after_ms: Option<u64>,
    runs: Vec<StartedRun>,
    jobs: Vec<Job>,
    run_ids: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    refused: Option<String>,
    repeated: bool,
}

impl FiredOutput {
    fn new(trigger_name: String, outcome: Outcome) -> Self {
        FiredOutput {
            fire_id: outcome.fire_id,
            trigger_name,
            timestamp: format_time(outcome.at.ms),
            status: outcome.status,
            reason: outcome.reason,
            retry_after_ms: outcome.retry_after_ms,
            runs: outcome.runs,
            jobs: outcome.jobs,
            run_ids: outcome.run_ids,
            refused: outcome.refused.map(|error| error.message().to_owned()),
            repeated: outcome.is_repeated,
        }
    }
}

#[derive(Serialize)]
struct StartedOutput {
    run: StartedRun,
    jobs: Vec<Job>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct SubscriberOutput {
    flow_name: String,
    mode: Mode,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct TriggerOutput {
    #[serde(flatten)]
    trigger: RegisteredTrigger,
    subscribers: Vec<SubscriberOutput>,
    /// The headers that a delivery's record keeps.
    kept_headers: Vec<String>,
    /// Whether what is kept is enough to check a delivery again.
    can_check_again: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct DueOutput {
    jobs: Vec<Job>,
    run_ids: Vec<String>,
    fired: Vec<(String, FiringStatus)>,
    next: Option<u64>,
    /// More is due already.
    more: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct WokenOutput {
    run_id: String,
    await_id: String,
}

#[derive(Serialize)]
struct DigestOutput {
    wake: Vec<WokenOutput>,
    ended: Vec<String>,
    next: Option<u64>,
}

impl From<Due> for DueOutput {
    fn from(Due { jobs, run_ids, fired, next_ms, is_more }: Due) -> Self {
        DueOutput { jobs, run_ids, fired, next: next_ms, more: is_more }
    }
}

impl NativeFlows {
    fn shown(&self, trigger: RegisteredTrigger) -> TriggerOutput {
        let subscribers = self.triggers.subscribers(&trigger.definition.name).into_iter();
        let subscribers = subscribers.map(|(flow_name, mode)| SubscriberOutput { flow_name, mode });
        let auth = trigger.definition.endpoint.as_ref().and_then(|endpoint| endpoint.auth.as_ref());
        TriggerOutput {
            subscribers: subscribers.collect(),
            kept_headers: auth.map(WebhookAuth::kept_headers).unwrap_or_default(),
            can_check_again: auth.is_none_or(WebhookAuth::can_check_again),
            trigger,
        }
    }
}

#[napi]
impl NativeFlows {
    /// Everything that keeps a trigger from working.
    #[napi(catch_unwind)]
    pub fn trigger_problems(&self, definition: String) -> napi::Result<Vec<String>> {
        let definition: TriggerDefinition = parse("The members of the trigger", &definition).map_err(thrown)?;
        Ok(definition.problems())
    }

    /// A trigger that is known here, or nothing.
    #[napi(catch_unwind)]
    pub fn trigger(&self, name: String) -> Option<String> {
        self.triggers.get(&name).map(|trigger| json(&self.shown(trigger)))
    }

    /// All triggers that are known here.
    #[napi(catch_unwind)]
    pub fn all_triggers(&self) -> String {
        let all: Vec<_> = self.triggers.list().into_iter().map(|trigger| self.shown(trigger)).collect();
        json(&all)
    }

    /// Grows with every change of triggers or subscriptions.
    #[napi(catch_unwind)]
    pub fn trigger_revision(&self) -> f64 {
        self.triggers.registry_revision() as f64
    }

    /// Whether a flow is on record as subscribing to something, by its definition or since.
    #[napi(catch_unwind)]
    pub fn subscribes(&self, flow_name: String) -> bool {
        self.triggers.subscribes(&flow_name)
    }

    /// The webhook of a request's path: its trigger, or the methods that there are, or `null`.
    #[napi(catch_unwind)]
    pub fn route(&self, method: String, path: String) -> String {
        match self.triggers.route(&method, &path) {
            Found::Route { name, params } => json(&RouteOutput { name, params }),
            Found::OtherMethod(allow) => json(&AllowOutput { allow }),
            Found::None => "null".into(),
        }
    }

    /// A new id, in the order of time.
    #[napi(catch_unwind)]
    pub fn new_id(&self) -> String {
        self.triggers.new_id()
    }

    /// Records a delivery that fires nothing.
    #[napi(catch_unwind)]
    pub fn record_delivery(&self, ticket: f64, request: String) -> Option<String> {
        ask!(self, ticket, request, |input: DeliveryInput, flows, triggers| {
            let recorded = triggers.record_delivery(&input.name, input.delivery.get(), input.rejected);
            recorded.await.map(|()| "null".into())
        })
    }

    /// The deliveries of a webhook, newest first.
    #[napi(catch_unwind)]
    pub fn deliveries(&self, ticket: f64, request: String) -> Option<String> {
        ask!(self, ticket, request, |input: DeliveriesInput, flows, triggers| {
            Ok(json(&triggers.deliveries(&input.name, input.verdict.as_deref(), input.limit).await?))
        })
    }

    /// A delivery by its id, or `null`.
    #[napi(catch_unwind)]
    pub fn find_delivery(&self, ticket: f64, request: String) -> Option<String> {
        ask!(self, ticket, request, |input: DeliveryIdInput, flows, triggers| {
            let found = triggers.find_delivery(&input.delivery_id).await?;
            Ok(json(&found.map(|(name, delivery)| FoundOutput { name, delivery })))
        })
    }

    /// Reads what others did.
    #[napi(catch_unwind)]
    pub fn refresh_triggers(&self, ticket: f64) -> Option<String> {
        let triggers = self.triggers.clone();
        self.begin(ticket, async move { triggers.refresh().await.map(|()| "null".into()) })
    }

    /// Registers a trigger: whether that was new.
    #[napi(catch_unwind)]
    pub fn register_trigger(&self, ticket: f64, request: String) -> Option<String> {
        ask!(self, ticket, request, |input: DefinitionInput, flows, triggers| {
            Ok(json(&triggers.register(input.definition).await?))
        })
    }

    /// Replaces members of a trigger's definition.
    #[napi(catch_unwind)]
    pub fn update_trigger(&self, ticket: f64, request: String) -> Option<String> {
        ask!(self, ticket, request, |input: UpdateInput, flows, triggers| {
            triggers.update(&input.name, input.changes.get()).await.map(|()| "null".into())
        })
    }

    /// Lets a trigger fire, or not.
    #[napi(catch_unwind)]
    pub fn enable_trigger(&self, ticket: f64, request: String) -> Option<String> {
        ask!(self, ticket, request, |input: EnableInput, flows, triggers| {
            Ok(json(&triggers.set_enabled(&input.name, input.enabled).await?))
        })
    }

    /// Removes a trigger: whether it was there.
    #[napi(catch_unwind)]
    pub fn remove_trigger(&self, ticket: f64, request: String) -> Option<String> {
        ask!(self, ticket, request, |input: NameInput, flows, triggers| {
            Ok(json(&triggers.remove(&input.name).await?))
        })
    }

    /// Subscribes a flow.
    #[napi(catch_unwind)]
    pub fn subscribe_flow(&self, ticket: f64, request: String) -> Option<String> {
        ask!(self, ticket, request, |input: SubscribeInput, flows, triggers| {
            let SubscribeInput { trigger_name, flow_name, mode } = input;
            let subscription = FlowSubscription { trigger_name, flow_name, mode };
            triggers.subscribe(&subscription).await.map(|()| "null".into())
        })
    }

    /// Ends a subscription: whether it was there.
    #[napi(catch_unwind)]
    pub fn unsubscribe_flow(&self, ticket: f64, request: String) -> Option<String> {
        ask!(self, ticket, request, |input: SubscribeInput, flows, triggers| {
            Ok(json(&triggers.unsubscribe(&input.trigger_name, &input.flow_name).await?))
        })
    }

    /// Makes the subscriptions of a flow those of its definition.
    #[napi(catch_unwind)]
    pub fn subscribe_defined(&self, ticket: f64, request: String) -> Option<String> {
        ask!(self, ticket, request, |input: DefinedInput, flows, triggers| {
            triggers.subscribe_defined(&input.flow_name, &input.triggers, input.mode).await.map(|()| "null".into())
        })
    }

    /// Fires a trigger.
    #[napi(catch_unwind)]
    pub fn fire(&self, ticket: f64, request: String) -> Option<String> {
        ask!(self, ticket, request, |input: FireInput, flows, triggers| {
            let fired = triggers.fire(FireRequest {
                name: &input.name,
                payload: text(&input.payload),
                idempotency_key: input.idempotency_key.as_deref(),
                modes: input.modes,
                user_id: input.user_id.as_deref(),
                skip: input.skip.as_deref(),
                traceparent: input.traceparent.as_deref(),
                delivery: input.delivery.as_deref().map(RawValue::get),
            });
            let fired = fired.await?;
            Ok(json(&FiredOutput::new(input.name, fired)))
        })
    }

    /// The firings of a trigger, newest first.
    #[napi(catch_unwind)]
    pub fn firings(&self, ticket: f64, request: String) -> Option<String> {
        ask!(self, ticket, request, |input: FiringsInput, flows, triggers| {
            Ok(json(&triggers.runs(&input.name, input.status, input.limit).await?))
        })
    }

    /// How many firings there were.
    #[napi(catch_unwind)]
    pub fn trigger_stats(&self, ticket: f64, request: String) -> Option<String> {
        ask!(self, ticket, request, |input: StatsInput, flows, triggers| {
            Ok(json(&triggers.stats(input.name.as_deref()).await?))
        })
    }

    /// Lets a firing have its effect after all.
    #[napi(catch_unwind)]
    pub fn retry_firing(&self, ticket: f64, request: String) -> Option<String> {
        ask!(self, ticket, request, |input: RetryInput, flows, triggers| {
            let (name, outcome) = triggers.retry(&input.fire_id, &input.modes).await?;
            Ok(json(&FiredOutput::new(name, outcome)))
        })
    }

    /// The trigger and the payload of a firing whose flows are decided on when it is retried, or `null`.
    #[napi(catch_unwind)]
    pub fn undecided_firing(&self, ticket: f64, request: String) -> Option<String> {
        ask!(self, ticket, request, |input: FireIdInput, flows, triggers| {
            let found = triggers.undecided(&input.fire_id).await?;
            Ok(json(&found.map(|(trigger_name, payload)| UndecidedOutput {
                trigger_name,
                payload: payload.and_then(|payload| RawValue::from_string(payload).ok()),
            })))
        })
    }

    /// The runs that wait for a person.
    #[napi(catch_unwind)]
    pub fn pending_starts(&self, ticket: f64, request: String) -> Option<String> {
        ask!(self, ticket, request, |_input: Nothing, flows, triggers| Ok(json(&triggers.pending().await?)))
    }

    /// Starts a run that waits for a person.
    #[napi(catch_unwind)]
    pub fn start_pending(&self, ticket: f64, request: String) -> Option<String> {
        ask!(self, ticket, request, |input: PendingInput, flows, triggers| {
            let user_id = input.user_id.as_deref();
            let (run, jobs) = triggers.start_pending(&input.fire_id, &input.flow_name, user_id).await?;
            Ok(json(&StartedOutput { run, jobs }))
        })
    }

    /// Lets a run that waits for a person never start.
    #[napi(catch_unwind)]
    pub fn dismiss_pending(&self, ticket: f64, request: String) -> Option<String> {
        ask!(self, ticket, request, |input: PendingInput, flows, triggers| {
            let (user_id, reason) = (input.user_id.as_deref(), input.reason.as_deref());
            triggers.dismiss(&input.fire_id, &input.flow_name, user_id, reason).await.map(|()| "null".into())
        })
    }

    /// Sees to all deadlines that have passed.
    #[napi(catch_unwind)]
    pub fn fire_due(&self, ticket: f64) -> Option<String> {
        let triggers = self.triggers.clone();
        self.begin(ticket, async move { Ok(json(&DueOutput::from(triggers.fire_due().await?))) })
    }

    /// Finishes what someone fired and did not finish.
    #[napi(catch_unwind)]
    pub fn finish_firings(&self, ticket: f64, request: String) -> Option<String> {
        ask!(self, ticket, request, |input: AgeInput, flows, triggers| {
            Ok(json(&DueOutput::from(triggers.finish_firings(input.older_than_ms).await?)))
        })
    }

    /// The next deadline that is known, in milliseconds since the Unix epoch.
    #[napi(catch_unwind)]
    pub fn next_deadline(&self) -> Option<f64> {
        self.triggers.next_deadline().map(|deadline| deadline as f64)
    }

    /// Waits for news; `null` at the end.
    #[napi(catch_unwind)]
    pub fn follow(&self, ticket: f64) -> Option<String> {
        let triggers = self.triggers.clone();
        self.begin(ticket, async move {
            let digest = triggers.follow().await?.map(|digest| DigestOutput {
                wake: digest.woken.into_iter().map(|(run_id, await_id)| WokenOutput { run_id, await_id }).collect(),
                ended: digest.ended,
                next: digest.next_ms,
            });
            Ok(json(&digest))
        })
    }
}
