//! The registry as many instances write it and judge by it: who is there, what they offer, and how long its stream gets.

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

use std::sync::Arc;
use std::time::Duration;

use nuxt_queue_core::backend::redis::RedisOptions;
use nuxt_queue_core::error::Code;
use nuxt_queue_core::event::{Field, NewEvent};
use nuxt_queue_core::registry::{
    FlowChoice, InstanceState, RegistryEngine, RegistryOptions, Required, Role, StepOffer, WorkerOffer,
};
use nuxt_queue_core::version::{StepVersion, Strategy};
use nuxt_queue_core::{AppendOptions, Clock, EventStore, Query, StoreOptions, VirtualClock};
use support::redis::RedisServer;

const START_MS: u64 = 1_700_000_000_000;
const STREAM: &str = "nq:registry";

/// Instances on one store, under a clock that a test moves.
struct Fleet {
    store: EventStore,
    clock: Arc<VirtualClock>,
}

impl Fleet {
    async fn new() -> Fleet {
        let clock = Arc::new(VirtualClock::new(START_MS));
        let store = EventStore::open(StoreOptions::memory().with_clock(clock.clone())).await.unwrap();
        Fleet { store, clock }
    }

    async fn start(&self, id: &str) -> RegistryEngine {
        self.start_version(id, None).await
    }

    async fn start_version(&self, id: &str, version: Option<&str>) -> RegistryEngine {
        let options = RegistryOptions { version: version.map(str::to_owned), ..RegistryOptions::new(id) };
        let registry = RegistryEngine::new(self.store.clone(), options).unwrap();
        registry.start().await.unwrap();
        registry
    }

    async fn length(&self) -> usize {
        self.store.query(Query::stream(STREAM)).await.unwrap().len()
    }

    async fn types(&self) -> Vec<String> {
        let events = self.store.query(Query::stream(STREAM)).await.unwrap();
        events.iter().map(|event| event.event_type.to_owned()).collect()
    }
}

fn step(name: &str, queue: &str) -> StepOffer {
    let role = if name == "load" { Role::Entry } else { Role::Step };
    StepOffer { flow_name: "ml".into(), step_name: name.into(), queue: queue.into(), role, ..StepOffer::default() }
}

fn worker(queue: &str, steps: &[&str]) -> WorkerOffer {
    WorkerOffer {
        queue: queue.into(),
        steps: steps.iter().map(|name| step(name, queue)).collect(),
        ..WorkerOffer::default()
    }
}

async fn states(registry: &RegistryEngine) -> Vec<(String, InstanceState)> {
    let instances = registry.instances().await.unwrap().into_iter();
    instances.map(|instance| (instance.instance_id, instance.state)).collect()
}

async fn state(registry: &RegistryEngine, id: &str) -> Option<InstanceState> {
    states(registry).await.into_iter().find(|(known, _)| known == id).map(|(_, state)| state)
}

#[tokio::test]
async fn an_instance_is_starting_healthy_draining_and_then_has_left() {
    let fleet = Fleet::new().await;
    let (a, b) = (fleet.start("a").await, fleet.start("b").await);
    assert_eq!(state(&b, "a").await, Some(InstanceState::Starting));
    a.beat().await.unwrap();
    assert_eq!(state(&b, "a").await, Some(InstanceState::Healthy));
    a.drain().await.unwrap();
    a.beat().await.unwrap();
    assert_eq!(state(&b, "a").await, Some(InstanceState::Draining));
    assert_eq!(b.healthy_instances().await.unwrap(), Vec::<String>::new());
    a.shut_down().await.unwrap();
    a.beat().await.unwrap();
    assert_eq!(state(&b, "a").await, Some(InstanceState::Left));
    assert_eq!(fleet.types().await.last().unwrap(), "instance.shutdown");
}

#[tokio::test]
async fn who_is_silent_is_dead_until_heard_of_again_and_forgotten_after_an_hour() {
    let fleet = Fleet::new().await;
    let (a, b) = (fleet.start("a").await, fleet.start("b").await);
    a.register_worker("w", worker("q", &["load"])).await.unwrap();
    for at_ms in [30_000, 30_001] {
        fleet.clock.set(START_MS + at_ms);
        b.beat().await.unwrap();
        let expected = if at_ms == 30_000 { InstanceState::Healthy } else { InstanceState::Dead };
        assert_eq!(state(&b, "a").await, Some(expected), "after {at_ms} ms");
    }
    a.beat().await.unwrap();
    assert_eq!(state(&b, "a").await, Some(InstanceState::Healthy));
    fleet.clock.advance(3_600_000 + 30_001);
    b.beat().await.unwrap();
    assert_eq!(state(&b, "a").await, None);
    // It was only away for long: it says everything anew.
    a.beat().await.unwrap();
    assert_eq!(b.queue_handlers("q").await.unwrap(), ["a"]);
}

#[tokio::test]
async fn clocks_that_go_wrong_are_no_sign_of_death() {
    struct Wrong(Arc<VirtualClock>, i64);
    impl Clock for Wrong {
        fn now_ms(&self) -> u64 {
            self.0.now_ms().saturating_add_signed(self.1)
        }
    }
    let server = RedisServer::start().unwrap();
    let clock = Arc::new(VirtualClock::new(START_MS));
    let mut engines = Vec::new();
    for (id, by_ms) in [("fast", 86_400_000), ("slow", -86_400_000)] {
        let options = StoreOptions::redis(RedisOptions::from_url(&server.url()).unwrap());
        let options = options.with_clock(Arc::new(Wrong(clock.clone(), by_ms)));
        let store = EventStore::open(options).await.unwrap();
        let engine = RegistryEngine::new(store, RegistryOptions::new(id)).unwrap();
        engine.start().await.unwrap();
        engine.beat().await.unwrap();
        engines.push(engine);
    }
    for engine in &engines {
        assert_eq!(engine.healthy_instances().await.unwrap(), ["fast", "slow"], "{}", engine.instance_id());
    }
    // What passes is told by distances alone.
    clock.advance(60_000);
    engines[0].beat().await.unwrap();
    for (engine, expected) in [(&engines[0], &["fast", "slow"][..]), (&engines[1], &["fast"])] {
        let healthy = engine.healthy_instances().await.unwrap();
        assert!(healthy.iter().all(|id| expected.contains(&id.as_str())), "{healthy:?}");
    }
}

#[tokio::test]
async fn what_is_offered_as_before_is_not_recorded_again() {
    let fleet = Fleet::new().await;
    let a = fleet.start("a").await;
    a.register_worker("w", worker("q", &["load", "train"])).await.unwrap();
    let before = fleet.length().await;
    a.register_worker("w", worker("q", &["load", "train"])).await.unwrap();
    a.register_step("w", step("load", "q")).await.unwrap();
    assert_eq!(fleet.length().await, before);
    a.register_worker("w", worker("q", &["train"])).await.unwrap();
    let [known] = &a.workers().await.unwrap()[..] else { panic!("one worker") };
    assert_eq!(known.steps, [step("train", "q")]);
    a.deregister_worker("w").await.unwrap();
    assert_eq!(a.workers().await.unwrap(), []);
    assert_eq!(fleet.types().await.last().unwrap(), "worker.deregistered");
}

#[tokio::test]
async fn what_was_deleted_is_said_again_with_the_next_heartbeat() {
    let fleet = Fleet::new().await;
    let a = fleet.start("a").await;
    a.register_worker("w", worker("q", &["load"])).await.unwrap();
    fleet.store.delete_stream(STREAM).await.unwrap();
    assert_eq!(a.instances().await.unwrap(), []);
    a.beat().await.unwrap();
    assert_eq!(a.queue_handlers("q").await.unwrap(), ["a"]);
    assert_eq!(a.workers().await.unwrap()[0].steps, [step("load", "q")]);
}

#[tokio::test]
async fn a_step_has_one_form_in_a_version() {
    let fleet = Fleet::new().await;
    let (a, b) = (fleet.start_version("a", Some("1.0.0")).await, fleet.start_version("b", Some("1.0.0")).await);
    a.register_worker("w", worker("q", &["load", "train"])).await.unwrap();
    b.register_worker("w", worker("q", &["load"])).await.unwrap();
    let other = StepOffer { subscribes: vec!["loaded".into()], ..step("train", "q") };
    let error = b.register_step("w", other.clone()).await.unwrap_err();
    assert_eq!(error.code(), Code::Conflict);
    assert!(error.message().contains("version 1.0.0 by the instance \"a\" with another subscribes"), "{error}");
    b.register_step("w", StepOffer { version: Some("1.0.1".into()), ..other.clone() }).await.unwrap();
    let error = b.register_step("w", StepOffer { version: Some("newest".into()), ..other.clone() }).await.unwrap_err();
    assert_eq!(error.code(), Code::Validation);
    // Nobody holds on to what a dead instance had.
    fleet.clock.advance(60_000);
    b.beat().await.unwrap();
    b.register_step("w", other).await.unwrap();
}

#[tokio::test]
async fn a_flow_is_put_together_from_the_steps_of_all_instances() {
    let fleet = Fleet::new().await;
    let (a, b) = (fleet.start("a").await, fleet.start("b").await);
    assert_eq!(a.flow("ml", &FlowChoice::default()).await.unwrap(), None);
    a.register_worker("w", worker("api", &["load"])).await.unwrap();
    b.register_worker("v", worker("gpu", &["train"])).await.unwrap();
    let flow = a.flow("ml", &FlowChoice::default()).await.unwrap().unwrap();
    assert_eq!(Some(flow.clone()), b.flow("ml", &FlowChoice::default()).await.unwrap());
    assert_eq!(flow.entry.unwrap().instance_id, "a");
    assert_eq!(flow.steps.keys().collect::<Vec<_>>(), ["load", "train"]);
    assert_eq!((flow.instances, flow.all_healthy), (vec!["a".to_owned(), "b".into()], true));
    fleet.clock.advance(30_001);
    a.beat().await.unwrap();
    let flow = a.flow("ml", &FlowChoice::default()).await.unwrap().unwrap();
    assert_eq!((flow.steps.len(), flow.all_healthy), (2, false));
}

#[tokio::test]
async fn a_dead_instance_does_not_count_where_another_offers_the_same() {
    let fleet = Fleet::new().await;
    let (a, b) = (fleet.start("a").await, fleet.start("b").await);
    a.register_worker("w", worker("q", &["load"])).await.unwrap();
    fleet.clock.advance(30_001);
    b.register_worker("w", worker("q", &["load"])).await.unwrap();
    let flow = b.flow("ml", &FlowChoice::default()).await.unwrap().unwrap();
    assert_eq!((flow.instances, flow.all_healthy), (vec!["b".to_owned()], true));
}

#[tokio::test]
async fn a_strategy_says_which_versions_go_together() {
    let fleet = Fleet::new().await;
    for version in ["1.2.0", "1.10.0", "2.0.0"] {
        let registry = fleet.start_version(version, Some(version)).await;
        let steps: &[&str] = if version == "2.0.0" { &["load"] } else { &["load", "train"] };
        registry.register_worker("w", worker("q", steps)).await.unwrap();
    }
    let registry = fleet.start("any").await;
    let chosen = async |version: Option<&str>, strategy| {
        let version = version.map(|version| StepVersion::parse(Some(version)).unwrap());
        let flow = registry.flow("ml", &FlowChoice { version, strategy }).await.unwrap();
        let version = |(name, step): (&String, &nuxt_queue_core::registry::StepView)| {
            format!("{name} {}", step.version.as_deref().unwrap())
        };
        flow.map(|flow| flow.steps.iter().map(version).collect::<Vec<_>>().join(", "))
    };
    for (version, strategy, expected) in [
        (None, Strategy::Latest, Some("load 2.0.0, train 1.10.0")),
        (Some("1.5.0"), Strategy::Latest, Some("load 1.10.0, train 1.10.0")),
        (Some("3.0.0"), Strategy::Latest, None),
        (None, Strategy::Strict, Some("load 2.0.0")),
        (Some("1.2.0"), Strategy::Strict, Some("load 1.2.0, train 1.2.0")),
        (Some("1.5.0"), Strategy::Strict, None),
        (Some("1.2.0"), Strategy::Mixed, Some("load 1.2.0, train 1.2.0")),
        (Some("2.0.0"), Strategy::Mixed, Some("load 2.0.0, train 1.10.0")),
    ] {
        let found = chosen(version, strategy).await;
        assert_eq!(found.as_deref(), expected, "{version:?} {strategy:?}");
    }
    let flow = registry.flow("ml", &FlowChoice::default()).await.unwrap().unwrap();
    assert_eq!(flow.versions, ["2.0.0", "1.10.0", "1.2.0"]);
}

#[tokio::test]
async fn it_is_told_what_a_flow_lacks() {
    let fleet = Fleet::new().await;
    let (a, b) = (fleet.start("a").await, fleet.start("b").await);
    let missing = async || a.missing("ml", &[]).await.unwrap().0;
    assert_eq!(missing().await, ["no instance has registered a step of it"]);
    b.register_worker("v", worker("gpu", &["train"])).await.unwrap();
    assert_eq!(missing().await, ["no instance has registered its entry"]);
    a.register_worker("w", worker("api", &["load"])).await.unwrap();
    assert_eq!(missing().await, Vec::<String>::new());
    let required = [Required { step_name: "save".into(), queue: "api".into() }];
    let lacks = a.missing("ml", &required).await.unwrap().0;
    assert_eq!(lacks, ["no healthy instance takes step \"save\" of queue \"api\""]);
    b.drain().await.unwrap();
    assert_eq!(missing().await, ["no healthy instance takes step \"train\" of queue \"gpu\""]);
}

#[tokio::test]
async fn whoever_waits_is_woken_by_news_and_not_by_signs_of_life() {
    let fleet = Fleet::new().await;
    let (a, b) = (fleet.start("a").await, fleet.start("b").await);
    a.beat().await.unwrap();
    b.beat().await.unwrap();
    let (_, revision) = a.missing("ml", &[]).await.unwrap();
    let changed = a.changed(revision);
    tokio::pin!(changed);
    b.beat().await.unwrap();
    let early = tokio::time::timeout(Duration::from_millis(50), &mut changed).await;
    assert!(early.is_err(), "woken by a sign of life");
    b.register_worker("v", worker("gpu", &["train"])).await.unwrap();
    assert!(tokio::time::timeout(Duration::from_secs(20), changed).await.unwrap().unwrap());
    let (_, revision) = a.missing("ml", &[]).await.unwrap();
    fleet.store.close().await;
    assert!(a.changed(revision).await.is_err_and(|error| error.code() == Code::Closed));
}

#[tokio::test]
async fn an_event_loop_that_does_not_run_is_told_of() {
    let fleet = Fleet::new().await;
    let (a, b) = (fleet.start("a").await, fleet.start("b").await);
    let blocked = async || b.instances().await.unwrap()[0].blocked_ms;
    a.tick(500);
    for (at_ms, expected) in [(2_000, None), (2_001, Some(2_001)), (9_000, Some(9_000))] {
        fleet.clock.set(START_MS + at_ms);
        a.beat().await.unwrap();
        assert_eq!(blocked().await, expected);
        assert_eq!(state(&b, "a").await, Some(InstanceState::Healthy));
    }
    a.tick(500);
    a.beat().await.unwrap();
    assert_eq!(blocked().await, None);
}

#[tokio::test]
async fn what_the_original_wrote_is_read() {
    let fleet = Fleet::new().await;
    let a = fleet.start("a").await;
    let data = r#"{"instanceId":"old","workerId":"w","flowName":"ml","stepName":"load","queue":"api","role":"entry","subscribes":[],"emits":["x"],"timestamp":"2025-11-05T10:00:00Z"}"#;
    for event in [
        NewEvent::new("flow.step.registered").with_data(data),
        NewEvent::new("instance.heartbeat").with_data(r#"{"instanceId":"old","queues":["api"],"workerCount":2}"#),
        // And what nobody can have meant is passed over.
        NewEvent::new("worker.registered").with_data("[1]"),
        NewEvent::new("worker.registered").with(Field::InstanceId, "x").with_data(r#"{"queue":7}"#),
        NewEvent::new("instance.heartbeat"),
    ] {
        fleet.store.append(STREAM, event, AppendOptions::default()).await.unwrap();
    }
    assert_eq!(a.queue_handlers("api").await.unwrap(), ["old"]);
    assert_eq!(a.flow("ml", &FlowChoice::default()).await.unwrap().unwrap().entry.unwrap().instance_id, "old");
    assert_eq!(states(&a).await.len(), 2);
}

#[tokio::test]
async fn a_name_that_cannot_be_recorded_keeps_nobody_from_living() {
    let fleet = Fleet::new().await;
    let a = fleet.start("a").await;
    let error = a.register_worker(&"w".repeat(600), worker("q", &["load"])).await.unwrap_err();
    assert_eq!(error.code(), Code::InvalidEvent);
    a.beat().await.unwrap();
    assert_eq!(a.healthy_instances().await.unwrap(), ["a"]);
    let options = RegistryOptions::new("x".repeat(600));
    assert!(RegistryEngine::new(fleet.store.clone(), options).is_err_and(|error| error.code() == Code::Config));
}

#[tokio::test]
async fn options_that_cannot_work_are_refused() {
    let fleet = Fleet::new().await;
    let usual = RegistryOptions::new("a");
    for (options, word) in [
        (RegistryOptions { version: Some("two".into()), ..usual.clone() }, "semantic version"),
        (RegistryOptions { heartbeat_interval_ms: 0, ..usual.clone() }, "heartbeatInterval"),
        (RegistryOptions { heartbeat_timeout_ms: 10_000, ..usual.clone() }, "not longer"),
    ] {
        let error = RegistryEngine::new(fleet.store.clone(), options).err().unwrap();
        assert_eq!(error.code(), Code::Config);
        assert!(error.message().contains(word), "{error}");
    }
}

/// Bytes and events of the registry's stream.
async fn size(store: &EventStore) -> (usize, usize) {
    let events = store.query(Query::stream(STREAM)).await.unwrap();
    (events.to_json().len(), events.len())
}

/// How long the registry of so many instances gets at most while they give signs of life.
async fn peak(instances: usize, interval_ms: u64, rounds: u64) -> (usize, usize) {
    let fleet = Fleet::new().await;
    let mut engines = Vec::new();
    for n in 0..instances {
        let id = format!("instance-{n:02}");
        let options = RegistryOptions {
            heartbeat_interval_ms: interval_ms,
            heartbeat_timeout_ms: 3 * interval_ms,
            ..RegistryOptions::new(&id)
        };
        let engine = RegistryEngine::new(fleet.store.clone(), options).unwrap();
        engine.register_worker(&format!("worker-{n:02}"), worker("q", &["load", "train", "save"])).await.unwrap();
        engines.push(engine);
    }
    let mut peak = (0, 0);
    for round in 0..rounds {
        fleet.clock.advance(interval_ms);
        for engine in &engines {
            engine.beat().await.unwrap();
        }
        if round % 8 == 0 {
            let (bytes, events) = size(&fleet.store).await;
            peak = (peak.0.max(bytes), peak.1.max(events));
        }
    }
    assert_eq!(engines[0].healthy_instances().await.unwrap().len(), instances);
    peak
}

#[tokio::test]
async fn heartbeats_take_no_more_room_the_longer_it_goes_on() {
    // 18 000 heartbeats of fifty instances, and a month of five.
    for (bytes, events) in [peak(50, 10_000, 360).await, peak(5, 600_000, 30 * 144).await] {
        assert!(events <= 600, "{events} events");
        assert!(bytes <= 120_000, "{bytes} bytes");
    }
}
