//! A record of a run as the fold reads it.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::event::EventRef;
use crate::run::state::Members;

/// The members of a record that a run's progress depends on.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::run) struct Record<'a> {
    #[serde(borrow)]
    pub(super) id: Option<Cow<'a, str>>,
    #[serde(borrow)]
    timestamp: Option<Cow<'a, str>>,
    #[serde(borrow, rename = "type")]
    pub(super) event_type: Cow<'a, str>,
    #[serde(borrow)]
    pub(super) run_id: Option<Cow<'a, str>>,
    #[serde(borrow)]
    pub(super) flow_name: Option<Cow<'a, str>>,
    #[serde(borrow)]
    pub(super) step_name: Option<Cow<'a, str>>,
    #[serde(borrow)]
    attempt: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) worker_id: Option<Cow<'a, str>>,
    #[serde(borrow)]
    pub(super) trigger_name: Option<Cow<'a, str>>,
    #[serde(borrow)]
    pub(super) correlation_id: Option<Cow<'a, str>>,
    #[serde(borrow)]
    pub(super) causation_id: Option<Cow<'a, str>>,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
}

impl<'a> Record<'a> {
    /// `None`: it is not what a record is.
    pub(super) fn of(event: EventRef<'a>) -> Option<Record<'a>> {
        serde_json::from_str(event.record).ok()
    }

    /// The members of the data. What stands in it may be anything.
    pub(super) fn data(&self) -> Data<'a> {
        let members = self.data.and_then(|data| serde_json::from_str::<Members>(data.get()).ok());
        Data(members.map(|Members(members)| members).unwrap_or_default())
    }

    pub(super) fn attempt(&self) -> Option<u64> {
        self.attempt?.get().parse().ok()
    }

    pub(super) fn at(&self) -> String {
        self.timestamp.as_deref().unwrap_or_default().to_owned()
    }
}

/// The members of an event's data.
pub(super) struct Data<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'a> Data<'a> {
    pub(super) fn raw(&self, name: &str) -> Option<&'a str> {
        self.0.iter().rfind(|(key, _)| key == name).map(|(_, value)| value.get())
    }

    pub(super) fn text(&self, name: &str) -> Option<String> {
        serde_json::from_str(self.raw(name)?).ok()
    }

    pub(super) fn number(&self, name: &str) -> Option<u64> {
        self.raw(name)?.parse().ok()
    }

    pub(super) fn is_true(&self, name: &str) -> bool {
        self.raw(name) == Some("true")
    }

    /// The payload of an `emit`: its own keys beside the name, or, where they would not do, `payload`.
    pub(super) fn payload(&self) -> Option<Box<str>> {
        let mut members = self.0.iter().filter(|(key, _)| key != "name");
        match (members.next(), members.next()) {
            (None, _) => None,
            (Some((key, value)), None) if key == "payload" => Some(value.get().into()),
            _ => {
                let mut object = String::from("{");
                for (key, value) in self.0.iter().filter(|(key, _)| key != "name") {
                    if object.len() > 1 {
                        object.push(',');
                    }
                    crate::event::quote(&mut object, key);
                    object.push(':');
                    object.push_str(value.get());
                }
                object.push('}');
                Some(object.into())
            }
        }
    }
}

/// The data of an `emit`. The members of the payload stand beside the name, as in the original module;
/// a payload for which that would not be unambiguous stands in `payload`.
///
/// ```
/// use nuxt_queue_core::run::emit_data;
/// assert_eq!(emit_data("paid", Some(r#"{"amount":3}"#)), r#"{"name":"paid","amount":3}"#);
/// assert_eq!(emit_data("paid", Some("3")), r#"{"name":"paid","payload":3}"#);
/// assert_eq!(emit_data("paid", None), r#"{"name":"paid"}"#);
/// ```
pub fn emit_data(name: &str, payload: Option<&str>) -> String {
    let mut data = String::from("{\"name\":");
    crate::event::quote(&mut data, name);
    let Some(payload) = payload else { return data + "}" };
    let spreads = serde_json::from_str::<Members>(payload).is_ok_and(|Members(members)| {
        let is_only_payload = members.len() == 1 && members.iter().any(|(key, _)| key == "payload");
        !members.is_empty() && !is_only_payload && members.iter().all(|(key, _)| key != "name")
    });
    if spreads {
        data.push(',');
        data.push_str(payload.trim_start().trim_start_matches('{'));
        return data;
    }
    data.push_str(",\"payload\":");
    data.push_str(payload);
    data.push('}');
    data
}

/// The name and the payload in the data of an `emit`.
pub(crate) fn emit_payload(data: &str) -> Option<(String, Option<String>)> {
    let Members(members) = serde_json::from_str(data).ok()?;
    let data = Data(members);
    Some((data.text("name")?, data.payload().map(Into::into)))
}
