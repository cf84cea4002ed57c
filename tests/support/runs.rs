//! A run that many tests work on.

use std::time::Duration;

use nuxt_queue_core::backend::redis::RedisOptions;
use nuxt_queue_core::{AppendOptions, Envelope, EventStore, NewEvent, RunState, StoreOptions};

use super::redis::RedisServer;

pub const STREAM: &str = "nq:flow:r";
pub const MOMENT: Duration = Duration::from_millis(100);

pub fn options(server: &RedisServer) -> StoreOptions {
    StoreOptions::redis(RedisOptions::from_url(&server.url()).unwrap())
}

pub fn state(store: &EventStore) -> RunState {
    RunState::new(store, "r", Envelope::default())
}

pub fn set(key: &str, value: u64) -> NewEvent {
    NewEvent::new("state.set").with_data(format!("{{\"key\":\"{key}\",\"value\":{value}}}"))
}

pub async fn append(store: &EventStore, stream: &str, event: NewEvent) {
    store.append(stream, event, AppendOptions::default()).await.unwrap();
}

pub async fn log(store: &EventStore) {
    append(store, STREAM, NewEvent::new("log.info").with_data("{}")).await;
}
