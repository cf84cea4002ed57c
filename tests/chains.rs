//! Chains: runs that belong together are found by what they share, for as long as they live.

#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test has no users, and fails by panicking"
)]

mod support {
    pub mod redis;
}

use std::sync::Arc;
use std::time::Duration;

use nuxt_queue_core::backend::redis::RedisOptions;
use nuxt_queue_core::flow::{BeginRequest, Begun, Emitter, FlowEngine, StartOptions};
use nuxt_queue_core::store::{Lives, RetentionOptions};
use nuxt_queue_core::trigger::{FireRequest, FlowSubscription, Mode, TriggerEngine};
use nuxt_queue_core::{EventStore, Query, StoreOptions, VirtualClock};
use serde_json::Value;
use support::redis::RedisServer;

const FLOW: &str = r#"{"name":"f","entry":{"step":"a","queue":"q"},"steps":{
    "a":{"queue":"q","emits":["x"]},"b":{"queue":"q","subscribes":["x"]}}}"#;

async fn engine(options: StoreOptions) -> FlowEngine {
    let flows = FlowEngine::new(EventStore::open(options).await.unwrap());
    flows.define(serde_json::from_str(FLOW).unwrap(), false).unwrap();
    flows
}

async fn start(flows: &FlowEngine, run_id: &str, correlation_id: Option<&str>) {
    let options = StartOptions {
        run_id: Some(run_id.into()),
        correlation_id: correlation_id.map(str::to_owned),
        ..StartOptions::default()
    };
    flows.start("f", None, options).await.unwrap();
}

fn begin(run_id: &str, step: &str) -> BeginRequest {
    BeginRequest {
        run_id: run_id.into(),
        flow_name: "f".into(),
        step_name: step.into(),
        queue: "q".into(),
        execution_id: step.into(),
        ..BeginRequest::default()
    }
}

async fn complete(flows: &FlowEngine, run_id: &str, step: &str) {
    let Begun::Run { .. } = flows.begin_step(&begin(run_id, step)).await.unwrap() else { panic!("{step}") };
    flows.complete_step(run_id, step, step, None).await.unwrap();
}

async fn chain(flows: &FlowEngine, correlation_id: &str) -> Vec<String> {
    flows.chain(correlation_id).await.unwrap().into_iter().map(|run| run.run_id).collect()
}

async fn events(flows: &FlowEngine, run_id: &str) -> Vec<Value> {
    let events = flows.store().query(Query::stream(format!("nq:flow:{run_id}"))).await.unwrap();
    serde_json::from_str(&events.to_json()).unwrap()
}

async fn finds_its_runs(options: StoreOptions) {
    let flows = engine(options).await;
    start(&flows, "root", None).await;
    for (run, chain) in [("child", "root"), ("grandchild", "root"), ("stranger", "other"), ("alone", "alone")] {
        start(&flows, run, Some(chain)).await;
    }
    assert_eq!(chain(&flows, "root").await, ["root", "child", "grandchild"]);
    assert_eq!(chain(&flows, "other").await, ["stranger"]);
    assert_eq!(chain(&flows, "alone").await, ["alone"]);
    assert_eq!(chain(&flows, "child").await, [""; 0], "it is in the chain of another");
    assert_eq!(chain(&flows, "nobody").await, [""; 0]);
    // It is known by what it was started with first.
    start(&flows, "child", Some("other")).await;
    start(&flows, "stranger", None).await;
    assert_eq!(chain(&flows, "root").await, ["root", "child", "grandchild"]);
    assert_eq!(chain(&flows, "other").await, ["stranger"]);
}

#[tokio::test]
async fn a_chain_has_its_runs_in_memory() {
    finds_its_runs(StoreOptions::memory()).await;
}

#[tokio::test]
async fn a_chain_has_its_runs_on_redis() {
    let server = RedisServer::start().unwrap();
    finds_its_runs(StoreOptions::redis(RedisOptions::from_url(&server.url()).unwrap())).await;
}

#[tokio::test]
async fn events_of_a_run_say_what_they_belong_to_and_come_from() {
    let flows = engine(StoreOptions::memory()).await;
    let options = StartOptions {
        run_id: Some("r".into()),
        correlation_id: Some("c".into()),
        causation_id: Some("cause".into()),
        ..StartOptions::default()
    };
    flows.start("f", None, options).await.unwrap();
    let Begun::Run { correlation_id, .. } = flows.begin_step(&begin("r", "a")).await.unwrap() else { panic!() };
    assert_eq!(correlation_id.as_deref(), Some("c"));
    let emitter = Emitter { step_name: "a".into(), execution_id: "a".into(), ordinal: 1 };
    flows.emit("r", "x", None, Some(&emitter)).await.unwrap();
    complete(&flows, "r", "b").await;
    flows.complete_step("r", "a", "a", None).await.unwrap();
    let events = events(&flows, "r").await;
    assert!(events.iter().all(|event| event["correlationId"] == "c"), "{events:#?}");
    let causes = events.iter().map(|event| (event["type"].as_str().unwrap(), event["causationId"].as_str()));
    let id = |index: usize| events[index]["id"].as_str();
    let expected = [
        ("flow.started", Some("cause")),
        ("flow.step.started", id(0)),
        ("emit", None),
        ("flow.step.started", id(2)),
        ("flow.step.completed", None),
        ("flow.step.completed", None),
        ("flow.completed", None),
    ];
    assert!(causes.eq(expected), "{events:#?}");
    let status = flows.status("r").await.unwrap().unwrap();
    assert_eq!((status.correlation_id.as_deref(), status.causation_id.as_deref()), (Some("c"), Some("cause")));
}

#[tokio::test]
async fn the_runs_of_a_firing_are_a_chain() {
    let flows = engine(StoreOptions::memory()).await;
    let triggers = TriggerEngine::new(flows.clone());
    let other = FLOW.replace("\"name\":\"f\"", "\"name\":\"g\"");
    flows.define(serde_json::from_str(&other).unwrap(), false).unwrap();
    for flow in ["f", "g"] {
        let subscription = FlowSubscription { trigger_name: "t".into(), flow_name: flow.into(), mode: Mode::Auto };
        triggers.subscribe(&subscription).await.unwrap();
    }
    let fired = triggers.fire(FireRequest::new("t", None)).await.unwrap();
    let mut runs: Vec<String> = fired.runs.iter().map(|run| run.run_id.clone()).collect();
    runs.sort();
    assert_eq!(runs.len(), 2);
    assert_eq!(chain(&flows, &fired.fire_id).await, runs);
    assert_eq!(events(&flows, &runs[0]).await[0]["causationId"], fired.fire_id);
}

#[tokio::test]
async fn the_index_of_chains_loses_what_has_expired() {
    let clock = Arc::new(VirtualClock::new(1_000_000));
    let second = Some(Duration::from_secs(1));
    let lives = Lives { active: None, completed: second, failed: second };
    let retention = RetentionOptions { lives, ..RetentionOptions::default() };
    let flows = engine(StoreOptions::memory().with_clock(clock.clone()).with_retention(retention)).await;
    for run in ["one", "two", "three"] {
        start(&flows, run, Some("c")).await;
    }
    let indexed = || async { flows.store().index_due("nq:chains", f64::INFINITY, 9).await.unwrap() };
    complete(&flows, "one", "a").await;
    clock.advance(2_000);
    assert_eq!(chain(&flows, "c").await, ["three", "two"]);
    // The end of any other run tidies up.
    complete(&flows, "two", "a").await;
    while indexed().await.len() > 2 {
        tokio::task::yield_now().await;
    }
    clock.advance(2_000);
    flows.cancel("three", None).await.unwrap();
    while indexed().await.len() > 1 {
        tokio::task::yield_now().await;
    }
    clock.advance(2_000);
    flows.store().index_read("nq:chains", 0, None).await.unwrap();
    assert_eq!(indexed().await, [""; 0]);
}
