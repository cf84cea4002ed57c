//! The arrows between the layers point one way.

#![allow(missing_docs, clippy::unwrap_used, clippy::panic, reason = "a test has no users, and fails by panicking")]

use std::fs;
use std::path::{Path, PathBuf};

/// From the top down: a layer uses those below it, and itself.
const LAYERS: [&[&str]; 5] = [&["node"], &["state"], &["store"], &["backend"], &["event", "clock", "io", "error"]];

/// Names of our event types: a backend stores what it is given and knows none of them.
const EVENT_FAMILIES: [&str; 7] =
    ["\"state.", "\"flow.", "\"log.", "\"trigger.", "\"worker.", "\"instance.", "\"step."];

struct Source {
    module: String,
    path: PathBuf,
    /// Without the tests at its end and without comments.
    code: String,
}

fn sources() -> Vec<Source> {
    let mut sources = Vec::new();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut folders = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let inside = path.strip_prefix(&root).unwrap();
            let module = inside.iter().next().unwrap().to_str().unwrap().trim_end_matches(".rs").to_owned();
            let text = fs::read_to_string(&path).unwrap();
            let code = text.split("#[cfg(test)]\nmod tests").next().unwrap();
            let code = code.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n");
            sources.push(Source { module, path, code });
        }
    }
    assert!(sources.len() > 20, "the sources were not found");
    sources
}

fn height(module: &str) -> Option<usize> {
    LAYERS.iter().rev().position(|layer| layer.contains(&module))
}

/// The top-level modules that a source names by `crate::…`.
fn used(code: &str) -> impl Iterator<Item = &str> {
    code.match_indices("crate::").map(|(at, found)| {
        let rest = &code[at + found.len()..];
        &rest[..rest.find(|character: char| !character.is_alphanumeric() && character != '_').unwrap_or(rest.len())]
    })
}

#[test]
fn a_layer_uses_only_those_below_it() {
    for source in sources().iter().filter(|source| source.module != "lib") {
        let own = height(&source.module).unwrap_or_else(|| panic!("{} has no place among the layers", source.module));
        for module in used(&source.code) {
            let other = height(module).unwrap_or_else(|| panic!("{} uses crate::{module}", source.path.display()));
            let is_below = other < own || source.module == module || (own == 0 && other == 0);
            assert!(is_below, "{} must not use crate::{module}", source.path.display());
        }
    }
}

#[test]
fn only_the_node_layer_knows_node() {
    for source in sources().iter().filter(|source| source.module != "node") {
        assert!(!source.code.contains("napi"), "{} names napi", source.path.display());
    }
}

#[test]
fn only_the_redis_backend_knows_redis() {
    for source in sources().iter().filter(|source| !source.path.to_str().unwrap().contains("/backend/redis/")) {
        let uses_crate = source.code.lines().any(|line| line.trim_start().starts_with("use redis::"));
        assert!(!uses_crate, "{} uses the redis crate", source.path.display());
    }
}

#[test]
fn no_backend_knows_an_event_type() {
    for source in sources().iter().filter(|source| source.module == "backend" || source.module == "store") {
        for family in EVENT_FAMILIES {
            assert!(!source.code.contains(family), "{} names an event type: {family}", source.path.display());
        }
    }
}
