//! Flows in corners: what dies between two steps, and what comes after its time.

#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test has no users, and fails by panicking"
)]

use std::sync::Arc;

use nuxt_queue_core::error::Code;
use nuxt_queue_core::flow::{AwaitRequest, BeginRequest, Begun, Failed, FlowEngine, StartOptions, StepError};
use nuxt_queue_core::run::{AwaitPhase, Status, StepPhase};
use nuxt_queue_core::trigger::{FireRequest, TriggerEngine};
use nuxt_queue_core::{EventStore, StoreOptions, VirtualClock};

const DAY_MS: u64 = 86_400_000;
const FLOW: &str = r#"{"name":"f","entry":{"step":"a","queue":"q"},"steps":{"a":{"queue":"q","maxAttempts":3}}}"#;

struct Desk {
    flows: FlowEngine,
    triggers: TriggerEngine,
    clock: Arc<VirtualClock>,
    run: String,
}

/// A run whose only step was begun by the execution `1`.
async fn desk() -> Desk {
    let clock = Arc::new(VirtualClock::new(1_700_000_000_000));
    let store = EventStore::open(StoreOptions::memory().with_clock(clock.clone())).await.unwrap();
    let flows = FlowEngine::new(store);
    flows.define(serde_json::from_str(FLOW).unwrap(), false).unwrap();
    let run = flows.start("f", None, StartOptions::default()).await.unwrap().run_id;
    let desk = Desk { triggers: TriggerEngine::new(flows.clone()), flows, clock, run };
    desk.begin("1").await;
    desk
}

impl Desk {
    async fn begin(&self, execution: &str) -> Begun {
        let request = BeginRequest { execution_id: execution.into(), is_of_engine: true, ..self.job() };
        self.flows.begin_step(&request).await.unwrap()
    }

    fn job(&self) -> BeginRequest {
        BeginRequest {
            run_id: self.run.clone(),
            flow_name: "f".into(),
            step_name: "a".into(),
            queue: "q".into(),
            ..BeginRequest::default()
        }
    }

    fn waiting(&self, execution: &str) -> AwaitRequest {
        AwaitRequest {
            run_id: self.run.clone(),
            step_name: "a".into(),
            execution_id: execution.into(),
            name: "go".into(),
            ordinal: 1,
            kind: "trigger".into(),
            ..AwaitRequest::default()
        }
    }

    async fn phase(&self) -> StepPhase {
        self.flows.status(&self.run).await.unwrap().unwrap().steps["a"].status
    }
}

#[tokio::test]
async fn an_await_whose_process_died_before_it_looked_back_looks_back_when_it_is_begun_again() {
    let desk = desk().await;
    desk.triggers.fire(FireRequest::new("go", Some("7"))).await.unwrap();
    // Recorded, and no further.
    let (state, is_new) = desk.flows.open_await(&desk.waiting("1")).await.unwrap();
    assert_eq!((state.state, is_new), (AwaitPhase::Open, true));
    desk.begin("2").await;
    let state = desk.triggers.open_await(&desk.waiting("2")).await.unwrap();
    assert_eq!(state.state, AwaitPhase::Fired);
    assert_eq!(state.data.unwrap().get(), "7");
}

#[tokio::test]
async fn an_await_that_is_begun_again_after_weeks_keeps_its_deadline() {
    let desk = desk().await;
    let waiting = |execution| AwaitRequest { timeout_ms: Some(30 * DAY_MS), ..desk.waiting(execution) };
    desk.triggers.open_await(&waiting("1")).await.unwrap();
    desk.triggers.fire_due().await.unwrap();
    let deadline = desk.triggers.next_deadline();
    // By then it is forgotten that all instances were told.
    desk.clock.advance(8 * DAY_MS);
    desk.begin("2").await;
    desk.triggers.open_await(&waiting("2")).await.unwrap();
    desk.triggers.fire_due().await.unwrap();
    assert_eq!(desk.triggers.next_deadline(), deadline);
    desk.clock.advance(22 * DAY_MS);
    assert_eq!(desk.triggers.fire_due().await.unwrap().run_ids, [desk.run.as_str()]);
}

#[tokio::test]
async fn an_attempt_that_has_failed_neither_waits_nor_suspends_its_step() {
    let desk = desk().await;
    let error = StepError { message: "no".into(), ..StepError::default() };
    let failed = desk.flows.fail_step(&desk.run, "a", "1", &error).await.unwrap();
    assert!(matches!(failed, Failed::Retry { .. }));
    assert_eq!(desk.triggers.open_await(&desk.waiting("1")).await.unwrap_err().code(), Code::Conflict);
    assert_eq!(desk.flows.suspend_step(&desk.run, "a", "1").await.unwrap_err().code(), Code::Conflict);
    assert_eq!(desk.phase().await, StepPhase::Retrying);
    assert!(matches!(desk.begin("2").await, Begun::Run { attempt: 2, .. }));
}

#[tokio::test]
async fn awaits_are_gone_on_after_in_an_order_that_is_known() {
    let desk = desk().await;
    for (index, name) in ["x", "y"].into_iter().enumerate() {
        desk.triggers.open_await(&AwaitRequest { name: name.into(), index, ..desk.waiting("1") }).await.unwrap();
    }
    for name in ["y", "x"] {
        desk.triggers.fire(FireRequest::new(name, None)).await.unwrap();
        desk.flows.resume_await(&desk.run, "a", "1", &format!("a/{name}/1")).await.unwrap();
    }
    let Begun::Run { awaits, .. } = desk.begin("2").await else { panic!() };
    let order: Vec<_> = awaits.iter().map(|known| (&*known.name, known.resumed)).collect();
    assert_eq!(order, [("x", Some(2)), ("y", Some(1))]);
}

#[tokio::test]
async fn a_job_of_a_run_that_is_gone_does_nothing() {
    let desk = desk().await;
    desk.flows.store().delete_stream(&format!("nq:flow:{}", desk.run)).await.unwrap();
    assert!(matches!(desk.begin("2").await, Begun::Skip(_)));
    // Somebody else's job may come before its run.
    let request = BeginRequest { execution_id: "3".into(), ..desk.job() };
    assert!(matches!(desk.flows.begin_step(&request).await.unwrap(), Begun::Run { .. }));
}

#[tokio::test]
async fn an_execution_that_took_over_is_not_taken_for_the_one_that_is_gone() {
    let desk = desk().await;
    desk.clock.advance(30_000);
    desk.begin("2").await;
    assert!(!desk.flows.silent(&desk.run, "a", 15_000, "no sign of life").await.unwrap());
    assert_eq!(desk.flows.status(&desk.run).await.unwrap().unwrap().status, Status::Running);
    desk.clock.advance(30_000);
    assert!(desk.flows.silent(&desk.run, "a", 15_000, "no sign of life").await.unwrap());
    assert!(!desk.flows.silent(&desk.run, "a", 15_000, "no sign of life").await.unwrap());
}
