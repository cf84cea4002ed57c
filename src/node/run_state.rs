//! The state of a run for JavaScript.

use napi::bindgen_prelude::External;
use napi_derive::napi;

use super::options::{PointInput, parse};
use super::outcome::{Outlet, json};
use crate::error::Result;
use crate::state::{Point, RunState};
use crate::store::Consistency;

/// The state of a run, with the outlet of its store.
#[napi]
pub struct NativeRunState {
    pub(super) outlet: Outlet,
    pub(super) state: RunState,
}

#[napi]
impl NativeRunState {
    /// The name of the run's stream.
    #[napi(catch_unwind)]
    pub fn stream(&self) -> String {
        self.state.stream().to_owned()
    }

    /// For [`peek_state`].
    #[napi(catch_unwind, ts_return_type = "object")]
    pub fn handle(&self) -> External<RunState> {
        External::new(self.state.clone())
    }

    /// The value of a key as JSON; empty if it is absent. `strong`: as the newest event says.
    #[napi(catch_unwind)]
    pub fn get(&self, ticket: f64, key: String, strong: bool) -> Option<String> {
        let state = self.state.clone();
        self.outlet
            .begin(ticket, async move { state.get(&key, consistency(strong)).await.map(Option::unwrap_or_default) })
    }

    /// The value of a key as JSON (empty if it is absent), after the id of the run's last event
    /// and a space.
    #[napi(catch_unwind)]
    pub fn get_with_last_id(&self, ticket: f64, key: String) -> Option<String> {
        let state = self.state.clone();
        self.outlet.begin(ticket, async move {
            let (value, last_id) = state.get_with_last_id(&key).await?;
            Ok(format!("{last_id} {}", value.unwrap_or_default()))
        })
    }

    /// All keys and values as a JSON object.
    #[napi(catch_unwind)]
    pub fn get_all(&self, ticket: f64, strong: bool) -> Option<String> {
        let state = self.state.clone();
        self.outlet.begin(ticket, async move { state.get_all(consistency(strong)).await })
    }

    /// Keys as a JSON array.
    #[napi(catch_unwind)]
    pub fn list(&self, ticket: f64, prefix: String, strong: bool) -> Option<String> {
        let state = self.state.clone();
        self.outlet.begin(ticket, async move { state.list(&prefix, consistency(strong)).await.map(|keys| json(&keys)) })
    }

    /// The state at a point as a JSON object.
    #[napi(catch_unwind)]
    pub fn at(&self, ticket: f64, point: String) -> Option<String> {
        let state = self.state.clone();
        self.outlet.begin(ticket, async move { state.at(read_point(&point)?).await })
    }

    /// The changes of one key or of all as a JSON array.
    #[napi(catch_unwind)]
    pub fn history(&self, ticket: f64, key: Option<String>) -> Option<String> {
        let state = self.state.clone();
        self.outlet.begin(ticket, async move { state.history(key.as_deref()).await.map(|changes| json(&changes)) })
    }

    /// How the state differs between two points, as a JSON object.
    #[napi(catch_unwind)]
    pub fn diff(&self, ticket: f64, from: String, to: String) -> Option<String> {
        let state = self.state.clone();
        self.outlet.begin(ticket, async move {
            let (from, to) = (read_point(&from)?, read_point(&to)?);
            state.diff(from, to).await.map(|diff| diff.to_json())
        })
    }

    /// Writes a snapshot. Returns the record.
    #[napi(catch_unwind)]
    pub fn snapshot(&self, ticket: f64) -> Option<String> {
        let state = self.state.clone();
        self.outlet.begin(ticket, async move { state.snapshot().await })
    }
}

/// The value of a key as JSON (empty if it is absent), if it is known in memory. A function, as a
/// call of a method costs three times as much.
#[napi(catch_unwind)]
pub fn peek_state(#[napi(ts_arg_type = "object")] state: &External<RunState>, key: String) -> Option<String> {
    state.peek(&key).map(Option::unwrap_or_default)
}

fn consistency(strong: bool) -> Consistency {
    if strong { Consistency::Strong } else { Consistency::Cached }
}

fn read_point(point: &str) -> Result<Point> {
    parse::<PointInput>("The point", point)?.into_point()
}
