//! What the fuzz targets hold against any bytes, a few thousand times.

#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test has no users, and fails by panicking"
)]

use std::cell::Cell;

use proptest::prelude::*;
use proptest::test_runner::TestRunner;

#[path = "../fuzz/bodies.rs"]
mod bodies;

const CASES: u32 = 4_000;

/// Runs a body on random bytes; how often it came to a yes.
fn run(body: impl Fn(&[u8]) -> bool) -> u32 {
    let yes = Cell::new(0);
    let mut runner = TestRunner::new(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(CASES) });
    let bytes = proptest::collection::vec(any::<u8>(), 0..400);
    let result = runner.run(&bytes, |data| {
        yes.set(yes.get() + u32::from(body(&data)));
        Ok(())
    });
    result.unwrap();
    yes.get()
}

#[test]
fn no_request_makes_it_panic_and_some_are_accepted() {
    let accepted = run(bodies::verify);
    assert!(accepted > 0 && accepted < CASES, "{accepted} of {CASES}");
}

#[test]
fn routes_are_found_as_if_all_were_looked_at() {
    let found = run(bodies::routes);
    assert!(found > 0 && found < CASES, "{found} of {CASES}");
}
