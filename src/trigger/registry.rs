//! Which triggers there are: registered, changed and removed on the condition that nobody did so in between.

use std::sync::Arc;

use serde_json::Value;

use super::board::{Mode, RegisteredTrigger, Subscriber, changed};
use super::definition::{TriggerDefinition, TriggerType, check_name};
use super::{Known, TriggerEngine};
use crate::error::{Code, Error, Result};
use crate::event::{Field, NewEvent, format_time};
use crate::flow::Object;
use crate::run::Plan;
use crate::store::AppendOptions;
use crate::webhook::{Found, PathPattern};

/// How often it is tried while others write the stream.
const ATTEMPTS: usize = 200;

/// A flow's subscription to a trigger.
#[derive(Debug, Clone)]
pub struct Subscription {
    /// The trigger; it need not be registered yet.
    pub trigger_name: String,
    /// The flow.
    pub flow_name: String,
    /// What happens when the trigger fires.
    pub mode: Mode,
}

/// What is to be recorded, if anything, and what that comes to.
pub(super) type Change<T> = (Vec<NewEvent>, T);

impl TriggerEngine {
    /// Registers a trigger, or gives it another definition. Nothing is recorded if it has this one. Whether it was
    /// recorded.
    ///
    /// # Errors
    /// `Config` with everything that keeps it from working, and those of appending.
    pub async fn register(&self, definition: TriggerDefinition) -> Result<bool> {
        let json = serde_json::to_string(&definition)
            .map_err(|error| Error::new(Code::Internal, "A definition is not JSON.").caused_by(error))?;
        let mut problems = definition.problems();
        self.change(|known| {
            if problems.is_empty() {
                problems.extend(clash(known, &definition));
            }
            if !problems.is_empty() {
                return Err(cannot_work(&definition.name, &problems));
            }
            if known.board.registry.get(&definition.name).is_some_and(|known| *known.definition == definition) {
                return Ok((Vec::new(), false));
            }
            problems_of_subscribers(known, &definition)?;
            let data = self.since(Object::new().raw("definition", &json)).done();
            Ok((vec![about(&definition.name, "trigger.registered").with_data(data)], true))
        })
        .await
    }

    /// Replaces members of a trigger's definition: `changes` is a JSON object, `null` removes a member.
    ///
    /// # Errors
    /// `NotFound` for an unknown trigger, `Config` if it could not work any more, and those of appending.
    pub async fn update(&self, name: &str, changes: &str) -> Result<()> {
        let value: Value = serde_json::from_str(changes)
            .map_err(|error| Error::new(Code::Validation, "The changes are no JSON object.").caused_by(error))?;
        self.change(|known| {
            let before = &find(known, name)?.definition;
            let Some(definition) = changed(before, value.clone()) else {
                let message = format!("The trigger {name:?} would have no valid definition with these changes.");
                return Err(Error::new(Code::Config, message));
            };
            let mut problems = definition.problems();
            if definition.name != name {
                problems.push("its name can't be changed; register another trigger".into());
            }
            problems.extend(clash(known, &definition));
            if !problems.is_empty() {
                return Err(cannot_work(name, &problems));
            }
            if definition == **before {
                return Ok((Vec::new(), ()));
            }
            problems_of_subscribers(known, &definition)?;
            let data = self.since(Object::new().raw("changes", changes)).done();
            Ok((vec![about(name, "trigger.updated").with_data(data)], ()))
        })
        .await
    }

    /// Lets a trigger fire, or not. Whether that was otherwise before.
    ///
    /// # Errors
    /// `NotFound` for an unknown trigger, and those of appending.
    pub async fn set_enabled(&self, name: &str, enabled: bool) -> Result<bool> {
        self.change(|known| {
            let is_change = find(known, name)?.enabled != enabled;
            let event = about(name, if enabled { "trigger.enabled" } else { "trigger.disabled" });
            let event = event.with_data(self.since(Object::new()).done());
            Ok((if is_change { vec![event] } else { Vec::new() }, is_change))
        })
        .await
    }

    /// Notes the instant by this engine's clock: the ids of events may be by another one.
    fn since(&self, data: Object) -> Object {
        data.text("since", &format_time(self.flows.store().now_ms()))
    }

    /// Removes a trigger and all subscriptions to it. Whether it was there.
    ///
    /// # Errors
    /// Those of appending.
    pub async fn remove(&self, name: &str) -> Result<bool> {
        self.change(|known| match find(known, name) {
            Ok(_) => Ok((vec![about(name, "trigger.removed")], true)),
            Err(_) => Ok((Vec::new(), false)),
        })
        .await
    }

    /// Subscribes a flow to a trigger, or changes how.
    ///
    /// # Errors
    /// `NotFound` if nobody has defined the flow, `Validation` if the two don't go together, and those of appending.
    pub async fn subscribe(&self, subscription: &Subscription) -> Result<()> {
        let Subscription { trigger_name, flow_name, mode } = subscription;
        check_name(trigger_name)?;
        let local = self.flows.plan(flow_name);
        self.change(|known| {
            let registry = &known.board.registry;
            let plan = match (&local, registry.plan(flow_name)) {
                (Ok(plan), _) | (Err(_), Some(plan)) => plan.clone(),
                (Err(error), None) => return Err(error.clone()),
            };
            expect_compatible(known, trigger_name, *mode)?;
            let before = registry.subscribers(trigger_name).find(|(flow, _)| flow == flow_name);
            let is_defined = before.is_some_and(|(_, subscriber)| subscriber.is_defined);
            let subscriber = Subscriber { mode: *mode, is_defined, plan };
            let mut events = subscribed(trigger_name, flow_name, &subscriber, before.map(|(_, known)| known))?;
            events.extend(renewed(known, flow_name, &subscriber.plan, std::slice::from_ref(trigger_name))?);
            Ok((events, ()))
        })
        .await
    }

    /// Ends a subscription. Whether it was there.
    ///
    /// # Errors
    /// Those of appending.
    pub async fn unsubscribe(&self, trigger_name: &str, flow_name: &str) -> Result<bool> {
        self.change(|known| {
            let is_there = known.board.registry.subscribers(trigger_name).any(|(flow, _)| flow == flow_name);
            Ok((if is_there { vec![unsubscribed(trigger_name, flow_name)] } else { Vec::new() }, is_there))
        })
        .await
    }

    /// Makes the subscriptions of a flow those of its definition; those that were made at run time stay, and start
    /// runs as it says now.
    ///
    /// # Errors
    /// `NotFound` if this engine has no definition of the flow, `Validation` if trigger and mode don't go together,
    /// and those of appending.
    pub async fn subscribe_defined(&self, flow_name: &str, triggers: &[String], mode: Mode) -> Result<()> {
        triggers.iter().try_for_each(|name| check_name(name))?;
        let plan = self.flows.plan(flow_name)?;
        self.change(|known| {
            let registry = &known.board.registry;
            let mut events = Vec::new();
            for name in triggers {
                expect_compatible(known, name, mode)?;
                let before = registry.subscribers(name).find(|(flow, _)| *flow == flow_name).map(|(_, known)| known);
                let subscriber = Subscriber { mode, is_defined: true, plan: plan.clone() };
                events.extend(subscribed(name, flow_name, &subscriber, before)?);
            }
            let gone = registry.defined_by(flow_name).into_iter().filter(|name| !triggers.contains(name));
            let gone: Vec<String> = gone.collect();
            events.extend(renewed(known, flow_name, &plan, &[triggers, &*gone].concat())?);
            events.extend(gone.iter().map(|name| unsubscribed(name, flow_name)));
            Ok((events, ()))
        })
        .await
    }

    /// A trigger, as far as this engine knows.
    pub fn get(&self, name: &str) -> Option<RegisteredTrigger> {
        self.known().board.registry.get(name).cloned()
    }

    /// All triggers by name, as far as this engine knows.
    pub fn list(&self) -> Vec<RegisteredTrigger> {
        self.known().board.registry.iter().cloned().collect()
    }

    /// The flows that subscribe to a trigger, and how.
    pub fn subscribers(&self, name: &str) -> Vec<(String, Mode)> {
        let known = self.known();
        known.board.registry.subscribers(name).map(|(flow, subscriber)| (flow.to_owned(), subscriber.mode)).collect()
    }

    /// Whether a flow is on record as subscribing to something, by its definition or since.
    pub fn subscribes(&self, flow_name: &str) -> bool {
        self.known().board.registry.subscribes(flow_name)
    }

    /// Grows with every change of triggers or subscriptions that this engine hears of.
    pub fn registry_revision(&self) -> u64 {
        self.known().board.registry.revision()
    }

    /// The webhook that a request is for.
    pub fn route(&self, method: &str, path: &str) -> Found {
        self.known().board.registry.route(method, path)
    }

    /// Reads what others did.
    ///
    /// # Errors
    /// Those of reading.
    pub async fn refresh(&self) -> Result<()> {
        self.catch_up().await
    }

    /// Decides by what is known, and records it on the condition that this is still all there is.
    pub(super) async fn change<T>(&self, mut decide: impl FnMut(&Known) -> Result<Change<T>>) -> Result<T> {
        let mut attempt = 1;
        loop {
            self.catch_up().await?;
            let (events, value, last) = {
                let known = self.known();
                let (events, value) = decide(&known)?;
                (events, value, known.last)
            };
            if events.is_empty() {
                return Ok(value);
            }
            let options = AppendOptions { expected_last_id: Some(last), idempotency_key: None };
            match self.flows.store().append_batch(&self.flows.triggers(), events, options).await {
                Err(error) if error.code() == Code::Conflict && attempt < ATTEMPTS => attempt += 1,
                Err(error) => return Err(error),
                Ok(_) => break self.catch_up().await.map(|()| value),
            }
        }
    }
}

fn find<'a>(known: &'a Known, name: &str) -> Result<&'a RegisteredTrigger> {
    known.board.registry.get(name).ok_or_else(|| not_registered(name))
}

pub(super) fn not_registered(name: &str) -> Error {
    Error::new(Code::NotFound, format!("There is no trigger {name:?}; register it first."))
}

fn cannot_work(name: &str, problems: &[String]) -> Error {
    Error::new(Code::Config, format!("The trigger {name:?} can't work: {}.", problems.join("; ")))
}

fn clash(known: &Known, definition: &TriggerDefinition) -> Option<String> {
    let endpoint = definition.endpoint.as_ref()?;
    let pattern = PathPattern::parse(&endpoint.path).ok()?;
    let mut routes = known.board.registry.routes_without(&definition.name);
    let clash = routes.insert(endpoint.method(), &pattern, &definition.name).err()?;
    Some(clash.trim_end_matches('.').to_owned())
}

/// A schedule fires wherever somebody is, also where a flow's functions are not.
fn problems_of_subscribers(known: &Known, definition: &TriggerDefinition) -> Result<()> {
    let mut subscribers = known.board.registry.subscribers(&definition.name);
    let function = subscribers.find(|(_, subscriber)| subscriber.mode == Mode::Function);
    match function.filter(|_| definition.kind == TriggerType::Schedule) {
        Some((flow, _)) => Err(cannot_work(
            &definition.name,
            &[format!("the flow {flow:?} subscribes to it with a function as mode; use 'auto' or 'manual'")],
        )),
        None => Ok(()),
    }
}

/// What a person is to start later needs its payload by then.
fn expect_compatible(known: &Known, name: &str, mode: Mode) -> Result<()> {
    let Some(trigger) = known.board.registry.get(name) else { return Ok(()) };
    let problem = match (trigger.definition.scope, mode) {
        (Some(super::Scope::Run), _) => "its scope is 'run', so it starts no runs",
        (_, Mode::Function) if trigger.definition.kind == TriggerType::Schedule => {
            "a schedule fires wherever somebody is, also where no function is; use 'auto' or 'manual' as mode"
        }
        (_, Mode::Manual) if !trigger.definition.config.persist_data => {
            "its payloads are not kept (persistData is false), so nobody could start a run later"
        }
        _ => return Ok(()),
    };
    Err(Error::new(Code::Validation, format!("No flow can subscribe to the trigger {name:?} like this: {problem}.")))
}

fn about(name: &str, event_type: &str) -> NewEvent {
    NewEvent::new(event_type).with(Field::TriggerName, name)
}

fn subscribed(name: &str, flow: &str, wanted: &Subscriber, before: Option<&Subscriber>) -> Result<Vec<NewEvent>> {
    if before == Some(wanted) {
        return Ok(Vec::new());
    }
    let internal = |error| Error::new(Code::Internal, "A subscription is not JSON.").caused_by(error);
    let plan = serde_json::to_string(&wanted.plan).map_err(internal)?;
    let mode = serde_json::to_string(&wanted.mode).map_err(internal)?;
    let data = Object::new().text("flowName", flow).raw("mode", &mode);
    let data = if wanted.is_defined { data.raw("isDefined", "true") } else { data };
    Ok(vec![about(name, "trigger.subscribed").with_data(data.raw("plan", &plan).done())])
}

/// A flow's other subscriptions, whose runs would still be as it was defined before.
fn renewed(known: &Known, flow: &str, plan: &Arc<Plan>, others_than: &[String]) -> Result<Vec<NewEvent>> {
    let mut events = Vec::new();
    for (name, before) in known.board.registry.outdated(flow, plan) {
        if !others_than.contains(&name) {
            let subscriber = Subscriber { plan: Arc::clone(plan), ..before.clone() };
            events.extend(subscribed(&name, flow, &subscriber, Some(&before))?);
        }
    }
    Ok(events)
}

fn unsubscribed(name: &str, flow: &str) -> NewEvent {
    about(name, "trigger.unsubscribed").with_data(Object::new().text("flowName", flow).done())
}

impl RegisteredTrigger {
    /// The definition that unregistered names have.
    pub(super) fn config_of(this: Option<&RegisteredTrigger>) -> super::TriggerConfig {
        this.map(|known| Arc::clone(&known.definition)).map(|known| known.config.clone()).unwrap_or_default()
    }
}
