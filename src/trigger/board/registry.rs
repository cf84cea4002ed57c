//! Which triggers there are, and which flows subscribe to them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::run::Plan;
use crate::trigger::definition::TriggerDefinition;
use crate::webhook::{Found, PathPattern, Routes};

/// A trigger that was registered.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RegisteredTrigger {
    /// What it is.
    pub definition: Arc<TriggerDefinition>,
    /// Whether it fires.
    pub enabled: bool,
}

/// What a flow does when a trigger fires.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// A run starts.
    #[default]
    Auto,
    /// A person starts the run, or doesn't.
    Manual,
    /// A function says each time which of the two, or neither.
    Function,
}

/// A flow that subscribes to a trigger.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Subscriber {
    /// What it does when the trigger fires.
    #[serde(default)]
    pub mode: Mode,
    /// Whether the flow's definition says so, and not somebody at run time.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_defined: bool,
    /// What a run of it does, for instances that don't define the flow.
    pub plan: Arc<Plan>,
}

/// All triggers by name, and all that subscribe to them.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::trigger) struct Registry {
    triggers: BTreeMap<String, RegisteredTrigger>,
    /// By trigger, then by flow.
    subscribers: BTreeMap<String, BTreeMap<String, Subscriber>>,
    /// How often it has changed.
    #[serde(skip)]
    revision: u64,
    /// The paths of the webhooks, once somebody asked.
    #[serde(skip)]
    routes: Option<Routes>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct SubscribedData {
    flow_name: String,
    #[serde(default)]
    mode: Mode,
    #[serde(default)]
    is_defined: bool,
    plan: Option<Arc<Plan>>,
}

impl Registry {
    pub(in crate::trigger) fn get(&self, name: &str) -> Option<&RegisteredTrigger> {
        self.triggers.get(name)
    }

    /// Whether what a trigger does depends on the runs of its firings.
    pub(in crate::trigger) fn looks_at_runs(&self, name: &str) -> bool {
        let schedule = self.triggers.get(name).and_then(|known| known.definition.schedule.as_ref());
        schedule.is_some_and(|schedule| schedule.get("overlap").is_some())
    }

    pub(in crate::trigger) fn iter(&self) -> impl Iterator<Item = &RegisteredTrigger> {
        self.triggers.values()
    }

    pub(in crate::trigger) fn subscribers(&self, name: &str) -> impl Iterator<Item = (&str, &Subscriber)> {
        self.subscribers.get(name).into_iter().flatten().map(|(flow, subscriber)| (flow.as_str(), subscriber))
    }

    /// The names that are registered or subscribed to.
    pub(in crate::trigger) fn names(&self) -> BTreeSet<String> {
        self.triggers.keys().chain(self.subscribers.keys()).cloned().collect()
    }

    /// The subscriptions of a flow whose runs would not be as this plan says.
    pub(in crate::trigger) fn outdated(&self, flow_name: &str, plan: &Arc<Plan>) -> Vec<(String, Subscriber)> {
        let known = self.subscribers.iter().filter_map(|(name, flows)| Some((name, flows.get(flow_name)?)));
        let outdated = known.filter(|(_, subscriber)| subscriber.plan != *plan);
        outdated.map(|(name, subscriber)| (name.clone(), subscriber.clone())).collect()
    }

    /// Whether a flow subscribes to anything.
    pub(in crate::trigger) fn subscribes(&self, flow_name: &str) -> bool {
        self.subscribers.values().any(|flows| flows.contains_key(flow_name))
    }

    /// The triggers that a flow's definition names.
    pub(in crate::trigger) fn defined_by(&self, flow_name: &str) -> Vec<String> {
        let names =
            self.subscribers.iter().filter(|(_, flows)| flows.get(flow_name).is_some_and(|flow| flow.is_defined));
        names.map(|(name, _)| name.clone()).collect()
    }

    /// The plan of a flow that subscribes to something.
    pub(in crate::trigger) fn plan(&self, flow_name: &str) -> Option<&Arc<Plan>> {
        self.subscribers.values().find_map(|flows| Some(&flows.get(flow_name)?.plan))
    }

    pub(in crate::trigger) fn revision(&self) -> u64 {
        self.revision
    }

    /// The webhook that a request is for.
    pub(in crate::trigger) fn route(&mut self, method: &str, path: &str) -> Found {
        if self.routes.is_none() {
            self.routes = Some(self.routes_without(""));
        }
        self.routes.as_ref().map_or(Found::None, |routes| routes.find(method, path))
    }

    /// The paths of all webhooks but one.
    pub(in crate::trigger) fn routes_without(&self, name: &str) -> Routes {
        let mut routes = Routes::default();
        for RegisteredTrigger { definition, .. } in self.triggers.values().filter(|known| known.definition.name != name)
        {
            let Some(endpoint) = &definition.endpoint else { continue };
            if let Ok(pattern) = PathPattern::parse(&endpoint.path) {
                // Two with one path were refused when the second was registered.
                let _ = routes.insert(endpoint.method(), &pattern, &definition.name);
            }
        }
        routes
    }

    /// Takes the place of another.
    pub(in crate::trigger) fn follow(&mut self, other: &Registry) {
        self.revision = other.revision + 1;
    }

    /// How many entries it has.
    pub(in crate::trigger) fn len(&self) -> usize {
        self.triggers.len() + self.subscribers.values().map(BTreeMap::len).sum::<usize>()
    }

    /// Whether events of a type are about the registry.
    pub(super) fn knows(event_type: &str) -> bool {
        matches!(
            event_type,
            "trigger.registered"
                | "trigger.updated"
                | "trigger.enabled"
                | "trigger.disabled"
                | "trigger.removed"
                | "trigger.subscribed"
                | "trigger.unsubscribed"
        )
    }

    /// Takes an event that it [knows](Registry::knows).
    pub(super) fn apply(&mut self, event_type: &str, name: &str, data: Option<&str>) {
        match event_type {
            "trigger.registered" => self.register(name, data),
            "trigger.updated" => self.update(name, data),
            "trigger.enabled" => self.enable(name, true),
            "trigger.disabled" => self.enable(name, false),
            "trigger.removed" => {
                self.triggers.remove(name);
                self.subscribers.remove(name);
            }
            "trigger.subscribed" => self.subscribe(name, data),
            "trigger.unsubscribed" => self.unsubscribe(name, data),
            _ => return,
        }
        self.revision += 1;
        self.routes = None;
    }

    /// What can't be read was not written by us: it is passed over.
    fn register(&mut self, name: &str, data: Option<&str>) {
        #[derive(Deserialize)]
        struct Data {
            definition: TriggerDefinition,
        }
        let Some(Data { definition }) = parse(data).filter(|data: &Data| data.definition.name == name) else { return };
        let enabled = self.triggers.get(name).is_none_or(|known| known.enabled);
        self.triggers.insert(name.to_owned(), RegisteredTrigger { definition: Arc::new(definition), enabled });
    }

    fn update(&mut self, name: &str, data: Option<&str>) {
        #[derive(Deserialize)]
        struct Data {
            changes: Value,
        }
        let (Some(Data { changes }), Some(known)) = (parse(data), self.triggers.get_mut(name)) else { return };
        if let Some(definition) = changed(&known.definition, changes).filter(|changed| changed.name == name) {
            known.definition = Arc::new(definition);
        }
    }

    fn enable(&mut self, name: &str, enabled: bool) {
        if let Some(known) = self.triggers.get_mut(name) {
            known.enabled = enabled;
        }
    }

    fn subscribe(&mut self, name: &str, data: Option<&str>) {
        let Some(SubscribedData { flow_name, mode, is_defined, plan: Some(plan) }) = parse(data) else { return };
        let flows = self.subscribers.entry(name.to_owned()).or_default();
        flows.insert(flow_name, Subscriber { mode, is_defined, plan });
    }

    fn unsubscribe(&mut self, name: &str, data: Option<&str>) {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Data {
            flow_name: String,
        }
        let (Some(Data { flow_name }), Some(flows)) = (parse(data), self.subscribers.get_mut(name)) else { return };
        flows.remove(&flow_name);
        if flows.is_empty() {
            self.subscribers.remove(name);
        }
    }
}

fn parse<'a, T: Deserialize<'a>>(data: Option<&'a str>) -> Option<T> {
    serde_json::from_str(data?).ok()
}

/// A definition with some of its members replaced, those that are `null` by nothing. `None`: that is no definition.
pub(in crate::trigger) fn changed(definition: &TriggerDefinition, changes: Value) -> Option<TriggerDefinition> {
    let Ok(Value::Object(mut members)) = serde_json::to_value(definition) else { return None };
    let Value::Object(changes) = changes else { return None };
    for (member, value) in changes {
        match value {
            Value::Null => members.remove(&member),
            value => members.insert(member, value),
        };
    }
    serde_json::from_value(Value::Object(members)).ok()
}
