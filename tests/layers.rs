//! The layers of the crate: who may know whom. Reads the sources, and fails on a wrong arrow.
//!
//! `node → (state, registry, trigger → flow) → store → (run, backend) → event → error`, with `clock` and `io` at the
//! bottom, `schedule` beside the store, and `webhook`, which knows nothing but `error`. Backends don't know each other,
//! nor they and the store what an event type means.

#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test has no users, and fails by panicking"
)]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// What each layer may name, as paths from the crate's root; a path stands for all below it.
const LAYERS: [(&str, &[&str]); 16] = [
    ("error", &[]),
    ("clock", &[]),
    ("io", &["error"]),
    ("version", &["error"]),
    ("event", &["error"]),
    ("backend", &["event", "clock", "io", "error"]),
    ("run", &["event", "error"]),
    // When something is due, and nothing of what becomes of it.
    ("schedule", &["event", "error"]),
    ("store", &["run", "backend", "event", "clock", "io", "error"]),
    // Of a backend, state sees what an append came to, and nothing else.
    ("state", &["store", "run", "backend::Receipt", "event", "error"]),
    ("flow", &["store", "run", "backend::Receipt", "event", "io", "version", "error"]),
    // What providers send, checked and routed: no store, no clock, no events.
    ("webhook", &["error"]),
    (
        "trigger",
        &["flow", "store", "run", "backend::Receipt", "backend::Selector", "event", "schedule", "webhook", "error"],
    ),
    // Who is there, and what they offer; nothing of what runs do.
    ("registry", &["store", "backend::Receipt", "backend::Selector", "event", "io", "version", "error"]),
    (
        "node",
        &[
            "registry", "trigger", "schedule", "webhook", "flow", "state", "store", "run", "backend", "event", "clock",
            "io", "version", "error",
        ],
    ),
    // The crate's root shows what there is.
    (
        "lib",
        &[
            "registry", "trigger", "schedule", "webhook", "flow", "state", "store", "run", "backend", "event", "clock",
            "version", "error",
        ],
    ),
];

/// Who may name one backend in particular: where a store is put together, and where its options are.
const KNOW_A_BACKEND: [&str; 3] = ["store/mod.rs", "store/options.rs", "node/options.rs"];

/// The first parts of event types with a meaning.
const FAMILIES: [&str; 9] =
    ["flow.", "step.", "state.", "log.", "trigger.", "worker.", "instance.", "emit", "registry."];

/// Layers that give event types a meaning, or pass on what users say.
const KNOW_TYPES: [&str; 6] = ["run", "state", "flow", "trigger", "registry", "node"];

/// Crates and the places that they belong to.
const OWNED_CRATES: [(&str, &[&str]); 17] = [
    ("rusqlite", &["backend/file/"]),
    ("fs4", &["backend/file/"]),
    ("redis", &["backend/redis/"]),
    ("tokio_rustls", &["backend/redis/"]),
    ("moka", &["store/"]),
    ("jiff", &["event/", "schedule/"]),
    ("cron", &["schedule/"]),
    ("strsim", &["schedule/"]),
    ("base64", &["webhook/"]),
    ("form_urlencoded", &["webhook/"]),
    ("hmac", &["webhook/"]),
    ("ipnet", &["webhook/"]),
    ("percent_encoding", &["webhook/"]),
    ("semver", &["version"]),
    ("sha1", &["webhook/"]),
    ("sha2", &["webhook/"]),
    ("subtle", &["webhook/"]),
];

/// A source file without comments and tests.
struct Source {
    /// Its path below `src`.
    path: String,
    code: String,
}

impl Source {
    fn new(path: &str, text: &str) -> Source {
        let production = text.split("#[cfg(test)]").next().unwrap_or_default();
        let code: Vec<&str> = production.lines().map(without_comment).collect();
        Source { path: path.to_owned(), code: code.join("\n") }
    }

    /// The part of the crate that it belongs to: its first folder, or its name.
    fn layer(&self) -> &str {
        self.path.split('/').next().unwrap().trim_end_matches(".rs")
    }

    /// The module that `super` begins to climb from.
    fn module(&self) -> Vec<&str> {
        let mut parts: Vec<&str> = self.path.trim_end_matches(".rs").split('/').collect();
        if matches!(parts.last(), Some(&"mod" | &"lib")) {
            parts.pop();
        }
        parts
    }

    /// Everything of this crate that is named, as paths from its root.
    fn names(&self) -> Vec<String> {
        let mut names = Vec::new();
        for (at, _) in self.code.match_indices("crate::") {
            if !self.code[..at].ends_with(is_word) {
                names.extend(expand(&self.code[at + "crate::".len()..]));
            }
        }
        for (at, _) in self.code.match_indices("super::") {
            if self.code[..at].ends_with(is_word) || self.code[..at].ends_with("super::") {
                continue;
            }
            let mut rest = &self.code[at..];
            let mut module = self.module();
            while let Some(above) = rest.strip_prefix("super::") {
                rest = above;
                module.pop();
            }
            names.extend(
                expand(rest)
                    .into_iter()
                    .map(|name| module.iter().map(|part| format!("{part}::")).collect::<String>() + &name),
            );
        }
        names
    }

    /// The texts between quotes.
    fn strings(&self) -> impl Iterator<Item = &str> {
        self.code.lines().flat_map(|line| line.split('"').skip(1).step_by(2))
    }
}

fn without_comment(line: &str) -> &str {
    match line.trim_start().starts_with("//") {
        true => "",
        // A `//` within a text belongs to an address.
        false => line.split(" // ").next().unwrap_or_default(),
    }
}

fn is_word(character: char) -> bool {
    character.is_alphanumeric() || character == '_'
}

/// The paths that begin here: one, or those of a group in braces.
fn expand(text: &str) -> Vec<String> {
    if let Some(group) = text.strip_prefix('{') {
        return members(group).iter().flat_map(|member| expand(member.trim())).collect();
    }
    let end = text.find(|character: char| !is_word(character)).unwrap_or(text.len());
    let (name, rest) = text.split_at(end);
    match rest.strip_prefix("::") {
        Some(inner) if inner.starts_with(|first: char| is_word(first) || first == '{') => {
            expand(inner).into_iter().map(|inner| format!("{name}::{inner}")).collect()
        }
        _ if name.is_empty() => Vec::new(),
        _ => vec![name.to_owned()],
    }
}

/// The members of a group, up to its closing brace.
fn members(group: &str) -> Vec<String> {
    let (mut members, mut depth) = (vec![String::new()], 0);
    for character in group.chars() {
        match character {
            '}' if depth == 0 => break,
            ',' if depth == 0 => members.push(String::new()),
            _ => {
                depth += i32::from(character == '{') - i32::from(character == '}');
                members.last_mut().unwrap().push(character);
            }
        }
    }
    members
}

fn is_within(name: &str, path: &str) -> bool {
    name.strip_prefix(path).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

/// What is wrong with a source file.
fn violations(source: &Source) -> Vec<String> {
    let layers = BTreeMap::from(LAYERS);
    let Some(allowed) = layers.get(source.layer()) else {
        return vec![format!("{}: a layer that has no place yet in tests/layers.rs", source.path)];
    };
    let mut wrong = Vec::new();
    for name in source.names() {
        let layer = name.split("::").next().unwrap();
        // What is no layer is re-exported by the root: that would hide an arrow.
        if layer != source.layer() && !allowed.iter().any(|allowed| is_within(&name, allowed)) {
            wrong.push(format!("{} names {name}", source.path));
        }
        if let Some(backend) =
            ["backend::memory", "backend::redis"].into_iter().find(|backend| is_within(&name, backend))
        {
            let home = backend.replace("::", "/");
            let is_home = source.path.strip_prefix(&home).is_some_and(|rest| rest == ".rs" || rest.starts_with('/'));
            if !is_home && !KNOW_A_BACKEND.contains(&&*source.path) {
                wrong.push(format!("{} names a backend: {name}", source.path));
            }
        }
    }
    for (owned, homes) in OWNED_CRATES {
        let mentions = source.code.match_indices(owned).any(|(at, _)| {
            let (before, after) = (&source.code[..at], &source.code[at + owned.len()..]);
            let is_path = after.starts_with("::") && !before.ends_with(is_word) && !before.ends_with("::");
            is_path || (before.ends_with("#[") && !after.starts_with(is_word))
        });
        let is_home = homes.iter().any(|home| source.path.starts_with(home));
        if mentions && !is_home && source.layer() != "lib" && !is_own_module(source, owned) {
            wrong.push(format!("{} uses the crate {owned}", source.path));
        }
    }
    if source.layer() != "node" && source.code.contains("napi") {
        wrong.push(format!("{} mentions napi", source.path));
    }
    if !KNOW_TYPES.contains(&source.layer()) {
        let known = source.strings().filter(|text| FAMILIES.iter().any(|family| text.starts_with(family)));
        wrong.extend(known.map(|text| format!("{} knows the event type {text:?}", source.path)));
    }
    wrong
}

/// `redis` is also the name of a module here.
fn is_own_module(source: &Source, name: &str) -> bool {
    source.code.contains(&format!("mod {name};"))
}

fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let (mut folders, mut found) = (vec![root.clone()], Vec::new());
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let below = path.strip_prefix(&root).unwrap().to_str().unwrap().replace('\\', "/");
                found.push(Source::new(&below, &fs::read_to_string(&path).unwrap()));
            }
        }
    }
    found
}

#[test]
fn all_arrows_point_down() {
    let sources = sources();
    assert!(sources.len() > 20, "only {} sources were found", sources.len());
    let wrong: Vec<String> = sources.iter().flat_map(violations).collect();
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn every_layer_of_the_table_exists() {
    let sources = sources();
    for (layer, _) in LAYERS {
        assert!(sources.iter().any(|source| source.layer() == layer), "there is no {layer} any more");
    }
}

#[test]
fn wrong_arrows_are_found() {
    for (path, text, word) in [
        ("event/mod.rs", "use crate::store::EventStore;", "store"),
        ("event/mod.rs", "use crate::{error::Error, store::{self, Query}};", "store"),
        ("event/id.rs", "use super::super::backend::Glob;", "backend::Glob"),
        ("event/mod.rs", "fn f() { super::io::handle() }", "io"),
        ("store/mod.rs", "fn f() -> crate::state::State {}", "state"),
        ("state/history.rs", "use crate::backend::{Backend, Receipt};", "backend::Backend"),
        ("state/history.rs", "use crate::EventStore;", "EventStore"),
        ("backend/redis/script.rs", "use crate::backend::memory::conflict;", "memory"),
        ("backend/memory.rs", "use super::redis::wire;", "redis"),
        ("store/query.rs", "use crate::backend::redis::Redis;", "redis"),
        ("store/query.rs", "use napi::Env;", "napi"),
        ("state/history.rs", "#[napi_derive::napi] struct S;", "napi"),
        ("state/history.rs", "#[napi(object)] struct S;", "napi"),
        ("store/mod.rs", "let value: redis::Value;", "redis"),
        ("trigger/mod.rs", "use sha2::Sha256;", "sha2"),
        ("webhook/mod.rs", "use crate::clock::Clock;", "clock"),
        ("trigger/mod.rs", "let zone: jiff::tz::TimeZone;", "jiff"),
        ("trigger/mod.rs", "cron::Schedule::from_str(text)", "cron"),
        ("registry/mod.rs", "use crate::flow::Object;", "flow"),
        ("flow/mod.rs", "semver::Version::parse(text)", "semver"),
        ("schedule/mod.rs", "use crate::trigger::TriggerEngine;", "trigger"),
        ("backend/memory.rs", "if event_type == \"state.set\" {}", "state.set"),
        ("cache/mod.rs", "", "no place"),
    ] {
        let found = violations(&Source::new(path, text));
        assert!(found.iter().any(|wrong| wrong.contains(word)), "{path}: {text}: {found:?}");
    }
}

#[test]
fn right_arrows_are_let_through() {
    for (path, text) in [
        ("store/query.rs", "use super::check;\nuse crate::backend::{Backend, Glob};"),
        ("state/run_state.rs", "use crate::backend::Receipt;\nuse super::point::Point;"),
        ("backend/redis/mod.rs", "use redis::Value;\nuse super::{Glob, Hub};\nmod wire;"),
        ("store/mod.rs", "// use napi::Env, crate::state\n/// `crate::state`\nuse crate::backend::redis::Redis;"),
        ("event/mod.rs", "#[cfg(test)]\nmod tests { use crate::store::Query; }"),
        ("store/options.rs", "fn redis(redis: RedisOptions) {}"),
        ("trigger/mod.rs", "use crate::webhook::verify;"),
        ("webhook/mac.rs", "use sha2::Sha256;\nuse crate::error::Error;"),
        ("schedule/zone.rs", "use jiff::tz::TimeZone;\nuse crate::event::parse_time;"),
        ("node/store.rs", "use napi_derive::napi;\nuse crate::state::RunState;"),
    ] {
        assert_eq!(violations(&Source::new(path, text)), Vec::<String>::new(), "{path}: {text}");
    }
}
