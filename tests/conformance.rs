//! The conformance scenarios of `tests/conformance` on every backend (promise P9), through the crate's API.

#![allow(missing_docs, clippy::expect_used, reason = "a test has no users, and fails by panicking")]

// Without the path, rustfmt would look beside the scenarios.
#[path = "support/mod.rs"]
mod support;

use std::fs;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use libtest_mimic::{Arguments, Failed, Trial};
use nuxt_queue_core::StoreOptions;
use nuxt_queue_core::backend::file::FileOptions;
use nuxt_queue_core::backend::redis::RedisOptions;

use support::directory::Directory;
use support::json::Json;
use support::play::{Backend, Scenario};
use support::redis::RedisServer;

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    // A listing starts nothing; the URL is asked for only when a scenario is played.
    let server = (!arguments.list).then(|| RedisServer::start().expect("the suite needs Redis"));
    let url = server.as_ref().map(RedisServer::url).unwrap_or_default();
    let directory = Directory::new();
    let (files, scenario) = (directory.path().to_owned(), AtomicU32::new(0));
    let backends = [
        Backend { name: "memory", capabilities: &["virtualClock"], options: Arc::new(StoreOptions::memory) },
        Backend {
            name: "file",
            capabilities: &["virtualClock", "shared"],
            // A directory for each scenario: their clocks differ.
            options: Arc::new(move || {
                let name = format!("{}", scenario.fetch_add(1, Ordering::Relaxed));
                StoreOptions::file(FileOptions::new(files.join(&name)))
            }),
        },
        Backend {
            name: "redis",
            capabilities: &["shared"],
            options: Arc::new(move || StoreOptions::redis(RedisOptions::from_url(&url).expect("our own URL"))),
        },
    ];
    let subjects = subjects().expect("the scenarios can be read");
    let trials = backends.iter().flat_map(|backend| subjects.iter().flat_map(|subject| trials(subject, backend)));
    let conclusion = libtest_mimic::run(&arguments, trials.collect());
    drop((server, directory));
    conclusion.exit_code()
}

/// The scenarios of one file.
struct Subject {
    name: String,
    scenarios: Vec<Scenario>,
}

fn subjects() -> Result<Vec<Subject>, String> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/conformance");
    let files = fs::read_dir(directory).map_err(|error| error.to_string())?;
    let mut paths: Vec<_> = files.filter_map(|file| Some(file.ok()?.path())).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "json"));
    paths.sort();
    paths.iter().map(|path| subject(path).map_err(|wrong| format!("{}: {wrong}", path.display()))).collect()
}

fn subject(path: &Path) -> Result<Subject, String> {
    let subject = Json::parse(&fs::read_to_string(path).map_err(|error| error.to_string())?)?;
    let name = subject.get("subject").and_then(Json::as_str).ok_or("no subject")?.to_owned();
    Ok(Subject { name, scenarios: Scenario::read(&subject)? })
}

fn trials(subject: &Subject, backend: &Backend) -> Vec<Trial> {
    let fitting = subject.scenarios.iter().filter(|scenario| scenario.fits(backend));
    let trial = |scenario: &Scenario| {
        let (scenario, backend) = (scenario.clone(), backend.clone());
        let name = format!("{} > {} > {}", backend.name, subject.name, scenario.name());
        Trial::test(name, move || play(&scenario, &backend))
    };
    fitting.map(trial).collect()
}

fn play(scenario: &Scenario, backend: &Backend) -> Result<(), Failed> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(scenario.play(backend)).map_err(Failed::from)
}
