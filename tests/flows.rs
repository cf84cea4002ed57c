//! Flows as engines decide over them: any number of engines on one store, jobs that are handed over twice,
//! executions that die at any point. Whatever happens, each step's outcome is recorded once.

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

use std::collections::BTreeMap;
use std::sync::Arc;

use nuxt_queue_core::backend::redis::RedisOptions;
use nuxt_queue_core::error::Code;
use nuxt_queue_core::event::{Field, NewEvent};
use nuxt_queue_core::flow::{
    AwaitRequest, BeginRequest, Begun, Emitter, Failed, Fired, Firing, FlowDefinition, FlowEngine, Job, StartOptions,
    StepError,
};
use nuxt_queue_core::run::{AwaitPhase, Status, StepPhase, reduce_run};
use nuxt_queue_core::trigger::{FireRequest, TriggerEngine};
use nuxt_queue_core::{AppendOptions, EventStore, Query, StoreOptions, VirtualClock};
use proptest::prelude::*;
use support::redis::RedisServer;

const ONE_DAY_MS: u64 = 86_400_000;

fn definition(json: &str) -> FlowDefinition {
    serde_json::from_str(json).unwrap()
}

fn refusal(json: &str) -> String {
    let error = definition(json).into_plan().unwrap_err();
    assert_eq!(error.code(), Code::Config);
    error.message().to_owned()
}

struct Desk {
    flows: FlowEngine,
    triggers: TriggerEngine,
    clock: Arc<VirtualClock>,
}

async fn desk() -> Desk {
    let clock = Arc::new(VirtualClock::new(1_700_000_000_000));
    let store = EventStore::open(StoreOptions::memory().with_clock(clock.clone())).await.unwrap();
    let flows = FlowEngine::new(store);
    Desk { triggers: TriggerEngine::new(flows.clone()), flows, clock }
}

fn begin(run_id: &str, step: &str, execution: &str) -> BeginRequest {
    BeginRequest {
        run_id: run_id.into(),
        flow_name: "f".into(),
        step_name: step.into(),
        queue: "q".into(),
        execution_id: execution.into(),
        ..BeginRequest::default()
    }
}

fn emitter(step: &str, execution: &str, ordinal: u64) -> Emitter {
    Emitter { step_name: step.into(), execution_id: execution.into(), ordinal }
}

fn awaiting(run_id: &str, step: &str, execution: &str, name: &str) -> AwaitRequest {
    AwaitRequest {
        run_id: run_id.into(),
        step_name: step.into(),
        execution_id: execution.into(),
        name: name.into(),
        ordinal: 1,
        kind: "trigger".into(),
        ..AwaitRequest::default()
    }
}

async fn types(flows: &FlowEngine, run_id: &str) -> Vec<String> {
    let events = flows.store().query(Query::stream(format!("nq:flow:{run_id}"))).await.unwrap();
    events.iter().map(|event| event.event_type.to_owned()).collect()
}

async fn count(flows: &FlowEngine, run_id: &str, event_type: &str) -> usize {
    types(flows, run_id).await.iter().filter(|found| *found == event_type).count()
}

async fn started(desk: &Desk, json: &str) -> (String, Vec<Job>) {
    desk.flows.define(definition(json), true).unwrap();
    let started = desk.flows.start("f", Some("{\"n\":1}"), StartOptions::default()).await.unwrap();
    (started.run_id, started.jobs)
}

const ONE_STEP: &str = r#"{"name":"f","entry":{"step":"a","queue":"q"},"steps":{"a":{"queue":"q","maxAttempts":3,
    "backoff":{"type":"exponential","delay":100,"maxDelay":150}}}}"#;

/// b and c run on what a emits, d when both have emitted.
const DIAMOND: &str = r#"{"name":"f","entry":{"step":"a","queue":"q"},"steps":{
    "a":{"queue":"q","emits":["x"]},
    "b":{"queue":"q","subscribes":["x"],"emits":["y"]},
    "c":{"queue":"q","subscribes":["x"],"emits":["z"]},
    "d":{"queue":"q","subscribes":["y","z"],"emits":[]}}}"#;

#[test]
fn definitions_that_cannot_run_are_refused_with_the_place() {
    let steps = |steps: &str| format!(r#"{{"name":"f","entry":{{"step":"a","queue":"q"}},"steps":{steps}}}"#);
    for (given, said) in [
        (steps("{}"), "no steps"),
        (steps(r#"{"b":{"queue":"q"}}"#), "entry.step \"a\""),
        (steps(r#"{"a":{"queue":"other"}}"#), "entry.queue"),
        (steps(r#"{"a":{"queue":"q"},"b":{"queue":"q"}}"#), "\"b\" is never reached"),
        (steps(r#"{"a":{"queue":"q","emits":["x"]},"b":{"queue":"q","subscribes":["y"]}}"#), "emits y"),
        (
            steps(
                r#"{"a":{"queue":"q","emits":["x"]},"b":{"queue":"q","subscribes":["x","y"],"emits":["z"]},"c":{"queue":"q","subscribes":["z"],"emits":["y"]}}"#,
            ),
            "cycle, b → c → b",
        ),
        (steps(r#"{"a":{"queue":"q","subscribes":["x"],"emits":["x"]}}"#), "cycle, a → a"),
        (steps(r#"{"a":{"queue":"q"},"a b":{"queue":"q"}}"#), "The name of a step"),
        (steps(r#"{"a":{"queue":"q"},"a__b":{"queue":"q"}}"#), "two underscores"),
        (steps(r#"{"a":{"queue":"q:1"}}"#), "The queue of step"),
        (steps(r#"{"a":{"queue":"q"},"b":{"queue":"q","subscribes":["x","x"]}}"#), "names \"x\" twice"),
        (steps(r#"{"a":{"queue":"q","maxAttempts":0}}"#), "maxAttempts is 0"),
    ] {
        let message = refusal(&given);
        assert!(message.contains(said), "{given}: {message}");
    }
}

#[test]
fn a_step_that_does_not_say_what_it_emits_may_reach_any_other() {
    let json = r#"{"name":"f","entry":{"step":"a","queue":"q"},"steps":{"a":{"queue":"q"},"b":{"queue":"q","subscribes":["x"]}}}"#;
    assert!(definition(json).into_plan().is_ok());
    let outside = r#"{"name":"f","entry":{"step":"a","queue":"q"},"accepts":["paid"],
        "steps":{"a":{"queue":"q","emits":[]},"b":{"queue":"q","subscribes":["paid"]}}}"#;
    assert!(definition(outside).into_plan().is_ok());
}

#[tokio::test]
async fn a_name_is_defined_once_unless_it_is_replaced() {
    let desk = desk().await;
    desk.flows.define(definition(ONE_STEP), false).unwrap();
    desk.flows.define(definition(ONE_STEP), false).unwrap();
    assert_eq!(desk.flows.define(definition(DIAMOND), false).unwrap_err().code(), Code::Config);
    desk.flows.define(definition(DIAMOND), true).unwrap();
}

#[tokio::test]
async fn a_second_start_with_one_id_is_the_same_run() {
    let desk = desk().await;
    desk.flows.define(definition(ONE_STEP), false).unwrap();
    let options =
        StartOptions { run_id: Some("r".into()), triggered_by: Some("test".into()), ..StartOptions::default() };
    let first = desk.flows.start("f", None, options.clone()).await.unwrap();
    let second = desk.flows.start("f", Some("2"), options.clone()).await.unwrap();
    assert_eq!((first.is_repeated, second.is_repeated), (false, true));
    assert_eq!(first.jobs[0].job_id, second.jobs[0].job_id);
    assert_eq!(types(&desk.flows, "r").await, ["flow.started"]);
    let other = ONE_STEP.replace("\"name\":\"f\"", "\"name\":\"g\"");
    desk.flows.define(definition(&other), false).unwrap();
    let error = desk.flows.start("g", None, options).await.unwrap_err();
    assert_eq!(error.code(), Code::Conflict);
    assert_eq!(desk.flows.start("unknown", None, StartOptions::default()).await.unwrap_err().code(), Code::NotFound);
}

#[tokio::test]
async fn a_join_runs_once_when_all_have_come() {
    let desk = desk().await;
    let (run, jobs) = started(&desk, DIAMOND).await;
    assert_eq!((jobs[0].name.as_str(), jobs[0].job_id.as_str()), ("a", format!("{run}__a").as_str()));
    for (step, event, next) in [("a", "x", vec!["b", "c"]), ("b", "y", vec![]), ("c", "z", vec!["d"])] {
        assert!(matches!(desk.flows.begin_step(&begin(&run, step, step)).await.unwrap(), Begun::Run { .. }));
        let emission = desk.flows.emit(&run, event, Some("{\"by\":1}"), Some(&emitter(step, step, 1))).await.unwrap();
        let names: Vec<&str> = emission.jobs.iter().map(|job| job.name.as_str()).collect();
        assert_eq!(names, next, "after {step}");
        assert_eq!(desk.flows.complete_step(&run, step, step, None).await.unwrap(), (true, false));
    }
    let Begun::Run { input, .. } = desk.flows.begin_step(&begin(&run, "d", "d")).await.unwrap() else { panic!() };
    assert_eq!(input.as_deref(), Some(r#"{"y":{"by":1},"z":{"by":1}}"#));
    assert_eq!(desk.flows.complete_step(&run, "d", "d", Some("7")).await.unwrap(), (true, true));
    assert_eq!(desk.flows.status(&run).await.unwrap().unwrap().status, Status::Completed);
    assert_eq!(types(&desk.flows, &run).await.last().unwrap(), "flow.completed");
    let late = desk.flows.emit(&run, "x", None, None).await.unwrap_err();
    assert!(late.code() == Code::Conflict && late.message().contains("completed"), "{late}");
}

#[tokio::test]
async fn the_result_of_a_run_is_that_of_its_last_step_whoever_ends_last() {
    let desk = desk().await;
    let json = r#"{"name":"f","entry":{"step":"a","queue":"q"},"steps":{"a":{"queue":"q"},"b":{"queue":"q","subscribes":["x"]}}}"#;
    let (run, _) = started(&desk, json).await;
    desk.flows.begin_step(&begin(&run, "a", "1")).await.unwrap();
    desk.flows.emit(&run, "x", None, Some(&emitter("a", "1", 1))).await.unwrap();
    desk.flows.begin_step(&begin(&run, "b", "2")).await.unwrap();
    assert_eq!(desk.flows.complete_step(&run, "b", "2", Some("\"of b\"")).await.unwrap(), (true, false));
    assert_eq!(desk.flows.complete_step(&run, "a", "1", Some("\"of a\"")).await.unwrap(), (true, true));
    let events = desk.flows.store().query(Query::stream(format!("nq:flow:{run}"))).await.unwrap();
    assert_eq!(events.last().unwrap().data, Some(r#"{"result":"of b"}"#));
}

#[tokio::test]
async fn attempts_are_counted_and_spaced_by_the_record() {
    let desk = desk().await;
    let (run, _) = started(&desk, ONE_STEP).await;
    let error = StepError { message: "no".into(), ..StepError::default() };
    for (attempt, delay) in [(2, 100), (3, 150)] {
        desk.flows.begin_step(&begin(&run, "a", &attempt.to_string())).await.unwrap();
        let failed = desk.flows.fail_step(&run, "a", &attempt.to_string(), &error).await.unwrap();
        assert_eq!(failed, Failed::Retry { next_attempt: attempt, delay });
    }
    let explained = desk.flows.explain(&run).await.unwrap();
    assert!(explained.contains("attempt 2 failed (no); it is tried again in"), "{explained}");
    let Begun::Run { attempt, .. } = desk.flows.begin_step(&begin(&run, "a", "last")).await.unwrap() else { panic!() };
    assert_eq!(attempt, 3);
    assert_eq!(desk.flows.fail_step(&run, "a", "last", &error).await.unwrap(), Failed::Ended);
    let status = desk.flows.status(&run).await.unwrap().unwrap();
    assert_eq!((status.status, status.steps["a"].status), (Status::Failed, StepPhase::Failed));
    let Begun::Skip(reason) = desk.flows.begin_step(&begin(&run, "a", "x")).await.unwrap() else { panic!() };
    assert!(reason.contains("failed at"), "{reason}");
}

#[tokio::test]
async fn an_attempt_knows_for_how_long_it_could_have_run() {
    let desk = desk().await;
    let (run, _) = started(&desk, ONE_STEP).await;
    let waited = async |execution: &str| {
        let begun = desk.flows.begin_step(&begin(&run, "a", execution)).await.unwrap();
        let Begun::Run { waited_ms, .. } = begun else { panic!("{begun:?}") };
        waited_ms
    };
    desk.clock.advance(3_000);
    assert_eq!(waited("1").await, Some(3_000));
    desk.clock.advance(1_000);
    assert_eq!(waited("again").await, None);
    let error = StepError { message: "no".into(), ..StepError::default() };
    let failed = desk.flows.fail_step(&run, "a", "again", &error).await.unwrap();
    assert_eq!(failed, Failed::Retry { next_attempt: 2, delay: 100 });
    desk.clock.advance(150);
    assert_eq!(waited("2").await, Some(50));
}

#[tokio::test]
async fn only_the_newest_execution_counts() {
    let desk = desk().await;
    let (run, _) = started(&desk, ONE_STEP).await;
    desk.flows.begin_step(&begin(&run, "a", "old")).await.unwrap();
    desk.flows.begin_step(&begin(&run, "a", "new")).await.unwrap();
    assert_eq!(count(&desk.flows, &run, "flow.stalled").await, 1, "the first was given up");
    assert_eq!(desk.flows.complete_step(&run, "a", "old", None).await.unwrap(), (false, false));
    let error = StepError { message: "late".into(), is_final: true, ..StepError::default() };
    assert_eq!(desk.flows.fail_step(&run, "a", "old", &error).await.unwrap(), Failed::Superseded);
    let emitted = desk.flows.emit(&run, "x", None, Some(&emitter("a", "old", 1))).await.unwrap_err();
    assert_eq!(emitted.code(), Code::Conflict);
    assert_eq!(desk.flows.complete_step(&run, "a", "new", None).await.unwrap(), (true, true));
    assert_eq!(desk.flows.complete_step(&run, "a", "new", None).await.unwrap(), (true, true), "an answer was lost");
    assert_eq!(count(&desk.flows, &run, "flow.step.completed").await, 1);
}

#[tokio::test]
async fn a_step_that_takes_its_process_with_it_is_given_up() {
    let desk = desk().await;
    let (run, _) = started(&desk, ONE_STEP).await;
    let mut begun = 0;
    loop {
        match desk.flows.begin_step(&begin(&run, "a", &begun.to_string())).await.unwrap() {
            Begun::Run { .. } => begun += 1,
            Begun::GivenUp(reason) => break assert!(reason.contains("11 times"), "{reason}"),
            Begun::Skip(reason) | Begun::Elsewhere(reason) => panic!("{reason}"),
        }
    }
    assert_eq!(begun, 11);
    assert_eq!(desk.flows.status(&run).await.unwrap().unwrap().status, Status::Failed);
}

#[tokio::test]
async fn a_step_that_is_given_back_has_not_stalled() {
    let desk = desk().await;
    let (run, _) = started(&desk, ONE_STEP).await;
    for n in 0..15 {
        let execution = n.to_string();
        let begun = desk.flows.begin_step(&begin(&run, "a", &execution)).await.unwrap();
        assert!(matches!(begun, Begun::Run { attempt: 1, .. }), "{n}: {begun:?}");
        assert!(desk.flows.release_step(&run, "a", &execution, "its worker closes").await.unwrap());
        assert!(!desk.flows.release_step(&run, "a", &execution, "its worker closes").await.unwrap());
        assert_eq!(desk.flows.complete_step(&run, "a", &execution, None).await.unwrap(), (false, false));
    }
    assert_eq!(count(&desk.flows, &run, "flow.stalled").await, 0);
    assert!(desk.flows.explain(&run).await.unwrap().contains("queued in \"q\""));
}

#[tokio::test]
async fn a_stalled_step_is_shown_and_can_be_taken_again() {
    let desk = desk().await;
    let (run, _) = started(&desk, ONE_STEP).await;
    assert!(!desk.flows.stalled(&run, "a", None, "lost").await.unwrap(), "it does not run");
    desk.flows.begin_step(&begin(&run, "a", "1")).await.unwrap();
    assert!(desk.flows.stalled(&run, "a", None, "its lock was lost").await.unwrap());
    assert!(!desk.flows.stalled(&run, "a", None, "its lock was lost").await.unwrap());
    assert_eq!(desk.flows.status(&run).await.unwrap().unwrap().status, Status::Stalled);
    assert!(desk.flows.explain(&run).await.unwrap().contains("stalled"));
    desk.flows.begin_step(&begin(&run, "a", "2")).await.unwrap();
    assert_eq!(desk.flows.status(&run).await.unwrap().unwrap().status, Status::Running);
    assert_eq!(count(&desk.flows, &run, "flow.stalled").await, 1);
}

#[tokio::test]
async fn what_a_step_emits_again_is_recorded_once() {
    let desk = desk().await;
    let (run, _) = started(&desk, DIAMOND).await;
    desk.flows.begin_step(&begin(&run, "a", "1")).await.unwrap();
    desk.flows.emit(&run, "x", None, Some(&emitter("a", "1", 1))).await.unwrap();
    desk.flows.begin_step(&begin(&run, "a", "2")).await.unwrap();
    let again = desk.flows.emit(&run, "x", None, Some(&emitter("a", "2", 1))).await.unwrap();
    assert_eq!(again.jobs.len(), 2, "it is handed over again");
    desk.flows.emit(&run, "x", None, Some(&emitter("a", "2", 2))).await.unwrap();
    assert_eq!(count(&desk.flows, &run, "emit").await, 2);
    let error = desk.flows.emit(&run, "typo", None, Some(&emitter("a", "2", 1))).await.unwrap_err();
    assert!(error.code() == Code::Validation && error.message().contains("names x"), "{error}");
}

#[tokio::test]
async fn an_await_is_found_again_and_ends_once() {
    let desk = desk().await;
    let (run, _) = started(&desk, ONE_STEP).await;
    desk.flows.begin_step(&begin(&run, "a", "1")).await.unwrap();
    let request = awaiting(&run, "a", "1", "approval");
    let state = desk.triggers.open_await(&request).await.unwrap();
    assert_eq!((state.await_id.as_str(), state.state), ("a/approval/1", AwaitPhase::Open));
    assert_eq!(desk.flows.status(&run).await.unwrap().unwrap().status, Status::Awaiting);
    assert!(desk.flows.suspend_step(&run, "a", "1").await.unwrap());
    assert!(desk.flows.explain(&run).await.unwrap().contains("waits for \"approval\""));
    let jobs = desk.triggers.resolve_await(&run, "a/approval/1", Some("{\"ok\":true}")).await.unwrap().unwrap();
    assert_eq!(jobs[0].job_id, format!("{run}__a@1"));
    assert_eq!(desk.triggers.resolve_await(&run, "a/approval/1", Some("2")).await.unwrap().map(drop), None);
    let Begun::Run { is_rerun, awaits, .. } = desk.flows.begin_step(&begin(&run, "a", "2")).await.unwrap() else {
        panic!()
    };
    assert!(is_rerun);
    assert_eq!(&*awaits[0].name, "approval");
    let again = AwaitRequest { execution_id: "2".into(), ..request.clone() };
    let state = desk.triggers.open_await(&again).await.unwrap();
    assert_eq!(state.data.unwrap().get(), "{\"ok\":true}");
    assert!(desk.flows.resume_await(&run, "a", "2", "a/approval/1").await.unwrap().resumed);
    assert!(desk.flows.resume_await(&run, "a", "2", "a/approval/1").await.unwrap().resumed);
    desk.flows.complete_step(&run, "a", "2", None).await.unwrap();
    let expected = [
        "flow.started",
        "flow.step.started",
        "flow.step.paused",
        "trigger.awaiting",
        "flow.step.suspended",
        "trigger.fired",
        "trigger.skipped",
        "flow.step.resumed",
        "flow.step.completed",
        "flow.completed",
    ];
    assert_eq!(types(&desk.flows, &run).await, expected);
}

#[tokio::test]
async fn another_await_than_the_recorded_one_names_both() {
    let desk = desk().await;
    let (run, _) = started(&desk, ONE_STEP).await;
    desk.flows.begin_step(&begin(&run, "a", "1")).await.unwrap();
    desk.triggers.open_await(&awaiting(&run, "a", "1", "approval")).await.unwrap();
    let error = desk.triggers.open_await(&awaiting(&run, "a", "1", "payment")).await.unwrap_err();
    assert_eq!(error.code(), Code::Nondeterministic);
    assert!(error.message().contains("\"approval\"") && error.message().contains("\"payment\""), "{error}");
}

#[tokio::test]
async fn deadlines_of_any_length_end_awaits_in_their_order() {
    let desk = desk().await;
    let mut runs = Vec::new();
    for days in [400, 25] {
        let (run, _) = started(&desk, ONE_STEP).await;
        desk.flows.begin_step(&begin(&run, "a", "1")).await.unwrap();
        let timeout_ms = Some(days * ONE_DAY_MS);
        desk.triggers.open_await(&AwaitRequest { timeout_ms, ..awaiting(&run, "a", "1", "x") }).await.unwrap();
        desk.flows.suspend_step(&run, "a", "1").await.unwrap();
        runs.push(run);
    }
    let due = desk.triggers.fire_due().await.unwrap();
    assert!(due.jobs.is_empty());
    assert_eq!(due.next_ms, Some(1_700_000_000_000 + 25 * ONE_DAY_MS));
    desk.clock.advance(25 * ONE_DAY_MS);
    let due = desk.triggers.fire_due().await.unwrap();
    assert_eq!(due.jobs.len(), 1);
    assert_eq!(due.jobs[0].data.run_id, runs[1]);
    desk.clock.advance(375 * ONE_DAY_MS);
    let due = desk.triggers.fire_due().await.unwrap();
    assert_eq!((due.jobs[0].data.run_id.as_str(), due.next_ms), (runs[0].as_str(), None));
    for run in &runs {
        assert_eq!(count(&desk.flows, run, "trigger.timeout").await, 1);
    }
}

#[tokio::test]
async fn a_deadline_is_that_of_the_record_whatever_was_told() {
    let desk = desk().await;
    let (run, _) = started(&desk, ONE_STEP).await;
    desk.flows.begin_step(&begin(&run, "a", "1")).await.unwrap();
    let request = |timeout_ms| AwaitRequest { timeout_ms: Some(timeout_ms), ..awaiting(&run, "a", "1", "x") };
    desk.triggers.open_await(&request(2_000)).await.unwrap();
    // Told again, with an earlier deadline.
    let told = NewEvent::new("trigger.awaiting")
        .with(Field::RunId, &run)
        .with(Field::TriggerName, "x")
        .with_data(r#"{"awaitId":"a/x/1","deadline":"2023-11-14T22:13:21.000Z"}"#);
    desk.flows.store().append("nq:triggers", told, AppendOptions::default()).await.unwrap();
    desk.clock.advance(1_000);
    desk.triggers.fire_due().await.unwrap();
    // Executed again, a second later.
    let state = desk.triggers.open_await(&request(2_000)).await.unwrap();
    assert_eq!(state.deadline.as_deref(), Some("2023-11-14T22:13:22.000Z"));
    assert_eq!(count(&desk.flows, &run, "trigger.timeout").await, 0);
    desk.clock.advance(1_000);
    desk.triggers.fire_due().await.unwrap();
    assert_eq!(count(&desk.flows, &run, "trigger.timeout").await, 1);
}

#[tokio::test]
async fn what_came_before_counts_once_and_only_since() {
    let desk = desk().await;
    let (run, _) = started(&desk, ONE_STEP).await;
    desk.flows.begin_step(&begin(&run, "a", "1")).await.unwrap();
    desk.flows.emit(&run, "paid", Some("1"), None).await.unwrap();
    desk.flows.emit(&run, "paid", Some("2"), None).await.unwrap();
    let mut request = awaiting(&run, "a", "1", "paid");
    for (ordinal, expected) in [(1, Some("1")), (2, Some("2")), (3, None)] {
        (request.ordinal, request.index) = (ordinal, ordinal as usize - 1);
        let state = desk.triggers.open_await(&request).await.unwrap();
        assert_eq!(state.data.as_deref().map(|data| data.get()), expected, "await {ordinal}");
    }
    let fired = desk.triggers.fire(FireRequest::new("order", Some("5"))).await.unwrap();
    let before = AwaitRequest { index: 3, ..awaiting(&run, "a", "1", "order") };
    assert_eq!(desk.triggers.open_await(&before).await.unwrap().state, AwaitPhase::Fired);
    let since = Some(fired.at);
    let after = AwaitRequest { index: 4, ordinal: 2, since, ..awaiting(&run, "a", "1", "order") };
    assert_eq!(desk.triggers.open_await(&after).await.unwrap().state, AwaitPhase::Open);
}

#[tokio::test]
async fn what_a_handler_has_to_judge_is_offered_until_it_fits() {
    let desk = desk().await;
    let (run, _) = started(&desk, ONE_STEP).await;
    desk.flows.begin_step(&begin(&run, "a", "1")).await.unwrap();
    let request = AwaitRequest { is_conditional: true, ..awaiting(&run, "a", "1", "paid") };
    desk.triggers.open_await(&request).await.unwrap();
    desk.triggers.fire(FireRequest::new("paid", Some("1"))).await.unwrap();
    desk.flows.emit(&run, "paid", Some("2"), None).await.unwrap();
    assert!(!desk.flows.suspend_step(&run, "a", "1").await.unwrap(), "there is something to judge");
    let state = desk.flows.await_state(&run, "a/paid/1").await.unwrap();
    let offers: Vec<&str> = state.offers.iter().map(|offer| offer.data.as_deref().unwrap().get()).collect();
    assert_eq!(offers, ["1", "2"]);
    let state = desk.flows.reject_offer(&run, "a/paid/1", &state.offers[0].offer_id, "filter").await.unwrap();
    let state = desk.flows.accept_offer(&run, "a/paid/1", &state.offers[0].offer_id, Some("22")).await.unwrap();
    assert_eq!((state.state, state.data.unwrap().get()), (AwaitPhase::Fired, "22"));
}

#[tokio::test]
async fn the_end_of_a_run_ends_its_awaits() {
    let desk = desk().await;
    let (run, _) = started(&desk, ONE_STEP).await;
    desk.flows.begin_step(&begin(&run, "a", "1")).await.unwrap();
    let request = AwaitRequest { timeout_ms: Some(1_000), ..awaiting(&run, "a", "1", "x") };
    desk.triggers.open_await(&request).await.unwrap();
    assert!(desk.flows.cancel(&run, Some("enough")).await.unwrap());
    assert!(!desk.flows.cancel(&run, None).await.unwrap());
    assert_eq!(count(&desk.flows, &run, "trigger.canceled").await, 1);
    assert_eq!(desk.triggers.fire_due().await.unwrap().next_ms, None);
    assert_eq!(desk.triggers.open_awaits(), 0);
    assert!(desk.triggers.resolve_await(&run, "a/x/1", None).await.unwrap().is_none());
    assert_eq!(desk.triggers.resolve_await("nobody", "a/x/1", None).await.unwrap_err().code(), Code::NotFound);
    assert!(desk.flows.explain(&run).await.unwrap().contains("enough"));
}

#[tokio::test]
async fn a_firing_that_nobody_finished_is_finished_by_another() {
    let desk = desk().await;
    let (run, _) = started(&desk, ONE_STEP).await;
    desk.flows.begin_step(&begin(&run, "a", "1")).await.unwrap();
    desk.triggers.open_await(&awaiting(&run, "a", "1", "x")).await.unwrap();
    desk.flows.suspend_step(&run, "a", "1").await.unwrap();
    // As a process leaves it that dies right behind the record.
    let fire_id = "018bcfe5-6800-7000-8000-000000000000";
    let note = format!("{fire_id}@x");
    let fired = NewEvent::new("trigger.fired")
        .with(Field::TriggerName, "x")
        .with_data(format!(r#"{{"fireId":"{fire_id}","payload":9}}"#));
    desk.flows.store().index_add("nq:firings", &note, 1_700_000_000_000.0).await.unwrap();
    desk.flows.store().append("nq:trigger:x", fired, AppendOptions::default()).await.unwrap();
    desk.clock.advance(20_000);
    let other = TriggerEngine::new(desk.flows.clone());
    let due = other.finish_firings(10_000).await.unwrap();
    assert_eq!(due.jobs[0].job_id, format!("{run}__a@1"));
    assert!(other.finish_firings(0).await.unwrap().jobs.is_empty());
    assert_eq!(count(&desk.flows, &run, "trigger.fired").await, 1);
}

#[tokio::test]
async fn a_firing_with_a_key_counts_once() {
    let desk = desk().await;
    let first = desk.triggers.fire(FireRequest::new("x", Some("1")).with_key("k")).await.unwrap();
    let second = desk.triggers.fire(FireRequest::new("x", Some("1")).with_key("k")).await.unwrap();
    assert_eq!(first.fire_id, second.fire_id);
    assert_eq!(first.at, second.at);
}

#[tokio::test]
async fn what_was_not_handed_over_is_owed() {
    let desk = desk().await;
    let (run, _) = started(&desk, ONE_STEP).await;
    assert!(desk.flows.owed(10_000).await.unwrap().is_empty(), "it is not late yet");
    desk.clock.advance(10_000);
    let other = FlowEngine::new(desk.flows.store().clone());
    let debts = other.owed(10_000).await.unwrap();
    assert_eq!((debts[0].run_id.as_str(), debts[0].jobs.len()), (run.as_str(), 1));
    other.settle_debt(&debts[0].note).await.unwrap();
    assert!(other.owed(0).await.unwrap().is_empty());
    let second = desk.flows.start("f", None, StartOptions::default()).await.unwrap();
    desk.flows.handed_over(&second.run_id).await.unwrap();
    assert!(other.owed(0).await.unwrap().is_empty());
}

#[tokio::test]
async fn the_board_is_compacted_and_says_the_same() {
    let desk = desk().await;
    let (run, _) = started(&desk, ONE_STEP).await;
    desk.flows.begin_step(&begin(&run, "a", "1")).await.unwrap();
    let kept = AwaitRequest { timeout_ms: Some(ONE_DAY_MS), ..awaiting(&run, "a", "1", "kept") };
    desk.triggers.open_await(&kept).await.unwrap();
    for n in 0..2_100 {
        desk.triggers.fire(FireRequest::new("other", Some(&n.to_string()))).await.unwrap();
    }
    let events = desk.flows.store().query(Query::stream("nq:triggers")).await.unwrap();
    assert_eq!(events.iter().next().unwrap().event_type, "trigger.snapshot");
    assert!(events.len() < 300, "{} events of 4201", events.len());
    let other = TriggerEngine::new(desk.flows.clone());
    assert_eq!(other.fire_due().await.unwrap().next_ms, Some(1_700_000_000_000 + ONE_DAY_MS));
    assert_eq!(other.fire(FireRequest::new("kept", None)).await.unwrap().run_ids, [run]);
}

/// Several engines, each over a store of its own, on one server.
async fn fleet(server: &RedisServer, size: usize) -> Vec<(FlowEngine, TriggerEngine)> {
    let mut fleet = Vec::new();
    for _ in 0..size {
        let options = RedisOptions::from_url(&server.url()).unwrap();
        let flows = FlowEngine::new(EventStore::open(StoreOptions::redis(options)).await.unwrap());
        flows.define(definition(DIAMOND), true).unwrap();
        flows.define(definition(&ONE_STEP.replace("\"f\"", "\"one\"")), true).unwrap();
        fleet.push((flows.clone(), TriggerEngine::new(flows)));
    }
    fleet
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_that_end_an_await_one_wins() {
    let server = RedisServer::start().unwrap();
    let fleet = fleet(&server, 4).await;
    for round in 0..25 {
        let run = format!("r{round}");
        let options = StartOptions { run_id: Some(run.clone()), ..StartOptions::default() };
        fleet[0].0.start("one", None, options).await.unwrap();
        fleet[0].0.begin_step(&begin(&run, "a", "1")).await.unwrap();
        let request = AwaitRequest { timeout_ms: Some(0), ..awaiting(&run, "a", "1", "x") };
        fleet[0].1.open_await(&request).await.unwrap();
        let fired = |n: usize| {
            let (flows, run) = (fleet[n].0.clone(), run.clone());
            async move {
                let id = format!("by-{n}");
                let firing = Firing { id: &id, payload: Some("1") };
                let fired = flows.fire_await(&run, "a/x/1", firing, true).await.unwrap();
                usize::from(matches!(fired, Fired::Taken { .. }))
            }
        };
        let canceled = async { usize::from(fleet[2].0.cancel_await(&run, "a/x/1", None).await.unwrap().is_some()) };
        let expired = fleet[3].0.expire_await(&run, "a/x/1");
        let (first, second, canceled, expired) = tokio::join!(fired(0), fired(1), canceled, expired);
        expired.unwrap();
        let timeouts = count(&fleet[1].0, &run, "trigger.timeout").await;
        assert_eq!(first + second + canceled + timeouts, 1, "round {round}");
        let ends = ["trigger.fired", "trigger.timeout", "trigger.canceled"];
        let all = types(&fleet[1].0, &run).await;
        assert_eq!(all.iter().filter(|found| ends.contains(&found.as_str())).count(), 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn branches_that_end_at_once_end_the_run_once() {
    let server = RedisServer::start().unwrap();
    let fleet = fleet(&server, 3).await;
    for round in 0..25 {
        let run = format!("r{round}");
        let options = StartOptions { run_id: Some(run.clone()), ..StartOptions::default() };
        fleet[0].0.start("f", None, options).await.unwrap();
        fleet[0].0.begin_step(&begin(&run, "a", "a")).await.unwrap();
        fleet[0].0.emit(&run, "x", None, Some(&emitter("a", "a", 1))).await.unwrap();
        let ends = [(0, "a"), (1, "b"), (2, "c")].map(|(n, step)| {
            let (flows, run) = (fleet[n].0.clone(), run.clone());
            async move {
                if step != "a" {
                    flows.begin_step(&begin(&run, step, step)).await.unwrap();
                }
                flows.complete_step(&run, step, step, None).await.unwrap().1
            }
        });
        let [a, b, c] = ends;
        let (a, b, c) = tokio::join!(a, b, c);
        assert_eq!([a, b, c].iter().filter(|ended| **ended).count(), 1, "round {round}");
        assert_eq!(count(&fleet[1].0, &run, "flow.completed").await, 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_engine_has_recorded_itself_it_need_not_read() {
    let server = RedisServer::start().unwrap();
    let fleet = fleet(&server, 2).await;
    let (mine, other) = (&fleet[0].0, &fleet[1].0);
    let read = |flows: &FlowEngine| flows.store().stats().events_read;
    let run = mine.start("f", Some("\"ü\\n\""), StartOptions::default()).await.unwrap().run_id;
    mine.begin_step(&begin(&run, "a", "1")).await.unwrap();
    mine.emit(&run, "x", Some("{\"n\": [1, 2]}"), Some(&emitter("a", "1", 1))).await.unwrap();
    mine.complete_step(&run, "a", "1", Some("{}")).await.unwrap();
    assert_eq!(read(mine), 0);
    // What it believes is what another one reads, to the letter: nothing has to be read anew.
    let status = mine.status(&run).await.unwrap().unwrap();
    assert_eq!(Some(status), other.status(&run).await.unwrap());
    assert_eq!((mine.store().stats().invalidations, read(mine)), (0, 1), "the last known event is looked at again");
    // Others may come in between: then it looks, and decides again.
    other.begin_step(&begin(&run, "b", "2")).await.unwrap();
    other.emit(&run, "y", None, Some(&emitter("b", "2", 1))).await.unwrap();
    let emission = mine.emit(&run, "z", None, None).await.unwrap();
    assert_eq!(emission.jobs[0].name, "d");
    other.complete_step(&run, "b", "2", None).await.unwrap();
    assert_eq!(mine.status(&run).await.unwrap(), other.status(&run).await.unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_step_ends_although_its_run_is_written_to_all_the_time() {
    let server = RedisServer::start().unwrap();
    let fleet = fleet(&server, 1).await;
    let flows = &fleet[0].0;
    for round in 0..10 {
        let run = format!("r{round}");
        let options = StartOptions { run_id: Some(run.clone()), ..StartOptions::default() };
        flows.start("one", None, options).await.unwrap();
        flows.begin_step(&begin(&run, "a", "1")).await.unwrap();
        let stop = Arc::new(std::sync::atomic::AtomicBool::new(false));
        let (writer, stopped, stream) = (flows.store().clone(), stop.clone(), format!("nq:flow:{run}"));
        let writing = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let mut last = None;
                while !stopped.load(std::sync::atomic::Ordering::SeqCst) {
                    let log = nuxt_queue_core::NewEvent::new("log.info").with_data(r#"{"level":"info","message":"x"}"#);
                    last = Some(writer.append(&stream, log, Default::default()));
                    tokio::time::sleep(std::time::Duration::from_micros(20)).await;
                }
                if let Some(last) = last {
                    last.await.unwrap();
                }
            });
        });
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        assert_eq!(flows.complete_step(&run, "a", "1", None).await.unwrap(), (true, true));
        stop.store(true, std::sync::atomic::Ordering::SeqCst);
        writing.join().unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn branches_that_emit_at_once_start_their_join() {
    let server = RedisServer::start().unwrap();
    let fleet = fleet(&server, 2).await;
    for round in 0..25 {
        let run = format!("r{round}");
        let options = StartOptions { run_id: Some(run.clone()), ..StartOptions::default() };
        fleet[0].0.start("f", None, options).await.unwrap();
        let (y, z) = tokio::join!(fleet[0].0.emit(&run, "y", None, None), fleet[1].0.emit(&run, "z", None, None));
        let jobs: Vec<String> = [y.unwrap(), z.unwrap()].into_iter().flat_map(|e| e.jobs).map(|job| job.name).collect();
        assert_eq!(jobs, ["d"], "round {round}");
    }
}

/// A flow whose steps each subscribe to events of some before them.
fn random_flow() -> impl Strategy<Value = String> {
    let step = |n: usize| prop::collection::btree_set(0..n.max(1), 0..=n.min(3));
    (1usize..7).prop_flat_map(move |count| (0..count).map(step).collect::<Vec<_>>()).prop_map(|steps| {
        let steps: Vec<String> = steps
            .iter()
            .enumerate()
            .filter(|(n, before)| *n == 0 || !before.is_empty())
            .map(|(n, before)| {
                let before = if n == 0 { Default::default() } else { before.clone() };
                let subscribes: Vec<String> = before.iter().map(|from| format!("\"e{from}\"")).collect();
                format!("\"s{n}\":{{\"queue\":\"q\",\"subscribes\":[{}]}}", subscribes.join(","))
            })
            .collect();
        format!(r#"{{"name":"f","entry":{{"step":"s0","queue":"q"}},"steps":{{{}}}}}"#, steps.join(","))
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Jobs are taken in any order, by any engine, some twice; executions die at any point.
    #[test]
    fn every_flow_comes_to_its_end_with_each_outcome_once(
        flow in random_flow(),
        choices in prop::collection::vec((0usize..1000, 0usize..3, 0u8..10), 1..200),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let desk = desk().await;
            let engines = [desk.flows.clone(), FlowEngine::new(desk.flows.store().clone()), FlowEngine::new(desk.flows.store().clone())];
            desk.flows.define(definition(&flow), true).unwrap();
            let started = desk.flows.start("f", None, StartOptions::default()).await.unwrap();
            let run = started.run_id;
            let mut jobs = started.jobs;
            let mut execution = 0;
            let mut stalls: BTreeMap<String, u8> = BTreeMap::new();
            let mut choices = choices.into_iter();
            while !jobs.is_empty() {
                // When the choices are used up, all goes well.
                let (which, engine, fate) = choices.next().unwrap_or((0, 0, 9));
                let job = jobs.remove(which % jobs.len());
                let flows = &engines[engine];
                execution += 1;
                let id = execution.to_string();
                if fate == 0 {
                    jobs.push(job.clone());
                }
                let Begun::Run { .. } = flows.begin_step(&begin(&run, &job.name, &id)).await.unwrap() else { continue };
                let dies = |at: u8| fate == at;
                let may_die = stalls.get(&job.name).is_none_or(|count| *count < 5);
                if dies(1) && may_die {
                    *stalls.entry(job.name.clone()).or_default() += 1;
                    jobs.push(job);
                    continue;
                }
                let event = job.name.replace('s', "e");
                let emission = flows.emit(&run, &event, Some("{\"a\":1}"), Some(&emitter(&job.name, &id, 1))).await.unwrap();
                jobs.extend(emission.jobs);
                if dies(2) && may_die {
                    *stalls.entry(job.name.clone()).or_default() += 1;
                    jobs.push(job);
                    continue;
                }
                flows.complete_step(&run, &job.name, &id, None).await.unwrap();
            }
            let status = desk.flows.status(&run).await.unwrap().unwrap();
            prop_assert_eq!(status.status, Status::Completed, "{}", flow);
            let all = types(&desk.flows, &run).await;
            prop_assert_eq!(all.iter().filter(|found| *found == "flow.completed").count(), 1);
            prop_assert_eq!(all.iter().filter(|found| *found == "flow.step.completed").count(), status.steps.len());
            prop_assert_eq!(all.iter().filter(|found| *found == "emit").count(), status.steps.len());
            let events = desk.flows.store().query(Query::stream(format!("nq:flow:{run}"))).await.unwrap();
            prop_assert_eq!(reduce_run(&events.to_json()).unwrap(), status);
            Ok(())
        })?;
    }
}
