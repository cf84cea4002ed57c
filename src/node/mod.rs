//! The Node addon. Converts, calls, converts; the only place that knows napi.
//!
//! Everything crosses as text. A method that needs I/O takes a ticket and returns nothing; its
//! outcome comes later through the one callback that the store was made with, many at a time.
//! A method that needs none returns its outcome at once. An outcome is JSON text, or `!` and an
//! error as JSON.

#![cfg_attr(test, allow(dead_code, reason = "test builds register nothing with Node"))]

mod clock;
mod diagnostics;
mod flows;
mod options;
mod outcome;
mod pages;
mod registry;
mod request;
mod run_state;
mod schedule;
mod store;
mod submit;
mod subscription;
mod triggers;
mod webhook;

use mimalloc::MiMalloc;
use napi_derive::napi;

/// Events are many small allocations that one thread makes and another frees, which the system's
/// allocators are slow at.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// Folds the events of a run (a JSON array of records) into its status (JSON), or an error.
#[napi(catch_unwind)]
pub fn reduce_run(events: String) -> String {
    outcome::text(crate::run::reduce_run(&events).map(|status| outcome::json(&status)))
}
