//! A firing as it stands in its trigger's stream.

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::board::Mode;
use super::definition::TriggerConfig;
use super::firing::run_id;
use crate::event::{EventId, EventRef, Field, NewEvent, format_time, parse_time};
use crate::flow::Object;
use crate::webhook::digest_text;

/// What a schedule says of a firing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Scheduled {
    /// The instant that it is for.
    pub(super) at_ms: u64,
    /// How much later it fired.
    pub(super) delay_ms: u64,
}

impl Scheduled {
    /// The instant that an event of a trigger's own stream decides on; of several the last.
    pub(super) fn decided_by(event: EventRef<'_>) -> Option<u64> {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Data {
            scheduled_time: Option<String>,
        }
        let data: Data = serde_json::from_str(event.data?).ok()?;
        parse_time(&data.scheduled_time?)
    }
}

/// A firing as it stands in the record.
#[derive(Debug, Clone, Default)]
pub(super) struct Recorded {
    pub(super) fire_id: String,
    pub(super) at: EventId,
    pub(super) payload: Option<String>,
    /// The payload is not part of the record.
    pub(super) is_unkept: bool,
    pub(super) flows: Vec<(String, Mode)>,
    pub(super) user_id: Option<String>,
    /// When it fires if nothing else comes, for one that waits.
    pub(super) due: Option<String>,
    /// What makes it the same as others, if its payload does not say so.
    pub(super) same: Option<String>,
    /// Somebody lets it fire after all.
    pub(super) is_retried: bool,
    /// For one by a schedule.
    pub(super) scheduled: Option<Scheduled>,
    /// The runs of earlier firings that it ends.
    pub(super) replaces: Vec<String>,
    /// Where it stands in a distributed trace, as a W3C `traceparent`.
    pub(super) traceparent: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct FlowData {
    flow_name: String,
    mode: Mode,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct FiredData<'a> {
    fire_id: String,
    #[serde(borrow)]
    payload: Option<&'a RawValue>,
    #[serde(default)]
    payload_not_kept: bool,
    #[serde(default)]
    flows: Vec<FlowData>,
    user_id: Option<String>,
    due: Option<String>,
    same: Option<String>,
    #[serde(default)]
    is_retried: bool,
    scheduled_time: Option<String>,
    #[serde(default)]
    delay_ms: u64,
    #[serde(default)]
    replaces: Vec<String>,
    traceparent: Option<String>,
}

impl Recorded {
    pub(super) fn read(event: EventRef<'_>) -> Option<Recorded> {
        let data: FiredData = serde_json::from_str(event.data?).ok()?;
        Some(Recorded {
            fire_id: data.fire_id,
            at: event.id,
            payload: data.payload.map(|payload| payload.get().to_owned()),
            is_unkept: data.payload_not_kept,
            flows: data.flows.into_iter().map(|flow| (flow.flow_name, flow.mode)).collect(),
            user_id: data.user_id,
            due: data.due,
            same: data.same,
            is_retried: data.is_retried,
            scheduled: data
                .scheduled_time
                .and_then(|at| parse_time(&at))
                .map(|at_ms| Scheduled { at_ms, delay_ms: data.delay_ms }),
            replaces: data.replaces,
            traceparent: data.traceparent,
        })
    }

    pub(super) fn data(&self, config: &TriggerConfig) -> Object {
        let flows = self.flows.iter().map(|(flow, mode)| {
            let mode = if *mode == Mode::Manual { "manual" } else { "auto" };
            Object::new().text("flowName", flow).text("mode", mode).done()
        });
        let flows: Vec<String> = flows.collect();
        let mut data = Object::new().text("fireId", &self.fire_id);
        data = match (&self.payload, config.persist_data) {
            (Some(payload), true) => data.raw("payload", payload),
            (Some(_), false) => data.raw("payloadNotKept", "true").maybe_text("same", same(config, self).as_deref()),
            (None, _) => data,
        };
        if self.is_retried {
            data = data.raw("isRetried", "true");
        }
        if !flows.is_empty() {
            data = data.raw("flows", &format!("[{}]", flows.join(",")));
        }
        if let Some(Scheduled { at_ms, delay_ms }) = self.scheduled {
            data = data.text("scheduledTime", &format_time(at_ms)).number("delayMs", delay_ms);
        }
        if !self.replaces.is_empty() {
            data = data.raw("replaces", &serde_json::to_string(&self.replaces).unwrap_or_default());
        }
        data.maybe_text("userId", self.user_id.as_deref()).maybe_text("traceparent", self.traceparent.as_deref())
    }

    /// The ids that the runs of its flows have, or would have.
    pub(super) fn run_ids(&self) -> Vec<String> {
        self.flows.iter().map(|(flow_name, _)| run_id(&self.fire_id, flow_name)).collect()
    }

    /// What all instances have to know of it.
    pub(super) fn announcement(&self) -> Object {
        let data = Object::new().text("fireId", &self.fire_id).text("at", &self.at.to_string());
        match self.scheduled {
            Some(scheduled) => data.text("scheduledTime", &format_time(scheduled.at_ms)),
            None => data,
        }
    }

    pub(super) fn event(&self, name: &str, event_type: &str, config: &TriggerConfig) -> NewEvent {
        let data = self.data(config).maybe_text("due", self.due.as_deref());
        NewEvent::new(event_type).with(Field::TriggerName, name).with_data(data.done())
    }
}

/// What makes a firing the same as others: a digest, as it may stand where the payload may not.
pub(super) fn same(config: &TriggerConfig, recorded: &Recorded) -> Option<String> {
    let path = &config.deduplicate.as_ref()?.key;
    let Some(payload) = recorded.payload.as_deref() else { return recorded.same.clone() };
    let payload: Value = serde_json::from_str(payload).ok()?;
    let found = path.split('.').try_fold(&payload, |value, member| match value {
        Value::Array(items) => items.get(member.parse::<usize>().ok()?),
        value => value.get(member),
    })?;
    Some(digest_text(&[path.as_bytes(), b"\n", found.to_string().as_bytes()]))
}
