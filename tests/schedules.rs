//! Schedules as they fire: each instant once, over any number of engines on one store, whatever their clocks show and
//! wherever one of them dies.

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

use nuxt_queue_core::backend::redis::RedisOptions;
use nuxt_queue_core::error::Code;
use nuxt_queue_core::event::format_time;
use nuxt_queue_core::flow::{FlowDefinition, FlowEngine};
use nuxt_queue_core::trigger::{
    FireRequest, FiringRecord, FiringStatus, FlowSubscription, Mode, TriggerDefinition, TriggerEngine,
};
use nuxt_queue_core::{EventStore, Query, StoreOptions, VirtualClock};
use serde_json::{Value, json};
use support::redis::RedisServer;

/// 2025-01-01T00:00:00Z.
const START_MS: u64 = 1_735_689_600_000;
const MINUTE: u64 = 60_000;
const HOUR: u64 = 60 * MINUTE;

fn at(minute: u64) -> String {
    format_time(START_MS + minute * MINUTE)
}

struct Instance {
    store: EventStore,
    flows: FlowEngine,
    triggers: TriggerEngine,
    clock: Arc<VirtualClock>,
}

impl Instance {
    /// An engine with a flow "f", and a clock of its own.
    async fn on(options: StoreOptions) -> Instance {
        let clock = Arc::new(VirtualClock::new(START_MS));
        let store = EventStore::open(options.with_clock(clock.clone())).await.unwrap();
        let flows = FlowEngine::new(store.clone());
        let flow = json!({ "name": "f", "entry": { "step": "a", "queue": "q" }, "steps": { "a": { "queue": "q" } } });
        flows.define(serde_json::from_value::<FlowDefinition>(flow).unwrap(), false).unwrap();
        Instance { triggers: TriggerEngine::new(flows.clone()), store, flows, clock }
    }

    async fn new() -> Instance {
        Instance::on(StoreOptions::memory()).await
    }

    async fn with(schedule: Value) -> Instance {
        let instance = Instance::new().await;
        instance.register("s", schedule).await;
        instance
    }

    async fn register(&self, name: &str, schedule: Value) {
        self.triggers.register(definition(json!({ "name": name, "schedule": schedule }))).await.unwrap();
        let subscription = FlowSubscription { trigger_name: name.into(), flow_name: "f".into(), mode: Mode::Auto };
        self.triggers.subscribe(&subscription).await.unwrap();
    }

    /// Another engine on the same store, which knows nothing yet.
    fn restarted(&self) -> Instance {
        let flows = FlowEngine::new(self.store.clone());
        let (store, clock) = (self.store.clone(), self.clock.clone());
        Instance { triggers: TriggerEngine::new(flows.clone()), store, flows, clock }
    }

    /// Sees to everything that is due so many minutes after the start.
    async fn act_at(&self, minute: u64) {
        self.clock.set(START_MS + minute * MINUTE);
        self.act().await;
    }

    async fn act(&self) {
        while self.triggers.fire_due().await.unwrap().is_more {}
    }

    /// What there is of a trigger, oldest first.
    async fn firings(&self, name: &str) -> Vec<FiringRecord> {
        let mut firings = self.triggers.runs(name, None, None).await.unwrap();
        firings.reverse();
        firings
    }

    /// The instants and what became of them, oldest first.
    async fn outcomes(&self) -> Vec<(String, FiringStatus)> {
        let firings = self.firings("s").await.into_iter();
        firings.map(|firing| (firing.scheduled_time.unwrap_or_default(), firing.status)).collect()
    }

    async fn end_runs_of(&self, firing: &FiringRecord) {
        for run in &firing.runs {
            self.flows.cancel(&run.run_id, None).await.unwrap();
        }
    }

    async fn is_running(&self, firing: &FiringRecord) -> bool {
        let status = self.flows.status(&firing.runs[0].run_id).await.unwrap().unwrap();
        serde_json::to_value(status).unwrap()["status"] == "running"
    }
}

fn definition(mut members: Value) -> TriggerDefinition {
    members["type"] = "schedule".into();
    serde_json::from_value(members).unwrap()
}

fn processed(minutes: &[u64]) -> Vec<(String, FiringStatus)> {
    minutes.iter().map(|minute| (at(*minute), FiringStatus::Processed)).collect()
}

#[tokio::test]
async fn each_instant_starts_a_run_with_the_time_and_the_delay_on_record() {
    let one = Instance::with(json!({ "cron": "*/10 * * * *" })).await;
    assert_eq!(one.triggers.next_deadline(), Some(START_MS + 10 * MINUTE));
    one.act_at(9).await;
    assert_eq!(one.outcomes().await, []);
    one.clock.set(START_MS + 10 * MINUTE + 1_234);
    one.act().await;
    let firings = one.firings("s").await;
    assert_eq!(firings[0].scheduled_time, Some(at(10)));
    assert_eq!(firings[0].delay_ms, Some(1_234));
    assert_eq!(firings[0].runs.len(), 1);
    assert_eq!(firings[0].data.as_ref().unwrap().get(), json!({ "scheduledTime": at(10) }).to_string());
    assert_eq!(one.triggers.next_deadline(), Some(START_MS + 20 * MINUTE));
    one.act_at(20).await;
    one.act().await;
    assert_eq!(one.outcomes().await, processed(&[10, 20]));
}

#[tokio::test]
async fn its_data_is_the_payload_also_of_a_firing_by_hand() {
    let one = Instance::new().await;
    let schedule = json!({ "name": "s", "schedule": { "at": "00:01" }, "data": { "kind": "nightly" } });
    one.triggers.register(definition(schedule)).await.unwrap();
    one.act_at(1).await;
    one.triggers.fire(FireRequest::new("s", None)).await.unwrap();
    one.triggers.fire(FireRequest::new("s", Some("1"))).await.unwrap();
    let firings = one.firings("s").await;
    let data: Vec<&str> = firings.iter().map(|firing| firing.data.as_ref().unwrap().get()).collect();
    assert_eq!(data, [r#"{"kind":"nightly"}"#, r#"{"kind":"nightly"}"#, "1"]);
    assert_eq!(firings[1].scheduled_time, None);
}

#[tokio::test]
async fn of_several_instances_one_fires() {
    let one = Instance::with(json!({ "cron": "* * * * *" })).await;
    let others: Vec<Instance> = (0..4).map(|_| one.restarted()).collect();
    for minute in 1..30 {
        one.clock.set(START_MS + minute * MINUTE);
        tokio::join!(one.act(), others[0].act(), others[1].act(), others[2].act(), others[3].act());
    }
    assert_eq!(one.outcomes().await, processed(&(1..30).collect::<Vec<_>>()));
    assert_eq!(one.flows.runs("f", 0, None).await.unwrap().len(), 29);
}

#[tokio::test]
async fn clocks_that_differ_by_minutes_change_nothing_but_the_delay() {
    let server = RedisServer::start().unwrap();
    let on_redis = || StoreOptions::redis(RedisOptions::from_url(&server.url()).unwrap());
    let instances = [Instance::on(on_redis()).await, Instance::on(on_redis()).await, Instance::on(on_redis()).await];
    instances[0].register("s", json!({ "cron": "* * * * *" })).await;
    for minute in 1..20 {
        for (instance, skew) in instances.iter().zip([0, 2 * MINUTE, 4 * MINUTE]) {
            // The one that is ahead of all others is away for some time.
            if skew < 4 * MINUTE || !(5..12).contains(&minute) {
                instance.clock.set(START_MS + minute * MINUTE + skew);
                instance.act().await;
            }
        }
    }
    assert_eq!(instances[0].outcomes().await, processed(&(1..24).collect::<Vec<_>>()));
}

#[tokio::test]
async fn what_others_subscribe_does_not_make_it_begin_anew() {
    let server = RedisServer::start().unwrap();
    let one = Instance::on(StoreOptions::redis(RedisOptions::from_url(&server.url()).unwrap())).await;
    // Ahead of the server's clock, which gives events their ids.
    let later = 365 * 24 * 60 * 80;
    one.clock.set(START_MS + later * MINUTE);
    let kept = json!({ "name": "s", "schedule": { "cron": "0 * * * *" }, "config": { "retentionDays": 36_500 } });
    one.triggers.register(definition(kept)).await.unwrap();
    one.act_at(later + 60).await;
    let subscription = FlowSubscription { trigger_name: "s".into(), flow_name: "f".into(), mode: Mode::Auto };
    one.triggers.subscribe(&subscription).await.unwrap();
    one.act_at(later + 62).await;
    assert_eq!(one.outcomes().await, processed(&[later + 60]));
}

#[tokio::test]
async fn what_died_after_its_decision_is_finished_and_not_decided_again() {
    let one = Instance::with(json!({ "cron": "* * * * *" })).await;
    one.act_at(1).await;
    // The record of a second firing, whose process came no further: nobody else heard of it.
    let first = one.store.query(Query::stream("nq:trigger:s")).await.unwrap();
    let mut data: Value = serde_json::from_str(first.iter().next().unwrap().data.unwrap()).unwrap();
    (data["fireId"], data["scheduledTime"]) = ("01940000-0000-7000-8000-000000000000".into(), at(2).into());
    let event = nuxt_queue_core::event::NewEvent::new("trigger.fired").with_data(data.to_string());
    one.store.append("nq:trigger:s", event, Default::default()).await.unwrap();
    one.store.index_add("nq:firings", "01940000-0000-7000-8000-000000000000@s", START_MS as f64).await.unwrap();
    let two = one.restarted();
    two.act_at(2).await;
    assert_eq!(two.outcomes().await, [(at(1), FiringStatus::Processed), (at(2), FiringStatus::Fired)]);
    two.triggers.finish_firings(0).await.unwrap();
    two.act_at(3).await;
    assert_eq!(two.outcomes().await, processed(&[1, 2, 3]));
}

#[tokio::test]
async fn what_was_missed_leaves_a_reason_or_fires_late() {
    for (policy, fires, skipped) in [
        (json!({}), vec![], Some((10, 10))),
        (json!({ "catchUp": "last" }), vec![600], Some((9, 9))),
        (json!({ "catchUp": "all", "catchUpLimit": 2 }), vec![540, 600], Some((8, 8))),
        (json!({ "catchUp": "all" }), (1..=10).map(|hour| hour * 60).collect(), None),
    ] {
        let mut schedule = policy.clone();
        schedule["cron"] = "0 * * * *".into();
        let one = Instance::with(schedule).await;
        let two = one.restarted();
        two.act_at(10 * 60 + 30).await;
        let firings = two.firings("s").await;
        let (left_out, fired): (Vec<_>, Vec<_>) =
            firings.into_iter().partition(|firing| firing.status == FiringStatus::Skipped);
        let times: Vec<_> = fired.into_iter().filter_map(|firing| firing.scheduled_time).collect();
        assert_eq!(times, fires.into_iter().map(at).collect::<Vec<_>>(), "{policy}");
        let events = two.store.query(Query { types: vec!["trigger.skipped".into()], ..Query::stream("nq:trigger:s") });
        let events = events.await.unwrap();
        let data = events.iter().next().map(|event| serde_json::from_str::<Value>(event.data.unwrap()).unwrap());
        let range =
            data.as_ref().map(|data| (data["from"].clone(), data["scheduledTime"].clone(), data["count"].clone()));
        let expected = skipped.map(|(last, count)| (json!(at(60)), json!(at(last * 60)), json!(count)));
        assert_eq!(range, expected, "{policy}");
        for firing in left_out {
            assert!(firing.reason.unwrap().starts_with("nobody was there to fire it"), "{policy}");
        }
        // It goes on as before.
        two.act_at(11 * 60).await;
        assert_eq!(two.outcomes().await.last(), Some(&(at(660), FiringStatus::Processed)), "{policy}");
    }
}

#[tokio::test]
async fn a_schedule_that_is_paused_says_so_of_what_it_leaves_out() {
    let one = Instance::with(json!({ "cron": "* * * * *", "catchUp": "all" })).await;
    one.act_at(1).await;
    one.triggers.set_enabled("s", false).await.unwrap();
    assert_eq!(one.triggers.next_deadline(), None);
    one.act_at(4).await;
    one.triggers.set_enabled("s", true).await.unwrap();
    one.act_at(5).await;
    let expected = [(at(1), FiringStatus::Processed), (at(4), FiringStatus::Skipped), (at(5), FiringStatus::Processed)];
    assert_eq!(one.outcomes().await, expected);
    assert_eq!(one.firings("s").await[1].reason.as_deref(), Some("the schedule was disabled"));
    one.triggers.update("s", r#"{"schedule":{"cron":"* * * * *","enabled":false}}"#).await.unwrap();
    one.act_at(8).await;
    one.triggers.update("s", r#"{"schedule":{"cron":"* * * * *"}}"#).await.unwrap();
    one.act_at(9).await;
    assert_eq!(one.outcomes().await[3..], processed(&[9]));
}

#[tokio::test]
async fn another_definition_counts_from_then_on_for_all() {
    let one = Instance::with(json!({ "cron": "0 * * * *" })).await;
    let two = one.restarted();
    two.act().await;
    one.clock.set(START_MS + 10 * MINUTE);
    one.triggers.update("s", r#"{"schedule":{"cron":"*/15 * * * *"}}"#).await.unwrap();
    two.triggers.refresh().await.unwrap();
    assert_eq!(two.triggers.next_deadline(), Some(START_MS + 15 * MINUTE));
    two.act_at(15).await;
    one.act_at(30).await;
    assert_eq!(one.outcomes().await, processed(&[15, 30]));
    // What does not change when it fires does not make it begin anew.
    one.triggers.update("s", r#"{"displayName":"Quarters"}"#).await.unwrap();
    one.act_at(45).await;
    assert_eq!(one.outcomes().await, processed(&[15, 30, 45]));
    one.triggers.remove("s").await.unwrap();
    assert_eq!(one.triggers.next_deadline(), None);
    one.act_at(60).await;
    assert_eq!(one.outcomes().await.len(), 3);
}

#[tokio::test]
async fn a_clock_that_was_years_ahead_is_mended_by_pausing() {
    let one = Instance::with(json!({ "cron": "0 * * * *" })).await;
    one.clock.set(START_MS + 20 * 366 * 24 * HOUR);
    one.act().await;
    one.act_at(60).await;
    assert!(one.triggers.next_deadline().unwrap() > START_MS + 24 * HOUR);
    one.triggers.set_enabled("s", false).await.unwrap();
    one.triggers.set_enabled("s", true).await.unwrap();
    assert_eq!(one.triggers.next_deadline(), Some(START_MS + 2 * HOUR));
    one.act_at(120).await;
    assert_eq!(one.outcomes().await.last(), Some(&(at(120), FiringStatus::Processed)));
}

#[tokio::test]
async fn a_clock_that_is_set_back_repeats_nothing_and_one_that_is_set_on_makes_late() {
    let one = Instance::with(json!({ "cron": "*/10 * * * *" })).await;
    one.act_at(20).await;
    one.act_at(5).await;
    one.act_at(12).await;
    one.act_at(22).await;
    assert_eq!(one.outcomes().await, [(at(10), FiringStatus::Skipped), (at(20), FiringStatus::Processed)]);
    // As of a machine that slept.
    one.act_at(92).await;
    let slept = [(at(80), FiringStatus::Skipped), (at(90), FiringStatus::Processed)];
    assert_eq!(one.outcomes().await[2..], slept);
}

#[tokio::test]
async fn an_overlap_is_skipped_while_a_run_goes_on() {
    let one = Instance::with(json!({ "cron": "* * * * *", "overlap": "skip" })).await;
    one.act_at(1).await;
    one.act_at(2).await;
    let firings = one.firings("s").await;
    assert_eq!(firings[1].status, FiringStatus::Skipped);
    let run = &firings[0].runs[0].run_id;
    assert_eq!(firings[1].reason, Some(format!("the run {run} of an earlier firing goes on")));
    one.end_runs_of(&firings[0]).await;
    one.act_at(3).await;
    assert_eq!(one.outcomes().await[2..], processed(&[3]));
    // One that a person let fire counts as well.
    one.end_runs_of(&one.firings("s").await[2]).await;
    one.triggers.fire(FireRequest::new("s", None)).await.unwrap();
    one.act_at(4).await;
    assert_eq!(one.outcomes().await[4..], [(at(4), FiringStatus::Skipped)]);
}

#[tokio::test]
async fn an_overlap_replaces_the_run_that_goes_on() {
    let one = Instance::with(json!({ "cron": "* * * * *", "overlap": "replace" })).await;
    one.act_at(1).await;
    one.act_at(2).await;
    let firings = one.firings("s").await;
    assert_eq!(one.outcomes().await, processed(&[1, 2]));
    assert!(!one.is_running(&firings[0]).await);
    assert!(one.is_running(&firings[1]).await);
}

#[tokio::test]
async fn an_overlap_waits_for_its_turn() {
    let one = Instance::with(json!({ "cron": "* * * * *", "overlap": "queue" })).await;
    let two = one.restarted();
    for minute in 1..=3 {
        one.act_at(minute).await;
    }
    let waiting = [(at(1), FiringStatus::Processed), (at(2), FiringStatus::Fired), (at(3), FiringStatus::Fired)];
    assert_eq!(one.outcomes().await, waiting);
    one.end_runs_of(&one.firings("s").await[0]).await;
    one.clock.set(START_MS + 3 * MINUTE + 5_000);
    tokio::join!(one.act(), two.act());
    one.act().await;
    let second = one.firings("s").await.into_iter().find(|firing| firing.scheduled_time == Some(at(2))).unwrap();
    assert_eq!((second.status, second.delay_ms), (FiringStatus::Processed, Some(MINUTE + 5_000)));
    assert_eq!(one.flows.runs("f", 0, None).await.unwrap().len(), 2);
    one.end_runs_of(&second).await;
    one.clock.set(START_MS + 3 * MINUTE + 10_000);
    two.act().await;
    assert_eq!(one.flows.runs("f", 0, None).await.unwrap().len(), 3);
    assert!(one.firings("s").await.iter().all(|firing| firing.status == FiringStatus::Processed));
    one.end_runs_of(one.firings("s").await.iter().find(|firing| firing.scheduled_time == Some(at(3))).unwrap()).await;
    one.act_at(4).await;
    assert_eq!(one.flows.runs("f", 0, None).await.unwrap().len(), 4);
}

#[tokio::test]
async fn no_more_than_a_hundred_wait() {
    let one = Instance::with(json!({ "cron": "* * * * *", "overlap": "queue" })).await;
    for minute in 1..=103 {
        one.act_at(minute).await;
    }
    let stats = one.triggers.stats(Some("s")).await.unwrap();
    assert_eq!(serde_json::to_value(stats).unwrap()["byStatus"], json!({ "fired": 100, "processed": 1, "skipped": 2 }));
    assert_eq!(one.firings("s").await[102].reason.as_deref(), Some("100 earlier firings wait"));
}

#[tokio::test]
async fn what_waits_for_longer_than_it_is_kept_is_given_up() {
    let one = Instance::new().await;
    let short = json!({ "name": "s", "schedule": { "cron": "0 0 * * *", "overlap": "queue" }, "config": { "retentionDays": 2 } });
    one.triggers.register(definition(short)).await.unwrap();
    let subscription = FlowSubscription { trigger_name: "s".into(), flow_name: "f".into(), mode: Mode::Auto };
    one.triggers.subscribe(&subscription).await.unwrap();
    for day in 1..=8 {
        one.act_at(day * 24 * 60).await;
    }
    for (run_id, _) in one.store.index_read("nq:flows:f", 0, None).await.unwrap() {
        one.flows.cancel(&run_id, None).await.unwrap();
    }
    for second in 1..=20 {
        one.clock.set(START_MS + 8 * 24 * HOUR + second * 1_000);
        one.act().await;
        for (run_id, _) in one.store.index_read("nq:flows:f", 0, None).await.unwrap() {
            one.flows.cancel(&run_id, None).await.unwrap();
        }
    }
    one.act_at(9 * 24 * 60).await;
    assert_eq!(one.outcomes().await.last(), Some(&(at(9 * 24 * 60), FiringStatus::Processed)));
}

#[tokio::test]
async fn jitter_is_the_same_everywhere_and_within_bounds() {
    let one = Instance::with(json!({ "cron": "0 * * * *", "jitterMs": 600_000 })).await;
    let two = one.restarted();
    two.triggers.refresh().await.unwrap();
    let mut delays = Vec::new();
    for hour in 1..=20 {
        let due = one.triggers.next_deadline().unwrap();
        two.triggers.refresh().await.unwrap();
        assert_eq!(two.triggers.next_deadline(), Some(due));
        one.clock.set(due);
        one.act().await;
        delays.push(due - START_MS - hour * HOUR);
    }
    assert_eq!(one.outcomes().await, processed(&(1..=20).map(|hour| hour * 60).collect::<Vec<_>>()));
    assert!(delays.iter().all(|delay| *delay <= 600_000));
    delays.dedup();
    assert!(delays.len() > 15, "{delays:?}");
}

#[tokio::test]
async fn a_skipped_instant_fires_after_all_when_a_person_says_so() {
    let one = Instance::with(json!({ "cron": "0 * * * *" })).await;
    let two = one.restarted();
    two.act_at(70).await;
    let skipped = &two.firings("s").await[0];
    assert_eq!(skipped.status, FiringStatus::Skipped);
    two.triggers.retry(&skipped.fire_id, &Default::default()).await.unwrap();
    assert_eq!(two.outcomes().await, processed(&[60]));
    let three = two.restarted();
    three.act_at(120).await;
    assert_eq!(three.outcomes().await, processed(&[60, 120]));
}

#[tokio::test]
async fn a_snapshot_keeps_how_far_each_schedule_has_come() {
    let one = Instance::with(json!({ "interval": "1s" })).await;
    for second in 1..=2_100 {
        one.clock.set(START_MS + second * 1_000);
        one.act().await;
    }
    let events = one.store.query(Query::stream("nq:triggers")).await.unwrap();
    assert!(events.len() < 4_100, "{}", events.len());
    let two = one.restarted();
    two.act().await;
    two.clock.set(START_MS + 2_101_000);
    two.act().await;
    assert_eq!(two.flows.runs("f", 0, None).await.unwrap().len(), 2_101);
}

#[tokio::test]
async fn ten_thousand_schedules_are_all_fired() {
    let one = Instance::new().await;
    for n in 0..10_000 {
        let schedule = json!({ "interval": "1h", "jitterMs": n % 7 });
        one.triggers.register(definition(json!({ "name": format!("s{n}"), "schedule": schedule }))).await.unwrap();
    }
    one.act_at(61).await;
    assert_eq!(one.triggers.next_deadline().map(|due| (due - START_MS) / HOUR), Some(2));
    for n in [0, 1, 4_999, 9_999] {
        assert_eq!(one.triggers.runs(&format!("s{n}"), None, None).await.unwrap().len(), 1);
    }
}

#[tokio::test]
async fn what_can_not_work_is_refused_with_the_name_of_the_field() {
    let one = Instance::new().await;
    for (members, expected) in [
        (json!({}), "a schedule needs a schedule"),
        (json!({ "schedule": { "cron": "0 25 * * *" } }), "schedule: cron \"0 25 * * *\", hour (position 3): 25"),
        (json!({ "schedule": { "cron": "* * * * *", "timezone": "Europe/Berln" } }), "\"Europe/Berlin\""),
        (json!({ "schedule": { "interval": "500ms" } }), "interval is \"500ms\"; the shortest is one second"),
        (json!({ "schedule": { "cron": "* * * * *", "interval": "1h" } }), "cron and interval contradict"),
        (json!({ "schedule": { "cron": "* * * * *" }, "config": { "debounce": 5 } }), "config.debounce is for what"),
        (json!({ "schedule": { "cron": "* * * * *" }, "config": { "persistData": false } }), "config.persistData"),
        (json!({ "schedule": { "cron": "* * * * *" }, "code": ["filter"] }), "leave filter out"),
    ] {
        let mut members = members;
        members["name"] = "s".into();
        let error = one.triggers.register(definition(members)).await.unwrap_err();
        assert_eq!(error.code(), Code::Config);
        assert!(error.message().contains(expected), "{}", error.message());
    }
    one.register("s", json!({ "cron": "* * * * *" })).await;
    let subscription = FlowSubscription { trigger_name: "s".into(), flow_name: "f".into(), mode: Mode::Function };
    let error = one.triggers.subscribe(&subscription).await.unwrap_err();
    assert_eq!(error.code(), Code::Validation);
}
