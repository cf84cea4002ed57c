//! Runs and the versions of the code that they run in.

#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test has no users, and fails by panicking"
)]

use nuxt_queue_core::error::Code;
use nuxt_queue_core::flow::{BeginRequest, Begun, FlowDefinition, FlowEngine, StartOptions};
use nuxt_queue_core::version::Strategy;
use nuxt_queue_core::{EventStore, Query, StoreOptions};
use serde_json::{Value, json};

const LATEST: Strategy = Strategy::Latest;

/// An engine whose code has this version. It defines the flow `f`, whose step has one of its own if that is given.
fn engine(store: &EventStore, version: Option<&str>, strategy: Strategy, step: Option<&str>) -> FlowEngine {
    let engine = FlowEngine::new(store.clone()).with_version(version.map(str::to_owned), strategy).unwrap();
    let definition = json!({
        "name": "f", "entry": { "step": "a", "queue": "q" }, "steps": { "a": { "queue": "q", "version": step } }
    });
    engine.define(serde_json::from_value::<FlowDefinition>(definition).unwrap(), false).unwrap();
    engine
}

async fn store() -> EventStore {
    EventStore::open(StoreOptions::memory()).await.unwrap()
}

fn begin(run_id: &str) -> BeginRequest {
    let [run_id, flow_name, step_name, queue] = [run_id, "f", "a", "q"].map(str::to_owned);
    BeginRequest { run_id, flow_name, step_name, queue, is_of_engine: true, ..BeginRequest::default() }
}

fn in_version(version: Option<&str>) -> StartOptions {
    StartOptions { version: version.map(str::to_owned), ..StartOptions::default() }
}

async fn started(engine: &FlowEngine, version: Option<&str>) -> String {
    engine.start("f", None, in_version(version)).await.unwrap().run_id
}

/// The data of a run's events of a type.
async fn data(store: &EventStore, run_id: &str, event_type: &str) -> Vec<Value> {
    let query = Query { types: vec![event_type.into()], ..Query::stream(format!("nq:flow:{run_id}")) };
    let events = store.query(query).await.unwrap();
    events.iter().map(|event| serde_json::from_str(event.data.unwrap()).unwrap()).collect()
}

#[tokio::test]
async fn a_run_is_for_the_version_that_it_was_started_with() {
    let store = store().await;
    let one = engine(&store, Some("1.0.0"), LATEST, None);
    let run = started(&one, None).await;
    assert_eq!(data(&store, &run, "flow.started").await[0]["version"], "1.0.0");
    let other = started(&one, Some("2.1.0")).await;
    assert_eq!(data(&store, &other, "flow.started").await[0]["version"], "2.1.0");
    let none = started(&engine(&store, None, LATEST, None), None).await;
    assert_eq!(data(&store, &none, "flow.started").await[0].get("version"), None);
    let error = one.start("f", None, in_version(Some("two"))).await.unwrap_err();
    assert_eq!(error.code(), Code::Validation);
}

#[tokio::test]
async fn who_only_knows_the_plan_of_a_flow_has_no_version_of_it() {
    let store = store().await;
    let plan = engine(&store, None, LATEST, None).plan("f").unwrap();
    let gateway = FlowEngine::new(store.clone()).with_version(Some("9.0.0".into()), LATEST).unwrap();
    let options = StartOptions { plan: Some(plan), ..StartOptions::default() };
    let run = gateway.start("f", None, options).await.unwrap().run_id;
    assert_eq!(data(&store, &run, "flow.started").await[0].get("version"), None);
}

#[tokio::test]
async fn a_step_is_taken_by_code_that_goes_with_its_version() {
    let store = store().await;
    for (run, own, strategy, is_taken) in [
        (Some("1.2.0"), Some("1.9.3"), LATEST, true),
        (Some("1.9.0"), Some("1.2.0"), LATEST, true),
        (Some("1.9.0"), Some("2.0.0"), LATEST, false),
        (Some("0.3.1"), Some("0.3.9"), LATEST, true),
        (Some("0.3.1"), Some("0.4.0"), LATEST, false),
        (Some("0.0.1"), Some("0.0.2"), LATEST, false),
        (Some("2.0.0-rc.1"), Some("2.0.0"), LATEST, false),
        (Some("2.0.0-rc.1"), Some("2.0.0-rc.1"), LATEST, true),
        (None, Some("2.0.0"), LATEST, true),
        (Some("2.0.0"), None, LATEST, true),
        (Some("1.2.0"), Some("1.2.0"), Strategy::Strict, true),
        (Some("1.2.0"), Some("1.2.1"), Strategy::Strict, false),
        (None, Some("1.2.1"), Strategy::Strict, false),
        (None, None, Strategy::Strict, true),
        (Some("1.0.0"), Some("3.0.0"), Strategy::Mixed, true),
    ] {
        let run_id = started(&engine(&store, run, LATEST, None), None).await;
        let begun = engine(&store, own, strategy, None).begin_step(&begin(&run_id)).await.unwrap();
        assert_eq!(matches!(begun, Begun::Run { .. }), is_taken, "{own:?} for {run:?}, {strategy:?}: {begun:?}");
    }
}

#[tokio::test]
async fn a_step_may_have_a_version_of_its_own() {
    let store = store().await;
    let run_id = started(&engine(&store, Some("1.0.0"), LATEST, Some("5.0.0")), None).await;
    let Begun::Elsewhere(reason) =
        engine(&store, Some("2.0.0"), LATEST, None).begin_step(&begin(&run_id)).await.unwrap()
    else {
        panic!("it is taken");
    };
    assert!(reason.contains("is to run in version 5.0.0, and the version here is 2.0.0"), "{reason}");
    let same_step = engine(&store, Some("2.0.0"), LATEST, Some("5.1.0"));
    assert!(matches!(same_step.begin_step(&begin(&run_id)).await.unwrap(), Begun::Run { .. }));
}

#[tokio::test]
async fn that_nobody_takes_a_step_is_recorded_once_until_somebody_does() {
    let store = store().await;
    let engine = engine(&store, Some("1.0.0"), LATEST, None);
    let run_id = started(&engine, None).await;
    let waiting = engine.waiting(&run_id).await.unwrap();
    assert_eq!(
        serde_json::to_value(&waiting).unwrap(),
        json!([
            { "flowName": "f", "stepName": "a", "queue": "q", "version": "1.0.0" }
        ])
    );
    let note = async || engine.unavailable(&run_id, "a", "nobody is there").await.unwrap();
    assert!(note().await);
    assert!(!note().await);
    let recorded = data(&store, &run_id, "queue.unavailable").await;
    assert_eq!(recorded, [json!({ "reason": "nobody is there", "version": "1.0.0" })]);
    let Begun::Run { .. } =
        engine.begin_step(&BeginRequest { execution_id: "x".into(), ..begin(&run_id) }).await.unwrap()
    else {
        panic!("nothing to do");
    };
    assert!(!note().await);
    assert_eq!(engine.waiting(&run_id).await.unwrap(), []);
    engine.release_step(&run_id, "a", "x", "closing").await.unwrap();
    assert!(note().await);
    assert!(!engine.unavailable(&run_id, "b", "no such step").await.unwrap());
}
