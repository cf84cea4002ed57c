//! What a step of a scenario can do, in terms of the package's public API.

use std::collections::HashMap;
use std::future::ready;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use nuxt_queue_core::backend::{Receipt, StreamInfo};
use nuxt_queue_core::event::format_time;
use nuxt_queue_core::run::{self, State};
use nuxt_queue_core::store::Pages;
use nuxt_queue_core::{EventId, EventStore, Events, NewEvent, RunState, VirtualClock};

use super::arguments::{self, Failure, needed_text, text, whole};
use super::following::Following;
use super::json::Json;
use super::values::{Mode, mismatch};

/// What a call gives back; `None` is nothing.
pub type Answer = Result<Option<Json>, Failure>;
/// A call that was made.
pub type Call = Pin<Box<dyn Future<Output = Answer> + Send>>;
/// The subscriptions of a play by name.
pub type Subscriptions = Arc<Mutex<HashMap<String, Arc<Following>>>>;

/// What an operation works on.
#[derive(Clone)]
pub struct Stage {
    /// The store that the step speaks to.
    pub store: EventStore,
    /// The stream that is meant when a step names none.
    pub stream: String,
    /// The run that is meant when a step names none.
    pub run: String,
    /// The clock, if it is a virtual one.
    pub clock: Option<Arc<VirtualClock>>,
    /// The subscriptions of the play.
    pub subscriptions: Subscriptions,
    /// The step's `as`.
    pub name: Option<String>,
    /// The step's `until`.
    pub until: Option<Json>,
}

/// The operations by the member that names them in a step.
pub const OPERATIONS: [&str; 33] = [
    "append",
    "appendBatch",
    "query",
    "queryText",
    "queryGlobal",
    "iterate",
    "streams",
    "deleteStream",
    "deleteStreams",
    "indexAdd",
    "indexRead",
    "indexDelete",
    "subscribe",
    "received",
    "caughtUp",
    "reported",
    "unsubscribe",
    "state.get",
    "state.getAll",
    "state.has",
    "state.set",
    "state.delete",
    "state.setBatch",
    "state.patch",
    "state.list",
    "state.at",
    "state.history",
    "state.diff",
    "state.snapshot",
    "reduceState",
    "reduceRun",
    "clock",
    "pause",
];

/// Makes a call. Appends are handed over now; the other calls begin when the future is polled.
pub fn start(operation: &str, arguments: Json, stage: Stage) -> Call {
    let call = match operation {
        "append" | "appendBatch" => append(&arguments, &stage),
        _ => {
            let operation = operation.to_owned();
            return Box::pin(async move { perform(&operation, &arguments, &stage).await });
        }
    };
    call.unwrap_or_else(|failure| Box::pin(ready(Err(failure))))
}

async fn perform(operation: &str, arguments: &Json, stage: &Stage) -> Answer {
    match operation.strip_prefix("state.") {
        Some(operation) => on_state(operation, arguments, stage).await,
        None => on_store(operation, arguments, stage).await,
    }
}

fn append(arguments: &Json, stage: &Stage) -> Result<Call, Failure> {
    let stream = text(arguments, "stream")?.unwrap_or(&stage.stream).to_owned();
    let options = arguments::append_options(arguments)?;
    let batch = arguments.get("events").and_then(Json::as_list);
    let events = batch.unwrap_or_else(|| arguments.get("event").map(std::slice::from_ref).unwrap_or_default());
    let events = events.iter().map(arguments::new_event).collect::<Result<Vec<_>, _>>()?;
    let is_batch = batch.is_some();
    let receipt: Pin<Box<dyn Future<Output = _> + Send>> = match (is_batch, events.first()) {
        (false, Some(event)) => Box::pin(stage.store.append(&stream, event.clone(), options)),
        _ => Box::pin(stage.store.append_batch(&stream, events.clone(), options)),
    };
    Ok(Box::pin(async move {
        let records = match receipt.await? {
            Receipt::One(id) => vec![record(id, &stream, &events[0])],
            Receipt::Batch(ids) => ids.into_iter().zip(&events).map(|(id, event)| record(id, &stream, event)).collect(),
            Receipt::Repeated(records) => parsed(&records)?,
        };
        Ok(if is_batch { Some(Json::List(records)) } else { records.into_iter().next() })
    }))
}

fn record(id: EventId, stream: &str, event: &NewEvent) -> Json {
    let head = Json::object([
        ("id", Json::text(id.to_string())),
        ("stream", Json::text(stream)),
        ("timestamp", Json::text(format_time(id.ms))),
        ("type", Json::text(event.event_type())),
    ]);
    let mut members = head.members().to_vec();
    for (field, value) in event.fields() {
        let is_number = field == nuxt_queue_core::Field::Attempt;
        members.push((field.name().into(), if is_number { Json::number(value) } else { Json::text(value) }));
    }
    members.extend(event.data().and_then(|data| Some(("data".into(), Json::parse(data).ok()?))));
    Json::Object(members)
}

fn parsed(events: &Events) -> Result<Vec<Json>, Failure> {
    let all = Json::parse(&events.to_json()).map_err(Failure::Play)?;
    Ok(all.as_list().unwrap_or_default().to_vec())
}

async fn on_store(operation: &str, arguments: &Json, stage: &Stage) -> Answer {
    let store = &stage.store;
    let stream = || Ok::<_, Failure>(text(arguments, "stream")?.unwrap_or(&stage.stream));
    Ok(match operation {
        "query" | "queryText" => {
            Some(Json::List(parsed(&store.query(arguments::query(arguments, stream()?)?).await?)?))
        }
        "queryGlobal" if arguments.get("filter").is_none() => {
            let query = arguments::query(arguments, needed_text(arguments, "pattern")?)?;
            Some(Json::List(parsed(&store.query_global(query).await?)?))
        }
        "queryGlobal" | "iterate" => Some(Json::List(iterate(arguments, stage).await?)),
        "streams" => Some(streams(store, needed_text(arguments, "pattern")?).await?),
        "deleteStream" => Some(Json::Bool(store.delete_stream(stream()?).await?)),
        "deleteStreams" => Some(Json::number(store.delete_streams(needed_text(arguments, "pattern")?).await?)),
        "indexAdd" => {
            let score =
                arguments.get("score").and_then(Json::as_f64).ok_or_else(|| Failure::Play("no score".into()))?;
            store.index_add(needed_text(arguments, "key")?, needed_text(arguments, "id")?, score).await?;
            None
        }
        "indexRead" => {
            let (offset, limit) = (whole(arguments, "offset")?.unwrap_or(0), whole(arguments, "limit")?);
            let members = store.index_read(needed_text(arguments, "key")?, offset, limit).await?;
            let member =
                |(id, score): (String, f64)| Json::object([("id", Json::Text(id)), ("score", Json::number(score))]);
            Some(Json::List(members.into_iter().map(member).collect()))
        }
        "indexDelete" => {
            store.index_delete(needed_text(arguments, "key")?).await?;
            None
        }
        "subscribe" => {
            let following = Following::begin(store, arguments, &stage.stream).await?;
            let name = stage.name.clone().ok_or_else(|| Failure::Play("a subscription needs a name".into()))?;
            stage.subscriptions.lock().expect("no panic while it is held").insert(name, Arc::new(following));
            None
        }
        "received" => Some(following(arguments, stage)?.received(stage.until.as_ref()).await?),
        "caughtUp" => Some(following(arguments, stage)?.caught_up().await?),
        "unsubscribe" => {
            following(arguments, stage)?.end();
            None
        }
        "reduceState" => Some(reduce_state(arguments)?),
        "reduceRun" => Some(reduce_run(arguments)?),
        "clock" => {
            move_clock(arguments, stage)?;
            None
        }
        "pause" => {
            let ms = arguments.as_f64().unwrap_or_default() as u64;
            match &stage.clock {
                Some(clock) => clock.advance(ms),
                None => tokio::time::sleep(Duration::from_millis(ms)).await,
            }
            None
        }
        other => return Err(Failure::Play(format!("this runner can't {other}"))),
    })
}

/// Records one by one, those that pass the filter, until enough were taken.
async fn iterate(arguments: &Json, stage: &Stage) -> Result<Vec<Json>, Failure> {
    let filter = arguments.get("filter");
    let mut enough = whole(arguments, "take")?.unwrap_or(usize::MAX);
    let mut pages: Pages = match text(arguments, "pattern")? {
        Some(pattern) => {
            let mut query = arguments::query(arguments, pattern)?;
            if filter.is_some() {
                enough = enough.min(query.limit.take().unwrap_or(usize::MAX));
            }
            stage.store.iterate_global(query)?
        }
        None => {
            stage.store.iterate(arguments::query(arguments, text(arguments, "stream")?.unwrap_or(&stage.stream))?)?
        }
    };
    let mut records = Vec::new();
    while records.len() < enough {
        let Some(page) = pages.next().await? else { break };
        let passes =
            |record: &Json| filter.is_none_or(|filter| mismatch(filter, Some(record), Mode::Like, "").is_none());
        records.extend(parsed(&page)?.into_iter().filter(passes));
    }
    records.truncate(enough);
    Ok(records)
}

async fn streams(store: &EventStore, pattern: &str) -> Result<Json, Failure> {
    let mut pages = store.streams(pattern)?;
    let mut listed = Vec::new();
    while let Some(page) = pages.next().await? {
        let describe = |info: StreamInfo| {
            let (last_id, length) = (Json::text(info.last_id.to_string()), Json::number(info.length));
            Json::object([("stream", Json::Text(info.stream)), ("lastId", last_id), ("length", length)])
        };
        listed.extend(page.into_iter().map(describe));
    }
    Ok(Json::List(listed))
}

async fn on_state(operation: &str, arguments: &Json, stage: &Stage) -> Answer {
    let run = text(arguments, "run")?.unwrap_or(&stage.run);
    let state = RunState::new(&stage.store, run, arguments::envelope(arguments.get("envelope"))?);
    let key = || needed_text(arguments, "key");
    let value = |json: String| Json::parse(&json).map_err(Failure::Play);
    let consistency = arguments::consistency(arguments)?;
    Ok(match operation {
        "get" => state.get(key()?, consistency).await?.map(value).transpose()?,
        "has" => Some(Json::Bool(state.has(key()?, consistency).await?)),
        "getAll" => Some(value(state.get_all(consistency).await?)?),
        "list" => {
            let keys = state.list(text(arguments, "prefix")?.unwrap_or_default(), consistency).await?;
            Some(Json::List(keys.into_iter().map(Json::Text).collect()))
        }
        "set" => {
            let ttl = whole(arguments, "ttl")?.map(|ms| Duration::from_millis(ms as u64));
            let value = arguments.get("value").map(Json::to_json).ok_or_else(|| Failure::Play("no value".into()))?;
            state.set(key()?, &value, ttl).await?;
            None
        }
        "delete" => {
            state.delete(key()?).await?;
            None
        }
        "setBatch" => {
            let values = arguments.get("values").map(Json::members).unwrap_or_default();
            let values: Vec<_> = values.iter().map(|(key, value)| (key.as_str(), value.to_json())).collect();
            let values: Vec<_> = values.iter().map(|(key, value)| (*key, value.as_str())).collect();
            state.set_batch(&values).await?;
            None
        }
        "patch" => Some(value(state.patch(key()?, |previous| patched(arguments, previous)).await?)?),
        "at" => Some(value(state.at(arguments::point(arguments, "point")?).await?)?),
        "history" => {
            let entries = state.history(text(arguments, "key")?).await?;
            Some(value(serde_json::to_string(&entries).map_err(|error| error.to_string())?)?)
        }
        "diff" => {
            let (from, to) = (arguments::point(arguments, "from")?, arguments::point(arguments, "to")?);
            let diff = value(state.diff(from, to).await?.to_json())?;
            Some(Json::Object(diff.members().iter().filter(|(key, _)| key != "events").cloned().collect()))
        }
        "snapshot" => Some(value(state.snapshot().await?)?),
        other => return Err(Failure::Play(format!("this runner can't state.{other}"))),
    })
}

/// The new value of a patch: something added to a number, pushed to a list, or given.
fn patched(arguments: &Json, previous: Option<&str>) -> String {
    let previous = previous.and_then(|json| Json::parse(json).ok());
    if let Some(add) = arguments.get("add").and_then(Json::as_f64) {
        return (previous.and_then(|number| number.as_f64()).unwrap_or(0.0) + add).to_string();
    }
    if let Some(push) = arguments.get("push") {
        let before = previous.as_ref().and_then(Json::as_list).unwrap_or_default();
        return Json::List(before.iter().chain([push]).cloned().collect()).to_json();
    }
    arguments.get("to").map(Json::to_json).unwrap_or_default()
}

fn following(name: &Json, stage: &Stage) -> Result<Arc<Following>, Failure> {
    let subscriptions = stage.subscriptions.lock().expect("no panic while it is held");
    let found = name.as_str().and_then(|name| subscriptions.get(name));
    found.cloned().ok_or_else(|| Failure::Play(format!("there is no subscription {}", name.to_json())))
}

fn reduce_state(arguments: &Json) -> Result<Json, Failure> {
    let events = arguments.get("events").and_then(Json::as_list).unwrap_or_default();
    let at_ms = match arguments.get("at") {
        Some(_) => arguments::point(arguments, "at")?.ms(),
        None => 0,
    };
    let mut state = State::default();
    for event in events {
        let data = event.get("data").map(Json::to_json);
        if let Some(effect) = run::effect(needed_text(event, "type")?, data.as_deref()) {
            state.take(&effect);
        }
    }
    Ok(Json::parse(&state.to_json(at_ms))?)
}

fn reduce_run(arguments: &Json) -> Result<Json, Failure> {
    let events = arguments.get("events").map(Json::to_json).unwrap_or_default();
    let status = serde_json::to_string(&run::reduce_run(&events)?).map_err(|error| error.to_string())?;
    Ok(Json::parse(&status)?)
}

fn move_clock(to: &Json, stage: &Stage) -> Result<(), Failure> {
    let clock =
        stage.clock.as_ref().ok_or_else(|| Failure::Play("this scenario has to require virtualClock".into()))?;
    let to = to.as_str().unwrap_or_default();
    match to.strip_prefix('+') {
        Some(by) => clock.advance(by.parse().map_err(|_| Failure::Play(format!("{to:?} is no number")))?),
        None => clock
            .set(nuxt_queue_core::event::parse_time(to).ok_or_else(|| Failure::Play(format!("{to:?} is no time")))?),
    }
    Ok(())
}
