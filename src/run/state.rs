//! The state of a run, folded from its events.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::event::{parse_time, quote};

/// Keys and values after some events of a run.
///
/// Values stay the JSON text that they came as. An event whose data does not have the form of its
/// type is passed over: one bad entry must not hide the state of a run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct State {
    values: BTreeMap<Box<str>, Value>,
    bytes: usize,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Value {
    json: Box<str>,
    expires_ms: Option<u64>,
}

/// One change of one key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change<'a> {
    /// The key.
    pub key: Cow<'a, str>,
    /// Its new value as JSON text; `None`: it was deleted.
    pub value: Option<&'a str>,
    /// When it expires, in milliseconds since the Unix epoch.
    pub expires_ms: Option<u64>,
}

/// What an event does to the state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect<'a> {
    /// It changes some keys.
    Changes(Vec<Change<'a>>),
    /// It replaces everything by these keys and values.
    Replaces(Vec<Change<'a>>),
}

#[derive(Deserialize)]
struct KeyData<'a> {
    #[serde(borrow)]
    key: Cow<'a, str>,
    /// `None` only if it is missing: a stored null is a value.
    #[serde(borrow, default, deserialize_with = "present")]
    value: Option<&'a RawValue>,
    #[serde(borrow, rename = "expiresAt")]
    expires_at: Option<Cow<'a, str>>,
    /// `set` or `delete`: in a batch, and in the events of the original module.
    #[serde(borrow, rename = "type", alias = "operation")]
    operation: Option<Cow<'a, str>>,
}

fn present<'de: 'a, 'a, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<&'a RawValue>, D::Error> {
    <&RawValue>::deserialize(deserializer).map(Some)
}

#[derive(Deserialize)]
struct BatchData<'a> {
    #[serde(borrow)]
    operations: Vec<&'a RawValue>,
}

/// What an event does to the state; `None` if it does nothing or can't be read.
pub fn effect<'a>(event_type: &str, data: Option<&'a str>) -> Option<Effect<'a>> {
    let data = data?;
    match event_type {
        "state.set" => Some(Effect::Changes(vec![change(data, Some("set"))?])),
        "state.delete" => Some(Effect::Changes(vec![change(data, Some("delete"))?])),
        "state" => Some(Effect::Changes(vec![change(data, None)?])),
        "state.batch" => {
            let batch: BatchData = serde_json::from_str(data).ok()?;
            Some(Effect::Changes(
                batch.operations.iter().filter_map(|operation| change(operation.get(), None)).collect(),
            ))
        }
        "state.snapshot" => snapshot(data).map(Effect::Replaces),
        _ => None,
    }
}

fn change<'a>(data: &'a str, operation: Option<&str>) -> Option<Change<'a>> {
    // The array form of a struct is no payload of ours.
    let data: KeyData = data.trim_start().starts_with('{').then(|| serde_json::from_str(data).ok())??;
    match operation.or(data.operation.as_deref())? {
        "set" => Some(Change {
            key: data.key,
            value: data.value.map(RawValue::get),
            expires_ms: data.expires_at.as_deref().and_then(parse_time),
        }),
        "delete" => Some(Change { key: data.key, value: None, expires_ms: None }),
        _ => None,
    }
}

fn snapshot(data: &str) -> Option<Vec<Change<'_>>> {
    let values: Members = serde_json::from_str(data).ok()?;
    let set = |(key, value)| Change { key, value: Some(RawValue::get(value)), expires_ms: None };
    Some(values.0.into_iter().map(set).collect())
}

/// The members of a JSON object, in their order.
pub(super) struct Members<'a>(pub(super) Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        struct Key<'a>(#[serde(borrow)] Cow<'a, str>);

        struct Visitor;
        impl<'de> serde::de::Visitor<'de> for Visitor {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<Members<'de>, A::Error> {
                let mut members = Vec::new();
                while let Some((Key(key), value)) = map.next_entry()? {
                    members.push((key, value));
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Visitor)
    }
}

impl State {
    /// The value of a key at an instant, as JSON text.
    pub fn get(&self, key: &str, at_ms: u64) -> Option<&str> {
        self.values.get(key).filter(|value| value.lives_at(at_ms)).map(|value| &*value.json)
    }

    /// The same at an instant that is only asked for if the key expires.
    pub fn get_at(&self, key: &str, at_ms: impl FnOnce() -> u64) -> Option<&str> {
        let value = self.values.get(key)?;
        (value.expires_ms.is_none() || value.lives_at(at_ms())).then_some(&*value.json)
    }

    /// Keys and values at an instant, by ascending key.
    pub fn iter(&self, at_ms: u64) -> impl Iterator<Item = (&str, &str)> {
        self.values.iter().filter(move |(_, value)| value.lives_at(at_ms)).map(|(key, value)| (&**key, &*value.json))
    }

    /// Keys that expire after an instant: their values, and when.
    pub fn expiring(&self, at_ms: u64) -> impl Iterator<Item = (&str, &str, u64)> {
        let living = self.values.iter().filter(move |(_, value)| value.lives_at(at_ms));
        living.filter_map(|(key, value)| Some((&**key, &*value.json, value.expires_ms?)))
    }

    /// The state at an instant as a JSON object.
    pub fn to_json(&self, at_ms: u64) -> String {
        object(self.iter(at_ms))
    }

    /// About how many bytes it takes in memory.
    pub fn weight(&self) -> usize {
        self.bytes + 64
    }

    /// Takes the effect of an event.
    pub fn take(&mut self, effect: &Effect<'_>) {
        match effect {
            Effect::Changes(changes) => changes.iter().for_each(|change| self.change(change)),
            Effect::Replaces(values) => {
                *self = State::default();
                values.iter().for_each(|change| self.change(change));
            }
        }
    }

    fn change(&mut self, change: &Change<'_>) {
        let key: &str = &change.key;
        let before = match change.value {
            Some(json) => {
                let value = Value { json: json.into(), expires_ms: change.expires_ms };
                self.bytes += weigh(key, &value);
                self.values.insert(key.into(), value)
            }
            None => self.values.remove(key),
        };
        self.bytes -= before.map_or(0, |value| weigh(key, &value));
    }
}

/// About how many bytes a key with its value takes.
fn weigh(key: &str, value: &Value) -> usize {
    key.len() + value.json.len() + 64
}

impl Value {
    fn lives_at(&self, at_ms: u64) -> bool {
        self.expires_ms.is_none_or(|expires_ms| expires_ms > at_ms)
    }
}

/// A JSON object of these members.
pub(crate) fn object<'a>(members: impl Iterator<Item = (&'a str, &'a str)>) -> String {
    let mut json = String::from("{");
    for (key, value) in members {
        if json.len() > 1 {
            json.push(',');
        }
        quote(&mut json, key);
        json.push(':');
        json.push_str(value);
    }
    json.push('}');
    json
}

/// The state folded from the newest event backwards: of each key only the last word counts, so no
/// more is kept than the state itself has.
#[derive(Debug, Default)]
pub struct BackwardFold {
    /// The keys whose fate is known; `None`: deleted.
    decided: BTreeMap<Box<str>, Option<Value>>,
}

impl BackwardFold {
    /// Takes the effect of the event that stands before those that were taken. True: nothing
    /// before it matters any more.
    pub fn take(&mut self, effect: &Effect<'_>) -> bool {
        let (changes, is_whole) = match effect {
            Effect::Changes(changes) => (changes, false),
            Effect::Replaces(values) => (values, true),
        };
        for Change { key, value, expires_ms } in changes.iter().rev() {
            if !self.decided.contains_key(&**key) {
                let value = value.map(|json| Value { json: json.into(), expires_ms: *expires_ms });
                self.decided.insert((&**key).into(), value);
            }
        }
        is_whole
    }

    /// The state, once everything that matters was taken.
    pub fn finish(self) -> State {
        let values: BTreeMap<_, _> = self.decided.into_iter().filter_map(|(key, value)| Some((key, value?))).collect();
        let bytes = values.iter().map(|(key, value)| weigh(key, value)).sum();
        State { values, bytes }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashMap;

    fn fold(events: &[(&str, &str)]) -> State {
        let mut state = State::default();
        events.iter().filter_map(|(kind, data)| effect(kind, Some(data))).for_each(|effect| state.take(&effect));
        state
    }

    #[test]
    fn folds_every_state_event() {
        let state = fold(&[
            ("state.set", r#"{"key":"a","value":1}"#),
            ("state.set", r#"{"key":"__proto__","value":null}"#),
            ("state", r#"{"operation":"set","key":"old","value":"x"}"#),
            ("state.batch", r#"{"operations":[{"type":"set","key":"b","value":[1]},{"type":"delete","key":"a"}]}"#),
            ("log.info", r#"{"key":"c","value":1}"#),
        ]);
        assert_eq!(state.to_json(0), r#"{"__proto__":null,"b":[1],"old":"x"}"#);
        let state = fold(&[("state.set", r#"{"key":"a","value":1}"#), ("state.snapshot", r#"{"z":1,"y":{}}"#)]);
        assert_eq!(state.to_json(0), r#"{"y":{},"z":1}"#);
    }

    #[test]
    fn odd_payloads_are_passed_over() {
        let odd = [
            "",
            "null",
            "1",
            "[]",
            "{}",
            r#"{"key":1,"value":2}"#,
            r#"["a",1]"#,
            r#"{"value":1}"#,
            "{oops",
            r#"{"operations":7}"#,
        ];
        for data in odd {
            for kind in ["state.set", "state.delete", "state.batch", "state"] {
                assert_eq!(
                    fold(&[("state.set", r#"{"key":"a","value":1}"#), (kind, data)]).to_json(0),
                    r#"{"a":1}"#,
                    "{kind} {data}"
                );
            }
        }
        let state =
            fold(&[("state.set", r#"{"key":"a","value":1}"#), ("state.snapshot", "[1]"), ("state.snapshot", "\"x\"")]);
        assert_eq!(state.to_json(0), r#"{"a":1}"#);
    }

    #[test]
    fn a_key_lives_until_it_expires() {
        let state = fold(&[("state.set", r#"{"key":"a","value":1,"expiresAt":"1970-01-01T00:00:00.100Z"}"#)]);
        assert_eq!((state.get("a", 99), state.get("a", 100)), (Some("1"), None));
    }

    /// The same in the plainest way.
    fn model(operations: &[(u8, u8, i32)]) -> HashMap<String, i32> {
        let mut values = HashMap::new();
        for (operation, key, value) in operations {
            match operation {
                0 => drop(values.insert(format!("k{key}"), *value)),
                1 => drop(values.remove(&format!("k{key}"))),
                2 => {
                    values.insert(format!("k{key}"), *value);
                    values.remove(&format!("k{}", key + 1));
                }
                _ => values = HashMap::from([(format!("k{key}"), *value)]),
            }
        }
        values
    }

    fn event((operation, key, value): &(u8, u8, i32)) -> (&'static str, String) {
        match operation {
            0 => ("state.set", format!(r#"{{"key":"k{key}","value":{value}}}"#)),
            1 => ("state.delete", format!(r#"{{"key":"k{key}"}}"#)),
            2 => {
                let next = key + 1;
                let set = format!(r#"{{"type":"set","key":"k{key}","value":{value}}}"#);
                ("state.batch", format!(r#"{{"operations":[{set},{{"type":"delete","key":"k{next}"}}]}}"#))
            }
            _ => ("state.snapshot", format!(r#"{{"k{key}":{value}}}"#)),
        }
    }

    proptest! {
        #[test]
        fn folding_equals_the_model(operations in proptest::collection::vec((0_u8..4, 0_u8..6, any::<i32>()), 0..60)) {
            let events: Vec<_> = operations.iter().map(event).collect();
            let events: Vec<_> = events.iter().map(|(kind, data)| (*kind, data.as_str())).collect();
            let state = fold(&events);
            let folded: HashMap<String, i32> = serde_json::from_str(&state.to_json(0)).unwrap();
            prop_assert_eq!(folded, model(&operations));
            let mut backward = BackwardFold::default();
            let effects = events.iter().rev().filter_map(|(kind, data)| effect(kind, Some(data)));
            effects.take_while(|effect| !backward.take(effect)).count();
            prop_assert_eq!(&backward.finish(), &state);
            let bytes: usize = state.values.iter().map(|(key, value)| key.len() + value.json.len() + 64).sum();
            prop_assert_eq!(state.bytes, bytes);
        }

        #[test]
        fn p12_no_payload_makes_it_panic(kind in "state(\\.(set|delete|batch|snapshot))?", data in "\\PC{0,60}") {
            fold(&[(&kind, &data)]);
        }
    }
}
