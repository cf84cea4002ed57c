//! Plays the conformance scenarios. The format is described in `tests/conformance/README.md`.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use nuxt_queue_core::event::parse_time;
use nuxt_queue_core::{EventStore, StoreOptions, VirtualClock};

use super::arguments::{self, Failure, text, whole};
use super::json::Json;
use super::operations::{Answer, Call, OPERATIONS, Stage, Subscriptions, start};
use super::values::{Mode, Names, at, id, mismatch, show};

/// What a backend may be able to do, and what this runner or another can.
const CAPABILITIES: [&str; 5] = ["virtualClock", "shared", "untyped", "loneSurrogates", "throwingHandler"];
/// What this runner brings, whatever the backend is.
const RUNNER: [&str; 1] = ["loneSurrogates"];
const FIRST_INSTANT: &str = "2025-01-01T00:00:00.000Z";
/// Operations of the play itself rather than of a store.
const STAGE_HANDS: [&str; 3] = ["open", "close", "settle"];
const STEP_MEMBERS: [&str; 15] = [
    "about",
    "store",
    "times",
    "unawaited",
    "as",
    "until",
    "sortBy",
    "pluck",
    "expect",
    "like",
    "count",
    "increasing",
    "decreasing",
    "error",
    "outcomes",
];
const SCENARIO_MEMBERS: [&str; 6] = ["name", "about", "requires", "options", "clock", "steps"];

/// A home for events that the scenarios are played on.
#[derive(Clone)]
pub struct Backend {
    /// The backend's name, for reports.
    pub name: &'static str,
    /// What it can do.
    pub capabilities: &'static [&'static str],
    /// The options that lead the stores of a scenario to it.
    pub options: Arc<dyn Fn() -> StoreOptions + Send + Sync>,
}

/// A scenario whose members and operations all exist.
#[derive(Clone)]
pub struct Scenario(Json);

impl Scenario {
    /// Reads the scenarios of one file.
    pub fn read(subject: &Json) -> Result<Vec<Scenario>, String> {
        let scenarios = subject.get("scenarios").and_then(Json::as_list).unwrap_or_default();
        scenarios.iter().cloned().map(Scenario).map(Scenario::checked).collect()
    }

    fn checked(self) -> Result<Self, String> {
        let unknown = |known: &[&str], name: &str| (!known.contains(&name)).then(|| name.to_owned());
        let members = self.0.members().iter().filter_map(|(name, _)| unknown(&SCENARIO_MEMBERS, name));
        let capabilities = self.requires().filter_map(|name| unknown(&CAPABILITIES, name));
        let steps = self.steps().iter().filter(|step| operation(step).is_none()).map(|step| show(Some(step)));
        let wrong = members.chain(capabilities).chain(steps).next();
        wrong.map_or(Ok(()), |wrong| Err(format!("scenario {:?}: don't know {wrong}", self.name())))?;
        Ok(self)
    }

    /// What it is called.
    pub fn name(&self) -> &str {
        self.0.get("name").and_then(Json::as_str).unwrap_or_default()
    }

    fn requires(&self) -> impl Iterator<Item = &str> {
        self.0.get("requires").and_then(Json::as_list).unwrap_or_default().iter().filter_map(Json::as_str)
    }

    fn steps(&self) -> &[Json] {
        self.0.get("steps").and_then(Json::as_list).unwrap_or_default()
    }

    /// Whether it can be told on a backend.
    pub fn fits(&self, backend: &Backend) -> bool {
        self.requires().all(|name| backend.capabilities.contains(&name) || RUNNER.contains(&name))
    }

    /// Plays it from the first step to the last; an error at the first that goes another way.
    pub async fn play(&self, backend: &Backend) -> Result<(), String> {
        let mut play = Play::new(self, backend)?;
        let outcome = play.run(self).await;
        for store in play.stores.values() {
            store.close().await;
        }
        outcome
    }
}

/// The one member that names an operation; `None` if there is none or more than one.
fn operation(step: &Json) -> Option<&str> {
    let mut rest = step.members().iter().map(|(name, _)| name.as_str()).filter(|name| !STEP_MEMBERS.contains(name));
    let operation = rest.next().filter(|name| OPERATIONS.contains(name) || STAGE_HANDS.contains(name));
    operation.filter(|_| rest.next().is_none())
}

/// A step whose calls were made and that nobody has waited for yet.
struct Unawaited {
    place: String,
    step: Json,
    calls: Vec<tokio::task::JoinHandle<Answer>>,
}

struct Play {
    /// What leads the scenario's stores to one place.
    options: StoreOptions,
    names: Names,
    clock: Option<Arc<VirtualClock>>,
    stores: HashMap<String, EventStore>,
    subscriptions: Subscriptions,
    pending: Vec<Unawaited>,
}

impl Play {
    fn new(scenario: &Scenario, backend: &Backend) -> Result<Self, String> {
        let unique = uuid::Uuid::new_v4().simple().to_string();
        let (stream, run) = (format!("conformance:{}", &unique[..12]), format!("run-{}", &unique[..12]));
        let clock = match scenario.requires().any(|name| name == "virtualClock") {
            false => None,
            true => {
                let begin = scenario.0.get("clock").and_then(Json::as_str).unwrap_or(FIRST_INSTANT);
                Some(Arc::new(VirtualClock::new(parse_time(begin).ok_or("clock is no time")?)))
            }
        };
        Ok(Play {
            options: (backend.options)(),
            names: Names { stream, run, ..Names::default() },
            clock,
            stores: HashMap::new(),
            subscriptions: Subscriptions::default(),
            pending: Vec::new(),
        })
    }

    async fn run(&mut self, scenario: &Scenario) -> Result<(), String> {
        let nothing = Json::object([]);
        let options = scenario.0.get("options").unwrap_or(&nothing);
        self.open("main", options).await.map_err(|failure| failure.to_string())?;
        for (n, step) in scenario.steps().iter().enumerate() {
            self.step(step, format!("step {}", n + 1)).await?;
        }
        self.settle().await
    }

    async fn step(&mut self, step: &Json, place: String) -> Result<(), String> {
        let times = whole(step, "times").map_err(|failure| failure.to_string())?.unwrap_or(1);
        let mut answers = Vec::new();
        let mut unawaited = Unawaited { place, step: step.clone(), calls: Vec::new() };
        for i in 0..times {
            self.names.i = i;
            match step.get("unawaited") {
                Some(_) => unawaited.calls.push(begin(self.call(step)).await),
                None => answers.push(self.answer(step).await?),
            }
        }
        if step.get("unawaited").is_some() {
            self.pending.push(unawaited);
            return Ok(());
        }
        self.check(step, &answers).map_err(|wrong| describe(&unawaited, &wrong))
    }

    /// The answer to a call; an error if a step before it went another way.
    async fn answer(&mut self, step: &Json) -> Result<Answer, String> {
        let Some(hand) = operation(step).filter(|name| STAGE_HANDS.contains(name)) else {
            return Ok(self.call(step).await);
        };
        let argument = step.get(hand).cloned().unwrap_or(Json::Null);
        Ok(match hand {
            "settle" => {
                self.settle().await?;
                Ok(None)
            }
            "close" => {
                self.store(argument.as_str().unwrap_or_default())?.close().await;
                Ok(None)
            }
            _ => {
                let nothing = Json::object([]);
                let name = text(&argument, "name").ok().flatten().unwrap_or_default();
                self.open(name, argument.get("options").unwrap_or(&nothing)).await.map(|()| None)
            }
        })
    }

    fn call(&self, step: &Json) -> Call {
        let call = || {
            let name = operation(step).ok_or("no operation")?;
            let arguments = self.names.resolve(step.get(name).unwrap_or(&Json::Null))?.unwrap_or(Json::Null);
            Ok::<_, String>(start(name, arguments, self.stage(step)?))
        };
        call().unwrap_or_else(|wrong| Box::pin(std::future::ready(Err(Failure::Play(wrong)))))
    }

    fn stage(&self, step: &Json) -> Result<Stage, String> {
        let until = step.get("until").map(|until| self.names.resolve(until)).transpose()?;
        Ok(Stage {
            store: self.store(step.get("store").and_then(Json::as_str).unwrap_or("main"))?.clone(),
            stream: self.names.stream.clone(),
            run: self.names.run.clone(),
            clock: self.clock.clone(),
            subscriptions: self.subscriptions.clone(),
            name: step.get("as").and_then(Json::as_str).map(str::to_owned),
            until: until.flatten(),
        })
    }

    async fn open(&mut self, name: &str, wanted: &Json) -> Result<(), Failure> {
        let mut options = self.options.clone().with_limits(arguments::limits(wanted)?);
        if let Some(prefix) = text(wanted, "prefix")? {
            options.prefix = prefix.into();
        }
        if let Some(clock) = &self.clock {
            options = options.with_clock(clock.clone());
        }
        self.stores.insert(name.into(), EventStore::open(options).await?);
        Ok(())
    }

    fn store(&self, name: &str) -> Result<&EventStore, String> {
        self.stores.get(name).ok_or_else(|| format!("no store {name:?} was opened"))
    }

    async fn settle(&mut self) -> Result<(), String> {
        for mut unawaited in std::mem::take(&mut self.pending) {
            let mut answers = Vec::new();
            for call in std::mem::take(&mut unawaited.calls) {
                answers.push(call.await.map_err(|panic| describe(&unawaited, &panic.to_string()))?);
            }
            self.check(&unawaited.step, &answers).map_err(|wrong| describe(&unawaited, &wrong))?;
        }
        Ok(())
    }

    fn check(&mut self, step: &Json, answers: &[Answer]) -> Result<(), String> {
        if let Some(expected) = step.get("outcomes") {
            return must(mismatch(expected, Some(&tally(answers)), Mode::Exact, ""));
        }
        if let Some(expected) = step.get("error") {
            let expected = self.names.resolve(expected)?.unwrap_or(Json::Null);
            return answers.iter().try_for_each(|answer| check_error(&expected, answer));
        }
        let mut values = Vec::new();
        for answer in answers {
            values.push(answer.clone().map_err(|failure| failure.to_string())?);
        }
        let result = match step.get("times") {
            None => values.into_iter().next().flatten(),
            Some(_) => Some(Json::List(values.into_iter().map(|value| value.unwrap_or(Json::Null)).collect())),
        };
        if let Some(name) = step.get("as").and_then(Json::as_str) {
            self.names.results.insert(name.into(), result.clone());
        }
        self.check_result(step, result)
    }

    fn check_result(&self, step: &Json, mut result: Option<Json>) -> Result<(), String> {
        if let (Some(path), Some(Json::List(items))) = (step.get("sortBy").and_then(Json::as_str), &mut result) {
            items.sort_by_key(|item| sort_key(item, path));
        }
        for (member, direction) in [("increasing", 1), ("decreasing", -1)] {
            if let Some(path) = step.get(member) {
                climbs(plucked(result.as_ref(), path).as_ref(), direction)?;
            }
        }
        if let Some(paths) = step.get("pluck") {
            result = plucked(result.as_ref(), paths);
        }
        if let Some(count) = step.get("count") {
            let length = result.as_ref().and_then(Json::as_list).map(|items| Json::number(items.len()));
            must(mismatch(count, length.as_ref(), Mode::Exact, ".length"))?;
        }
        for (member, mode) in [("expect", Mode::Exact), ("like", Mode::Like)] {
            let Some(expected) = step.get(member) else { continue };
            let wrong = match self.names.resolve(expected)? {
                Some(expected) => mismatch(&expected, result.as_ref(), mode, ""),
                None => result.as_ref().map(|result| format!("expected nothing, got {}", show(Some(result)))),
            };
            must(wrong)?;
        }
        Ok(())
    }
}

/// Polls a call once, so that it has begun, and leaves the rest to a task.
async fn begin(mut call: Call) -> tokio::task::JoinHandle<Answer> {
    match call.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(answer) => tokio::spawn(std::future::ready(answer)),
        Poll::Pending => tokio::spawn(call),
    }
}

fn describe(unawaited: &Unawaited, wrong: &str) -> String {
    format!("{} {}\n{wrong}", unawaited.place, show(Some(&unawaited.step)))
}

fn must(wrong: Option<String>) -> Result<(), String> {
    wrong.map_or(Ok(()), Err)
}

fn check_error(expected: &Json, answer: &Answer) -> Result<(), String> {
    let code = expected.as_str().or_else(|| expected.get("code")?.as_str()).unwrap_or_default();
    let part = expected.get("message").and_then(Json::as_str).unwrap_or_default();
    match answer {
        Err(Failure::Core(error)) if error.code().as_str() == code && error.message().contains(part) => Ok(()),
        Err(failure) => Err(format!("expected {code} {part:?}, got {failure}")),
        Ok(value) => Err(format!("expected {code}, got the result {}", show(value.as_ref()))),
    }
}

/// How many calls went well (`ok`), and how many failed with which code.
fn tally(answers: &[Answer]) -> Json {
    let mut counts = BTreeMap::new();
    for answer in answers {
        let key = match answer {
            Ok(_) => "ok".to_owned(),
            Err(Failure::Core(error)) => error.code().as_str().to_owned(),
            Err(Failure::Play(message)) => message.clone(),
        };
        *counts.entry(key).or_insert(0) += 1;
    }
    Json::Object(counts.into_iter().map(|(key, count)| (key, Json::number(count))).collect())
}

fn sort_key(item: &Json, path: &str) -> String {
    match at(item, path) {
        Some(Json::Text(text)) => text.clone(),
        other => show(other),
    }
}

/// The parts of a result that are looked at: of each item, if it is a list.
fn plucked(result: Option<&Json>, paths: &Json) -> Option<Json> {
    let part = |item: &Json, path: &Json| plucked(Some(item), path).unwrap_or(Json::Missing);
    match (result?, paths) {
        (Json::List(items), _) => Some(Json::List(items.iter().map(|item| part(item, paths)).collect())),
        (item, Json::List(paths)) => Some(Json::List(paths.iter().map(|path| part(item, path)).collect())),
        (item, path) => at(item, path.as_str()?).cloned(),
    }
}

fn climbs(ids: Option<&Json>, direction: i32) -> Result<(), String> {
    let ids = ids.and_then(Json::as_list).unwrap_or_default();
    let climbs = |pair: &[Json]| {
        let (before, after) = if direction > 0 { (&pair[0], &pair[1]) } else { (&pair[1], &pair[0]) };
        id(Some(before)) < id(Some(after))
    };
    match ids.windows(2).find(|pair| !climbs(pair)) {
        Some(pair) => Err(format!("ids out of order: {} then {}", pair[0].to_json(), pair[1].to_json())),
        None => Ok(()),
    }
}
