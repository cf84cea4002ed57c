//! Triggers at their edges: limits that overlap, records that were trimmed, calls that race, what is written by others.

#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test has no users, and fails by panicking"
)]

mod support {
    pub mod redis;
}

use std::collections::HashMap;
use std::sync::Arc;

use nuxt_queue_core::backend::redis::RedisOptions;
use nuxt_queue_core::event::{Field, NewEvent};
use nuxt_queue_core::flow::{FlowDefinition, FlowEngine};
use nuxt_queue_core::trigger::{
    FireRequest, FiringStatus, FlowSubscription, Mode, Outcome, TriggerDefinition, TriggerEngine,
};
use nuxt_queue_core::{AppendOptions, EventStore, Query, StoreOptions, VirtualClock};
use serde_json::{Value, json};
use support::redis::RedisServer;

const START_MS: u64 = 1_700_000_000_000;
const DAY_MS: u64 = 86_400_000;

fn flow(name: &str, queue: &str) -> FlowDefinition {
    serde_json::from_value(
        json!({ "name": name, "entry": { "step": "a", "queue": queue }, "steps": { "a": { "queue": queue } } }),
    )
    .unwrap()
}

fn event(name: &str, config: Value) -> TriggerDefinition {
    serde_json::from_value(json!({ "name": name, "type": "event", "config": config })).unwrap()
}

fn subscription(trigger_name: &str, flow_name: &str, mode: Mode) -> FlowSubscription {
    FlowSubscription { trigger_name: trigger_name.into(), flow_name: flow_name.into(), mode }
}

struct Desk {
    store: EventStore,
    flows: FlowEngine,
    triggers: TriggerEngine,
    clock: Arc<VirtualClock>,
}

impl Desk {
    /// With a trigger "t" that starts runs of "f".
    async fn with(config: Value) -> Desk {
        let clock = Arc::new(VirtualClock::new(START_MS));
        let store = EventStore::open(StoreOptions::memory().with_clock(clock.clone())).await.unwrap();
        let flows = FlowEngine::new(store.clone());
        flows.define(flow("f", "q"), false).unwrap();
        let desk = Desk { triggers: TriggerEngine::new(flows.clone()), store, flows, clock };
        desk.triggers.register(event("t", config)).await.unwrap();
        desk.triggers.subscribe(&subscription("t", "f", Mode::Auto)).await.unwrap();
        desk
    }

    async fn fire(&self, payload: Value) -> Outcome {
        self.triggers.fire(FireRequest::new("t", Some(&payload.to_string()))).await.unwrap()
    }

    /// Another instance.
    fn other(&self) -> TriggerEngine {
        TriggerEngine::new(FlowEngine::new(self.store.clone()))
    }

    async fn runs(&self) -> usize {
        self.store.index_read("nq:flows:f", 0, None).await.unwrap().len()
    }

    async fn statuses(&self) -> Vec<FiringStatus> {
        self.triggers.runs("t", None, None).await.unwrap().iter().map(|run| run.status).collect()
    }

    async fn append(&self, stream: &str, event_type: &str, name: &str, data: Value) {
        let event = NewEvent::new(event_type).with(Field::TriggerName, name).with_data(data.to_string());
        self.store.append(stream, event, AppendOptions::default()).await.unwrap();
    }
}

#[tokio::test]
async fn what_waits_longer_than_the_limit_looks_back_is_replaced_like_any_other() {
    let desk = Desk::with(json!({ "debounce": 10_000, "rateLimit": { "max": 1, "window": 1_000 } })).await;
    desk.fire(json!(1)).await;
    desk.clock.advance(5_000);
    assert_eq!(desk.fire(json!(2)).await.status, FiringStatus::Fired);
    desk.clock.advance(10_000);
    desk.triggers.fire_due().await.unwrap();
    assert_eq!(desk.statuses().await, [FiringStatus::Processed, FiringStatus::Skipped]);
}

#[tokio::test]
async fn what_waits_fires_although_its_trigger_does_not_wait_any_more() {
    let desk = Desk::with(json!({ "debounce": 3_600_000 })).await;
    desk.fire(json!(1)).await;
    desk.triggers.update("t", r#"{"config":null}"#).await.unwrap();
    desk.clock.advance(3_600_000);
    desk.other().fire_due().await.unwrap();
    desk.triggers.fire_due().await.unwrap();
    assert_eq!((desk.statuses().await, desk.runs().await), (vec![FiringStatus::Processed], 1));
}

#[tokio::test]
async fn what_is_retried_does_not_replace_what_waits() {
    let desk = Desk::with(json!({ "debounce": 1_000 })).await;
    let replaced = desk.fire(json!(1)).await;
    desk.fire(json!(2)).await;
    desk.triggers.retry(&replaced.fire_id, &HashMap::new()).await.unwrap();
    desk.clock.advance(1_000);
    desk.other().fire_due().await.unwrap();
    assert_eq!((desk.statuses().await, desk.runs().await), (vec![FiringStatus::Processed; 2], 2));
    let stats = desk.triggers.stats(Some("t")).await.unwrap();
    assert_eq!((stats.total, stats.by_status[&FiringStatus::Processed]), (2, 2));
}

#[tokio::test]
async fn what_waits_is_kept_until_it_fires() {
    let clock = Arc::new(VirtualClock::new(START_MS));
    let store = EventStore::open(StoreOptions::memory().with_clock(clock)).await.unwrap();
    let triggers = TriggerEngine::new(FlowEngine::new(store));
    let short = event("t", json!({ "debounce": 2 * DAY_MS, "retentionDays": 1.0 }));
    let refused = triggers.register(short).await.unwrap_err();
    assert!(refused.message().contains("retentionDays"), "{}", refused.message());
}

#[tokio::test]
async fn the_same_is_told_apart_without_keeping_it() {
    let desk = Desk::with(json!({ "persistData": false, "deduplicate": { "key": "id", "window": 1_000 } })).await;
    let first = desk.fire(json!({ "id": "private" })).await;
    let second = desk.fire(json!({ "id": "private" })).await;
    assert_eq!((first.status, second.status), (FiringStatus::Processed, FiringStatus::Skipped));
    let other = desk.other().fire(FireRequest::new("t", Some(r#"{"id":"private"}"#))).await.unwrap();
    assert_eq!(other.status, FiringStatus::Skipped);
    assert_eq!(desk.fire(json!({ "id": "other" })).await.status, FiringStatus::Processed);
    let text = desk.store.query(Query::stream("nq:trigger:t")).await.unwrap().to_json();
    assert!(!text.contains("private"), "{text}");
}

#[tokio::test]
async fn a_trigger_fires_on_when_others_trimmed_what_it_saw_last() {
    let desk = Desk::with(json!({ "retentionDays": 1.0, "rateLimit": { "max": 5, "window": 1_000 } })).await;
    let other = desk.other();
    let fire = async || other.fire(FireRequest::new("t", Some("1"))).await.map(|fired| fired.status);
    assert_eq!(fire().await.unwrap(), FiringStatus::Processed);
    for _ in 0..6 {
        desk.clock.advance(DAY_MS / 2);
        desk.fire(json!(2)).await;
    }
    assert_eq!(fire().await.unwrap(), FiringStatus::Processed);
}

#[tokio::test]
async fn a_key_outlives_its_firing() {
    let desk = Desk::with(json!({ "retentionDays": 1.0 })).await;
    let fire = async || desk.triggers.fire(FireRequest::new("t", Some("1")).with_key("k")).await;
    fire().await.unwrap();
    for _ in 0..5 {
        desk.clock.advance(DAY_MS / 2);
        desk.fire(json!(2)).await;
    }
    let again = fire().await.unwrap();
    assert!(!again.is_repeated, "it is forgotten with its firing");
}

#[tokio::test]
async fn a_retry_starts_no_run_a_second_time_that_is_over_and_gone() {
    let desk = Desk::with(json!({})).await;
    let fire_id = desk.triggers.new_id();
    let flows = json!([{ "flowName": "f", "mode": "auto" }, { "flowName": "g", "mode": "auto" }]);
    desk.append("nq:trigger:t", "trigger.fired", "t", json!({ "fireId": fire_id, "payload": 1, "flows": flows })).await;
    desk.store.index_add("nq:firings", &format!("{fire_id}@t"), START_MS as f64).await.unwrap();
    desk.clock.advance(20_000);
    desk.triggers.finish_firings(10_000).await.unwrap();
    assert_eq!(desk.statuses().await, [FiringStatus::Failed]);
    let run = desk.triggers.runs("t", None, None).await.unwrap()[0].runs[0].clone();
    desk.store.delete_stream(&format!("nq:flow:{}", run.run_id)).await.unwrap();
    desk.flows.define(flow("g", "q"), false).unwrap();
    let (_, retried) = desk.triggers.retry(&fire_id, &HashMap::new()).await.unwrap();
    assert_eq!(retried.jobs.len(), 1, "only that of g");
    assert!(retried.runs.contains(&run), "what was started before is named");
    let known = &desk.triggers.runs("t", None, None).await.unwrap()[0];
    assert_eq!((known.status, known.runs.len()), (FiringStatus::Processed, 2));
}

/// Instances on one Redis, each with a connection of its own, that know "t" and its subscriber "f".
async fn instances(server: &RedisServer, mode: Mode) -> [TriggerEngine; 3] {
    let mut engines = Vec::new();
    for _ in 0..3 {
        let options = RedisOptions::from_url(&server.url()).unwrap();
        let store = EventStore::open(StoreOptions::redis(options)).await.unwrap();
        let flows = FlowEngine::new(store);
        flows.define(flow("f", "q"), false).unwrap();
        engines.push(TriggerEngine::new(flows));
    }
    engines[0].register(event("t", json!({}))).await.unwrap();
    engines[0].subscribe(&subscription("t", "f", mode)).await.unwrap();
    for engine in &engines {
        engine.refresh().await.unwrap();
    }
    engines.try_into().ok().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn retries_at_once_count_once() {
    let server = RedisServer::start().unwrap();
    let [one, two, three] = instances(&server, Mode::Auto).await;
    for n in 0..20 {
        let skip = FireRequest { skip: Some("not meant"), ..FireRequest::new("t", Some("1")) };
        let fire_id = one.fire(skip).await.unwrap().fire_id;
        let none = HashMap::new();
        let tried = tokio::join!(one.retry(&fire_id, &none), two.retry(&fire_id, &none), three.retry(&fire_id, &none));
        let runs = [tried.0, tried.1, tried.2].into_iter().flatten().map(|(_, outcome)| outcome.runs);
        let runs: Vec<_> = runs.collect();
        assert!(!runs.is_empty() && runs.iter().all(|run| *run == runs[0]), "{runs:?}");
        let stats = one.stats(Some("t")).await.unwrap();
        assert_eq!((stats.total, stats.by_status[&FiringStatus::Processed]), (n + 1, n + 1));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_and_a_dismissal_at_once_do_not_both_succeed() {
    let server = RedisServer::start().unwrap();
    let [one, two, three] = instances(&server, Mode::Manual).await;
    for _ in 0..30 {
        let fire_id = one.fire(FireRequest::new("t", Some("1"))).await.unwrap().fire_id;
        let (a, b, dismissed) = tokio::join!(
            one.start_pending(&fire_id, "f", None),
            two.start_pending(&fire_id, "f", None),
            three.dismiss(&fire_id, "f", None, None)
        );
        let started: Vec<_> = [a, b].into_iter().flatten().collect();
        assert!(started.is_empty() != dismissed.is_err(), "{} {}", started.len(), dismissed.is_ok());
        assert!(one.pending().await.unwrap().is_empty());
        let [firing] = &one.runs("t", None, Some(1)).await.unwrap()[..] else { panic!("one") };
        assert_eq!(firing.runs.is_empty(), started.is_empty());
    }
}

#[tokio::test]
async fn a_run_that_was_started_can_not_be_dismissed() {
    let desk = Desk::with(json!({})).await;
    desk.triggers.subscribe(&subscription("t", "f", Mode::Manual)).await.unwrap();
    let fire_id = desk.fire(json!(1)).await.fire_id;
    let waiting = desk.triggers.pending().await.unwrap().remove(0);
    let (run, _) = desk.triggers.start_pending(&fire_id, "f", None).await.unwrap();
    // As a process leaves it that dies right behind the start.
    desk.append("nq:triggers", "trigger.processed", "t", json!({ "fireId": fire_id, "manual": ["f"] })).await;
    assert_eq!(desk.triggers.pending().await.unwrap()[0].fire_id, waiting.fire_id);
    assert!(desk.triggers.dismiss(&fire_id, "f", None, None).await.is_err());
    assert!(desk.triggers.pending().await.unwrap().is_empty());
    assert_eq!(desk.triggers.runs("t", None, None).await.unwrap()[0].runs, [run]);
}

#[tokio::test]
async fn a_firing_of_a_name_that_nobody_registered_can_be_retried() {
    let desk = Desk::with(json!({})).await;
    desk.triggers.subscribe(&subscription("later", "f", Mode::Auto)).await.unwrap();
    let skip = FireRequest { skip: Some("not meant"), ..FireRequest::new("later", Some("2")) };
    let skipped = desk.triggers.fire(skip).await.unwrap();
    let (name, retried) = desk.triggers.retry(&skipped.fire_id, &HashMap::new()).await.unwrap();
    assert_eq!((name.as_str(), retried.runs.len()), ("later", 1));
}

#[tokio::test]
async fn all_subscriptions_of_a_flow_follow_its_latest_definition() {
    let desk = Desk::with(json!({})).await;
    desk.flows.define(flow("f", "new"), true).unwrap();
    desk.triggers.subscribe_defined("f", &["u".into()], Mode::Auto).await.unwrap();
    let other = desk.other();
    for name in ["t", "u"] {
        let fired = other.fire(FireRequest::new(name, Some("1"))).await.unwrap();
        assert_eq!(fired.jobs[0].queue, "new", "{name}");
    }
    assert_eq!(other.subscribers("t"), [("f".into(), Mode::Auto)]);
    desk.triggers.subscribe_defined("f", &[], Mode::Auto).await.unwrap();
    assert_eq!(desk.triggers.subscribers("t").len(), 1, "that of the run time stays one");
}

#[tokio::test]
async fn what_others_wrote_beyond_all_bounds_breaks_nothing() {
    let most = u64::MAX;
    let configs = [
        json!({ "debounce": most }),
        json!({ "rateLimit": { "max": 1, "window": most } }),
        json!({ "rateLimit": { "max": most, "window": most }, "deduplicate": { "key": "", "window": most } }),
        json!({ "retentionDays": 1e308 }),
        json!({ "retentionDays": -1e308 }),
    ];
    for config in configs {
        let desk = Desk::with(json!({})).await;
        let definition = json!({ "name": "t", "type": "event", "config": config });
        desk.append("nq:triggers", "trigger.registered", "t", json!({ "definition": definition })).await;
        let other = desk.other();
        other.refresh().await.unwrap();
        for _ in 0..3 {
            other.fire(FireRequest::new("t", Some(r#"{"":1}"#))).await.unwrap();
        }
        other.fire_due().await.unwrap();
        other.stats(None).await.unwrap();
    }
    let desk = Desk::with(json!({})).await;
    let stranger = json!({ "definition": { "name": "another", "type": "event" } });
    desk.append("nq:triggers", "trigger.registered", "t", stranger).await;
    let other = desk.other();
    other.refresh().await.unwrap();
    assert_eq!(other.list().len(), 1);
    assert_eq!(other.list()[0].definition.name, "t");
}

#[tokio::test]
async fn the_longest_name_works_and_the_longest_key() {
    let desk = Desk::with(json!({})).await;
    let (name, key) = ("é".repeat(127), "k".repeat(200));
    desk.triggers.register(event(&name, json!({}))).await.unwrap();
    desk.triggers.subscribe(&subscription(&name, "f", Mode::Auto)).await.unwrap();
    let fire = async || desk.triggers.fire(FireRequest::new(&name, Some("1")).with_key(&key)).await.unwrap();
    let (first, second) = (fire().await, fire().await);
    assert_eq!((first.fire_id, second.is_repeated), (second.fire_id, true));
    assert_eq!(desk.triggers.deliveries(&name, None, None).await.unwrap().len(), 0);
}

#[tokio::test]
async fn an_empty_key_is_none() {
    let desk = Desk::with(json!({})).await;
    let refused = desk.triggers.fire(FireRequest::new("t", None).with_key("")).await.unwrap_err();
    assert!(refused.message().contains("idempotencyKey is empty"), "{}", refused.message());
    assert!(desk.statuses().await.is_empty());
}

#[tokio::test]
async fn what_can_not_fire_keeps_nothing_else_from_firing() {
    let desk = Desk::with(json!({ "debounce": 1_000 })).await;
    desk.fire(json!(1)).await;
    for name in ["a".repeat(256), "a".repeat(500)] {
        let waiting = json!({ "fireId": "x", "due": "2020-01-01T00:00:00.000Z" });
        desk.append("nq:triggers", "trigger.debounced", &name, waiting).await;
    }
    desk.clock.advance(1_000);
    desk.triggers.fire_due().await.unwrap();
    assert_eq!(desk.statuses().await, [FiringStatus::Processed]);
    assert_eq!(desk.triggers.fire_due().await.unwrap().next_ms, None);
    desk.other().finish_firings(0).await.unwrap();
}
