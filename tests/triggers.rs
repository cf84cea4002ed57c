//! Triggers as engines decide over them: any number on one store, dying anywhere. Each firing starts one run of each
//! flow, however often it is finished.

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
use nuxt_queue_core::error::Code;
use nuxt_queue_core::event::{Field, NewEvent};
use nuxt_queue_core::flow::{FlowDefinition, FlowEngine};
use nuxt_queue_core::trigger::{
    FireRequest, FiringStatus, FlowSubscription, Mode, Outcome, TriggerDefinition, TriggerEngine,
};
use nuxt_queue_core::{AppendOptions, Error, EventStore, Query, StoreOptions, VirtualClock};
use serde_json::{Value, json};
use support::redis::RedisServer;

const START_MS: u64 = 1_700_000_000_000;

fn flow(name: &str) -> FlowDefinition {
    serde_json::from_value(
        json!({ "name": name, "entry": { "step": "a", "queue": "q" }, "steps": { "a": { "queue": "q" } } }),
    )
    .unwrap()
}

fn trigger(value: Value) -> TriggerDefinition {
    serde_json::from_value(value).unwrap()
}

fn event(name: &str, config: Value) -> TriggerDefinition {
    trigger(json!({ "name": name, "type": "event", "config": config }))
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
    async fn new() -> Desk {
        let clock = Arc::new(VirtualClock::new(START_MS));
        let store = EventStore::open(StoreOptions::memory().with_clock(clock.clone())).await.unwrap();
        let flows = FlowEngine::new(store.clone());
        flows.define(flow("f"), false).unwrap();
        Desk { triggers: TriggerEngine::new(flows.clone()), store, flows, clock }
    }

    /// With a trigger "t" that starts runs of "f".
    async fn with(config: Value) -> Desk {
        let desk = Desk::new().await;
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

    async fn count(&self, stream: &str, event_type: &str) -> usize {
        count(&self.store, stream, event_type).await
    }
}

async fn count(store: &EventStore, stream: &str, event_type: &str) -> usize {
    store.query(Query { types: vec![event_type.into()], ..Query::stream(stream) }).await.unwrap().len()
}

fn refusal<T>(result: Result<T, Error>, code: Code) -> String {
    let error = result.err().expect("it is refused");
    assert_eq!(error.code(), code, "{error}");
    error.message().to_owned()
}

#[tokio::test]
async fn a_thousand_restarts_add_nothing() {
    let desk = Desk::with(json!({})).await;
    let before = desk.store.query(Query::stream("nq:triggers")).await.unwrap().len();
    for _ in 0..1_000 {
        let other = desk.other();
        assert!(!other.register(event("t", json!({}))).await.unwrap());
        other.subscribe(&subscription("t", "f", Mode::Auto)).await.unwrap();
    }
    assert_eq!(desk.store.query(Query::stream("nq:triggers")).await.unwrap().len(), before);
}

#[tokio::test]
async fn what_is_registered_is_the_same_for_all_and_after_a_compaction() {
    let desk = Desk::with(json!({ "retentionDays": 7.0 })).await;
    desk.triggers.register(event("gone", json!({}))).await.unwrap();
    desk.triggers.set_enabled("t", false).await.unwrap();
    desk.triggers.update("t", r#"{"displayName":"T","tags":["x"]}"#).await.unwrap();
    desk.triggers.subscribe_defined("f", &["gone".into(), "later".into()], Mode::Manual).await.unwrap();
    assert!(desk.triggers.remove("gone").await.unwrap());
    assert!(!desk.triggers.remove("gone").await.unwrap());
    // Registered again by code that does not know that somebody disabled it.
    let definition =
        json!({ "name": "t", "type": "event", "displayName": "T", "tags": ["x"], "config": { "retentionDays": 7.0 } });
    assert!(!desk.triggers.register(trigger(definition.clone())).await.unwrap());
    let check = async || {
        let other = desk.other();
        other.refresh().await.unwrap();
        let [known] = &other.list()[..] else { panic!("one trigger") };
        assert_eq!((serde_json::to_value(&*known.definition).unwrap(), known.enabled), (definition.clone(), false));
        assert_eq!(other.subscribers("t"), [("f".into(), Mode::Auto)]);
        assert_eq!(other.subscribers("gone"), []);
        assert_eq!(other.subscribers("later"), [("f".into(), Mode::Manual)]);
    };
    check().await;
    for n in 0..4_100 {
        let note = NewEvent::new("flow.canceled").with(Field::RunId, n.to_string());
        desk.store.append("nq:triggers", note, AppendOptions::default()).await.unwrap();
    }
    desk.triggers.fire(FireRequest::new("other", None)).await.unwrap();
    assert!(desk.store.query(Query::stream("nq:triggers")).await.unwrap().len() < 100, "it is compacted");
    check().await;
}

#[tokio::test]
async fn a_definition_names_its_subscriptions_and_no_more() {
    let desk = Desk::with(json!({})).await;
    let define = async |names: &[&str]| {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        desk.triggers.subscribe_defined("f", &names, Mode::Auto).await.unwrap();
        ["t", "u", "v"].map(|name| desk.triggers.subscribers(name).len())
    };
    // "t" was subscribed to at run time: that stays.
    assert_eq!(define(&["u", "v"]).await, [1, 1, 1]);
    assert_eq!(define(&["v"]).await, [1, 0, 1]);
    assert_eq!(define(&[]).await, [1, 0, 0]);
    assert!(desk.triggers.unsubscribe("t", "f").await.unwrap());
    assert!(!desk.triggers.unsubscribe("t", "f").await.unwrap());
}

#[tokio::test]
async fn what_can_not_work_is_refused_with_every_reason() {
    let desk = Desk::new().await;
    let broken = trigger(json!({
        "name": "", "type": "webhook",
        "config": {
            "persistData": false, "debounce": 5, "retentionDays": -1.0, "rateLimit": { "max": 0, "window": 0 },
            "deduplicate": { "key": "a..b", "window": 99_999_999_999u64 },
        },
    }));
    let said = refusal(desk.triggers.register(broken).await, Code::Config);
    for part in [
        "1 to 255",
        "an endpoint",
        "retentionDays",
        "rateLimit.window",
        "rateLimit.max",
        "deduplicate.key",
        "debounce keeps",
    ] {
        assert!(said.contains(part), "{part} in {said}");
    }
    refusal(desk.triggers.update("t", "{}").await, Code::NotFound);
    refusal(desk.triggers.set_enabled("t", true).await, Code::NotFound);
    refusal(desk.triggers.subscribe(&subscription("t", "unknown", Mode::Auto)).await, Code::NotFound);
    desk.triggers.register(event("t", json!({ "persistData": false }))).await.unwrap();
    refusal(desk.triggers.subscribe(&subscription("t", "f", Mode::Manual)).await, Code::Validation);
    refusal(desk.triggers.update("t", "5").await, Code::Config);
    refusal(desk.triggers.update("t", r#"{"type":"schedule"}"#).await, Code::Config);
    desk.triggers.update("t", r#"{"scope":"run"}"#).await.unwrap();
    refusal(desk.triggers.subscribe(&subscription("t", "f", Mode::Auto)).await, Code::Validation);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_register_at_once_while_others_fire() {
    let server = RedisServer::start().unwrap();
    let mut tasks = tokio::task::JoinSet::new();
    for n in 0..4 {
        let options = RedisOptions::from_url(&server.url()).unwrap();
        let store = EventStore::open(StoreOptions::redis(options)).await.unwrap();
        let triggers = TriggerEngine::new(FlowEngine::new(store));
        tasks.spawn(async move {
            for m in 0..25 {
                triggers.register(event(&format!("t{m}"), json!({}))).await.unwrap();
                triggers.update(&format!("t{m}"), &format!("{{\"description\":\"{n}\"}}")).await.unwrap();
                triggers.fire(FireRequest::new("busy", None)).await.unwrap();
            }
            triggers
        });
    }
    let mut seen: Vec<Value> = Vec::new();
    for triggers in tasks.join_all().await {
        triggers.refresh().await.unwrap();
        assert_eq!(triggers.list().len(), 25);
        seen.push(serde_json::to_value(triggers.list()).unwrap());
    }
    assert!(seen.windows(2).all(|pair| pair[0] == pair[1]), "all come to the same");
}

#[tokio::test]
async fn a_firing_starts_a_run_of_each_flow_and_says_which() {
    let desk = Desk::with(json!({})).await;
    desk.flows.define(flow("g"), false).unwrap();
    desk.triggers.subscribe(&subscription("t", "g", Mode::Auto)).await.unwrap();
    let fired = desk.fire(json!({ "n": 1 })).await;
    assert_eq!(fired.runs.iter().map(|run| &*run.flow_name).collect::<Vec<_>>(), ["f", "g"]);
    assert_eq!(fired.jobs.len(), 2);
    let run = &fired.runs[0].run_id;
    let status = desk.flows.status(run).await.unwrap().unwrap();
    assert_eq!(status.triggered_by.as_deref(), Some("t"));
    let events = desk.store.query(Query::stream(format!("nq:flow:{run}"))).await.unwrap();
    let data: Value = serde_json::from_str(events.iter().next().unwrap().data.unwrap()).unwrap();
    assert_eq!((&data["input"], &data["fireId"]), (&json!({ "n": 1 }), &json!(fired.fire_id)));
    let [known] = &desk.triggers.runs("t", None, None).await.unwrap()[..] else { panic!("one firing") };
    assert_eq!((&known.runs, known.status), (&fired.runs, FiringStatus::Processed));
}

#[tokio::test]
async fn an_instance_without_the_flow_starts_it_by_the_plan_on_record() {
    let desk = Desk::with(json!({})).await;
    let other = desk.other();
    let fired = other.fire(FireRequest::new("t", Some("1"))).await.unwrap();
    assert_eq!((fired.runs.len(), fired.jobs[0].queue.as_str()), (1, "q"));
}

/// As a process leaves it that dies right behind the record.
async fn orphan(desk: &Desk, payload: &str) -> String {
    let fire_id = desk.triggers.new_id();
    let data = format!(r#"{{"fireId":"{fire_id}",{payload}"flows":[{{"flowName":"f","mode":"auto"}}]}}"#);
    let fired = NewEvent::new("trigger.fired").with(Field::TriggerName, "t").with_data(data);
    desk.store.index_add("nq:firings", &format!("{fire_id}@t"), desk.store.now_ms() as f64).await.unwrap();
    desk.store.append("nq:trigger:t", fired, AppendOptions::default()).await.unwrap();
    fire_id
}

#[tokio::test]
async fn what_nobody_finished_is_finished_once_however_many_try() {
    let desk = Desk::with(json!({})).await;
    orphan(&desk, r#""payload":5,"#).await;
    desk.clock.advance(10_000);
    let others = [desk.other(), desk.other(), desk.other()];
    let [a, b, c] = &others;
    let (a, b, c) = tokio::join!(a.finish_firings(5_000), b.finish_firings(5_000), c.finish_firings(5_000));
    assert!(!a.unwrap().jobs.is_empty());
    for finished in [b, c] {
        finished.unwrap();
    }
    assert_eq!(desk.runs().await, 1);
    assert_eq!(desk.triggers.stats(Some("t")).await.unwrap().by_status[&FiringStatus::Processed], 1);
    assert!(desk.other().finish_firings(0).await.unwrap().jobs.is_empty(), "nothing is left");
    assert!(desk.store.index_read("nq:firings", 0, None).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_note_of_what_was_never_recorded_is_forgotten_in_time() {
    let desk = Desk::with(json!({})).await;
    let note = format!("{}@t", desk.triggers.new_id());
    desk.store.index_add("nq:firings", &note, desk.store.now_ms() as f64).await.unwrap();
    desk.clock.advance(20_000);
    desk.triggers.finish_firings(10_000).await.unwrap();
    assert_eq!(desk.store.index_read("nq:firings", 0, None).await.unwrap().len(), 1, "it may be under way");
    desk.clock.advance(600_000);
    desk.triggers.finish_firings(10_000).await.unwrap();
    assert!(desk.store.index_read("nq:firings", 0, None).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_key_counts_once_also_after_a_compaction() {
    let desk = Desk::with(json!({})).await;
    let fire = async || desk.triggers.fire(FireRequest::new("t", Some("1")).with_key("k")).await.unwrap();
    let first = fire().await;
    for _ in 0..2_100 {
        desk.triggers.fire(FireRequest::new("u", None)).await.unwrap();
    }
    assert_eq!(desk.count("nq:triggers", "trigger.snapshot").await, 1, "it was compacted");
    let second = fire().await;
    assert_eq!((&second.fire_id, &second.runs, second.is_repeated), (&first.fire_id, &first.runs, true));
    assert_eq!(desk.runs().await, 1);
}

#[tokio::test]
async fn a_key_finishes_what_was_left_unfinished() {
    let desk = Desk::with(json!({ "persistData": false })).await;
    let fire_id = desk.triggers.new_id();
    let data = format!(r#"{{"fireId":"{fire_id}","payloadNotKept":true,"flows":[{{"flowName":"f","mode":"auto"}}]}}"#);
    let fired = NewEvent::new("trigger.fired").with(Field::TriggerName, "t").with_data(data);
    let options = AppendOptions { expected_last_id: None, idempotency_key: Some("fire:k".into()) };
    desk.store.append("nq:trigger:t", fired, options).await.unwrap();
    let again = desk.triggers.fire(FireRequest::new("t", Some("7")).with_key("k")).await.unwrap();
    assert_eq!((again.fire_id, again.status), (fire_id, FiringStatus::Processed));
    assert_eq!(desk.runs().await, 1);
}

#[tokio::test]
async fn a_payload_that_is_not_kept_stands_nowhere_but_in_the_run() {
    let desk = Desk::with(json!({ "persistData": false })).await;
    let fired = desk.fire(json!("a private matter")).await;
    for stream in ["nq:trigger:t", "nq:triggers"] {
        let text = desk.store.query(Query::stream(stream)).await.unwrap().to_json();
        assert!(!text.contains("private"), "{text}");
    }
    let run = desk.store.query(Query::stream(format!("nq:flow:{}", fired.runs[0].run_id))).await.unwrap().to_json();
    assert!(run.contains("private"));
    // Who dies in the middle takes it along.
    orphan(&desk, r#""payloadNotKept":true,"#).await;
    desk.clock.advance(10_000);
    desk.other().finish_firings(5_000).await.unwrap();
    let [failed] = &desk.triggers.runs("t", Some(FiringStatus::Failed), None).await.unwrap()[..] else { panic!("one") };
    assert!(failed.reason.as_ref().unwrap().contains("payload is gone"));
    refusal(desk.triggers.retry(&failed.fire_id, &HashMap::new()).await, Code::Validation);
}

#[tokio::test]
async fn a_rate_limit_slides() {
    let desk = Desk::with(json!({ "rateLimit": { "max": 2, "window": 1_000 } })).await;
    let mut statuses = Vec::new();
    for _ in 0..5 {
        statuses.push(desk.fire(json!(1)).await.status == FiringStatus::Processed);
        desk.clock.advance(400);
    }
    // At 0, 400, 800, 1200 and 1600 ms.
    assert_eq!(statuses, [true, true, false, true, true]);
    let other = desk.other();
    let refused = other.fire(FireRequest::new("t", Some("1"))).await.unwrap();
    assert_eq!((refused.status, refused.retry_after_ms), (FiringStatus::Skipped, Some(200)));
    desk.clock.advance(200);
    assert_eq!(desk.fire(json!(1)).await.status, FiringStatus::Processed);
    assert!(refused.reason.unwrap().contains("2 times within 1000 ms"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rate_limit_is_that_of_all_instances() {
    let server = RedisServer::start().unwrap();
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..4 {
        let options = RedisOptions::from_url(&server.url()).unwrap();
        let triggers =
            TriggerEngine::new(FlowEngine::new(EventStore::open(StoreOptions::redis(options)).await.unwrap()));
        triggers.register(event("t", json!({ "rateLimit": { "max": 10, "window": 3_600_000 } }))).await.unwrap();
        for _ in 0..5 {
            let triggers = triggers.clone();
            tasks.spawn(async move {
                triggers.fire(FireRequest::new("t", Some("1"))).await.unwrap().status == FiringStatus::Processed
            });
        }
    }
    assert_eq!(tasks.join_all().await.into_iter().filter(|fired| *fired).count(), 10);
}

#[tokio::test]
async fn the_same_again_is_skipped_within_its_window() {
    let desk = Desk::with(json!({ "deduplicate": { "key": "order.id", "window": 1_000 } })).await;
    let order = |id: Value| json!({ "order": { "id": id } });
    let first = desk.fire(order(json!(7))).await;
    let same = desk.fire(order(json!(7))).await;
    assert_eq!(same.status, FiringStatus::Skipped);
    assert!(same.reason.unwrap().contains(&first.fire_id));
    for other in [order(json!("7")), order(json!(8)), json!({}), json!({})] {
        assert_eq!(desk.fire(other).await.status, FiringStatus::Processed);
    }
    desk.clock.advance(1_000);
    assert_eq!(desk.fire(order(json!(7))).await.status, FiringStatus::Processed);
    assert_eq!(desk.fire(order(json!(7))).await.status, FiringStatus::Skipped);
}

#[tokio::test]
async fn of_many_in_a_row_the_last_fires_when_it_is_quiet() {
    let desk = Desk::with(json!({ "debounce": 1_000 })).await;
    for n in 0..3 {
        let fired = desk.fire(json!(n)).await;
        assert_eq!((fired.status, fired.runs.len()), (FiringStatus::Fired, 0));
        desk.clock.advance(600);
    }
    assert_eq!(desk.triggers.fire_due().await.unwrap().next_ms, Some(START_MS + 2_200));
    assert_eq!(desk.runs().await, 0);
    desk.clock.advance(400);
    // All instances see that it is quiet; also one that has never heard of it.
    let (one, other) = (desk.other(), desk.other());
    let (a, b) = tokio::join!(one.fire_due(), other.fire_due());
    assert_eq!(a.unwrap().jobs.len() + b.unwrap().jobs.len(), 1);
    assert_eq!(desk.runs().await, 1);
    let runs = desk.triggers.runs("t", None, None).await.unwrap();
    assert_eq!(
        runs.iter().map(|run| run.status).collect::<Vec<_>>(),
        [FiringStatus::Processed, FiringStatus::Skipped, FiringStatus::Skipped]
    );
    assert_eq!(runs[0].data.as_ref().unwrap().get(), "2");
    assert!(runs[2].reason.as_ref().unwrap().contains(&runs[1].fire_id));
    assert_eq!(desk.triggers.fire_due().await.unwrap().next_ms, None);
    let stats = desk.triggers.stats(None).await.unwrap();
    assert_eq!((stats.total, stats.by_status[&FiringStatus::Skipped]), (3, 2));
}

#[tokio::test]
async fn what_waits_for_quiet_fires_also_when_nobody_told() {
    let desk = Desk::with(json!({ "debounce": 1_000 })).await;
    // As a process leaves it that dies before it told anybody.
    let fire_id = desk.triggers.new_id();
    let due = nuxt_queue_core::event::format_time(START_MS + 1_000);
    let data =
        format!(r#"{{"fireId":"{fire_id}","payload":1,"flows":[{{"flowName":"f","mode":"auto"}}],"due":"{due}"}}"#);
    let waiting = NewEvent::new("trigger.debounced").with(Field::TriggerName, "t").with_data(data);
    desk.store.index_add("nq:firings", &format!("{fire_id}@t"), START_MS as f64).await.unwrap();
    desk.store.append("nq:trigger:t", waiting, AppendOptions::default()).await.unwrap();
    // Long after, as nobody was there.
    desk.clock.advance(40 * 86_400_000);
    let other = desk.other();
    other.finish_firings(10_000).await.unwrap();
    other.fire_due().await.unwrap();
    assert_eq!(desk.runs().await, 1);
    assert_eq!(other.fire_due().await.unwrap().next_ms, None);
}

#[tokio::test]
async fn a_person_starts_the_run_or_does_not() {
    let desk = Desk::new().await;
    desk.triggers.register(event("t", json!({}))).await.unwrap();
    desk.triggers.subscribe(&subscription("t", "f", Mode::Manual)).await.unwrap();
    let (first, second) = (desk.fire(json!(1)).await, desk.fire(json!(2)).await);
    assert_eq!((first.runs.len(), first.status), (0, FiringStatus::Processed));
    let other = desk.other();
    let waiting = other.pending().await.unwrap();
    assert_eq!(waiting.iter().map(|start| &start.fire_id).collect::<Vec<_>>(), [&first.fire_id, &second.fire_id]);
    let (run, jobs) = other.start_pending(&first.fire_id, "f", Some("7")).await.unwrap();
    assert_eq!((jobs.len(), desk.runs().await), (1, 1));
    refusal(desk.triggers.start_pending(&first.fire_id, "f", None).await, Code::NotFound);
    desk.triggers.dismiss(&second.fire_id, "f", None, Some("not now")).await.unwrap();
    assert!(other.pending().await.unwrap().is_empty());
    let known = desk.triggers.runs("t", None, None).await.unwrap();
    assert_eq!((&known[1].runs[..], known[0].runs.len()), (&[run][..], 0));
}

#[tokio::test]
async fn a_function_decides_for_each_firing() {
    let desk = Desk::new().await;
    desk.triggers.register(event("t", json!({}))).await.unwrap();
    desk.triggers.subscribe(&subscription("t", "f", Mode::Function)).await.unwrap();
    let fire = async |modes: &[Option<Mode>]| {
        let modes: HashMap<String, Option<Mode>> = modes.iter().map(|mode| ("f".to_owned(), *mode)).collect();
        desk.triggers.fire(FireRequest { modes, ..FireRequest::new("t", Some("1")) }).await
    };
    assert_eq!(fire(&[Some(Mode::Auto)]).await.unwrap().runs.len(), 1);
    assert_eq!(fire(&[None]).await.unwrap().runs.len(), 0);
    assert_eq!(fire(&[Some(Mode::Manual)]).await.unwrap().runs.len(), 0);
    assert_eq!(desk.triggers.pending().await.unwrap().len(), 1);
    refusal(fire(&[]).await, Code::Config);
    assert_eq!(desk.triggers.stats(Some("t")).await.unwrap().total, 3, "what is refused is not recorded");
}

#[tokio::test]
async fn what_is_disabled_or_not_meant_leaves_its_reason_and_can_be_retried() {
    let desk = Desk::with(json!({})).await;
    desk.triggers.set_enabled("t", false).await.unwrap();
    let disabled = desk.fire(json!(1)).await;
    assert_eq!((disabled.status, disabled.reason.as_deref()), (FiringStatus::Skipped, Some("the trigger is disabled")));
    desk.triggers.set_enabled("t", true).await.unwrap();
    let skip = FireRequest { skip: Some("not meant"), ..FireRequest::new("t", Some("2")) };
    desk.triggers.fire(skip).await.unwrap();
    assert_eq!(desk.runs().await, 0);
    let (name, retried) = desk.other().retry(&disabled.fire_id, &HashMap::new()).await.unwrap();
    assert_eq!((name.as_str(), retried.status, &retried.fire_id), ("t", FiringStatus::Processed, &disabled.fire_id));
    assert_eq!(desk.runs().await, 1);
    refusal(desk.triggers.retry(&disabled.fire_id, &HashMap::new()).await, Code::Conflict);
    refusal(desk.triggers.retry("unknown", &HashMap::new()).await, Code::NotFound);
    let stats = desk.triggers.stats(Some("t")).await.unwrap();
    assert_eq!((stats.total, stats.by_status[&FiringStatus::Processed]), (2, 1));
    assert_eq!(desk.triggers.runs("t", None, None).await.unwrap().len(), 2);
}

#[tokio::test]
async fn old_firings_are_forgotten() {
    let desk = Desk::with(json!({ "retentionDays": 1.0 })).await;
    for n in 0..5 {
        desk.fire(json!(n)).await;
        desk.clock.advance(8 * 3_600_000);
    }
    let kept = desk.triggers.runs("t", None, None).await.unwrap();
    assert!((2..5).contains(&kept.len()), "{} are kept", kept.len());
    desk.clock.advance(2 * 86_400_000);
    assert!(desk.store.last_id("nq:trigger:t").await.unwrap().is_none(), "nothing came for a day");
}

#[tokio::test]
async fn hostile_events_on_the_stream_are_passed_over() {
    let desk = Desk::with(json!({})).await;
    let hostile = [
        ("trigger.registered", "{}"),
        ("trigger.registered", r#"{"definition":{"name":5}}"#),
        ("trigger.registered", "[]"),
        ("trigger.updated", r#"{"changes":{"config":7}}"#),
        ("trigger.subscribed", r#"{"flowName":"f"}"#),
        ("trigger.unsubscribed", r#"{"flowName":5}"#),
        ("trigger.fired", r#"{"fireId":"x","at":"no id"}"#),
        ("trigger.debounced", r#"{"fireId":"x","due":"no time"}"#),
        ("trigger.processed", r#"{"fireId":"x","manual":5}"#),
    ];
    for (event_type, data) in hostile {
        for stream in ["nq:triggers", "nq:trigger:t"] {
            let event = NewEvent::new(event_type).with(Field::TriggerName, "t").with_data(data);
            desk.store.append(stream, event, AppendOptions::default()).await.unwrap();
        }
    }
    desk.other().fire_due().await.unwrap();
    assert_eq!(desk.fire(json!(1)).await.runs.len(), 1);
    assert_eq!(desk.triggers.runs("t", None, None).await.unwrap().len(), 2, "one that is open, and ours");
    desk.triggers.stats(None).await.unwrap();
}
