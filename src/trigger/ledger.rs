//! The ledger of a webhook: what came over HTTP, and what was made of it.
//!
//! What is genuine stands in the trigger's own stream, and is kept as its firings are. What is not known to be genuine
//! anybody can send: of that the latest is kept, in a stream of its own, within bounds.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::unfinished::issued_ms;
use super::{RegisteredTrigger, SKEW_MS, TriggerEngine};
use crate::error::Result;
use crate::event::{EventRef, Field, NewEvent, format_time};
use crate::flow::Object;
use crate::store::{AppendOptions, Query};

/// How many rejected deliveries of a webhook are kept, and how many bytes of them.
const MOST_REJECTED: usize = 500;
const MOST_REJECTED_BYTES: usize = 8 << 20;
/// After how many more, or so many bytes, the oldest are deleted.
const TIDY_AFTER: usize = 50;
const TIDY_AFTER_BYTES: usize = 4 << 20;
const TYPE: &str = "trigger.delivered";

/// What was rejected since it was tidied: how many, and how many bytes.
#[derive(Default)]
pub(super) struct Rejections(Mutex<HashMap<String, (usize, usize)>>);

impl Rejections {
    /// Counts one more; whether it is time to tidy.
    fn count(&self, name: &str, bytes: usize) -> bool {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(name.to_owned()).or_default();
        *count = (count.0 + 1, count.1 + bytes);
        let is_time = count.0 >= TIDY_AFTER || count.1 >= TIDY_AFTER_BYTES;
        if is_time {
            counts.remove(name);
        }
        is_time
    }
}

/// A delivery, and when it was recorded.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct DeliveryRecord {
    /// ISO 8601.
    pub timestamp: String,
    /// What the ledger says: an object.
    #[serde(flatten)]
    pub delivery: Value,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Head {
    delivery_id: String,
    verdict: String,
}

fn head(event: EventRef<'_>) -> Option<Head> {
    serde_json::from_str(event.data?).ok()
}

fn record(event: EventRef<'_>) -> Option<DeliveryRecord> {
    let delivery = serde_json::from_str(event.data?).ok()?;
    Some(DeliveryRecord { timestamp: format_time(event.id.ms), delivery })
}

impl TriggerEngine {
    fn rejected(&self, name: &str) -> String {
        format!("{}:rejected:{name}", self.flows.store().prefix())
    }

    /// Records a delivery (a JSON object) that fires nothing. `is_rejected`: it is not known to be genuine.
    ///
    /// # Errors
    /// Those of appending.
    pub async fn record_delivery(&self, name: &str, delivery: &str, is_rejected: bool) -> Result<()> {
        let config = RegisteredTrigger::config_of(self.get(name).as_ref());
        let event = NewEvent::new(TYPE).with(Field::TriggerName, name).with_data(delivery);
        let stream = if is_rejected { self.rejected(name) } else { self.stream_of(name) };
        self.flows.store().append(&stream, event, AppendOptions::default()).await?;
        if !is_rejected {
            self.tidy(name, &config).await;
        } else if self.rejections.count(name, delivery.len()) {
            self.flows.store().keep_for(&stream, Duration::from_millis(config.retention_ms())).await?;
            self.tidy_rejected(&stream).await?;
        }
        Ok(())
    }

    /// Deletes the oldest that are too many, or too much.
    async fn tidy_rejected(&self, stream: &str) -> Result<()> {
        let mut pages = self.flows.store().iterate(Query::stream(stream).descending())?;
        let (mut count, mut bytes) = (0, 0);
        while let Some(page) = pages.next().await? {
            for event in page.iter() {
                (count, bytes) = (count + 1, bytes + event.record.len());
                if count > MOST_REJECTED || bytes > MOST_REJECTED_BYTES {
                    let from = event.id.next().unwrap_or(event.id);
                    return self.flows.store().forget_before(stream, from).await;
                }
            }
        }
        Ok(())
    }

    /// The deliveries of a webhook, newest first; only those of a verdict, if one is given.
    ///
    /// # Errors
    /// Those of reading.
    pub async fn deliveries(
        &self,
        name: &str,
        verdict: Option<&str>,
        limit: Option<usize>,
    ) -> Result<Vec<DeliveryRecord>> {
        let mut found = Vec::new();
        for stream in [self.stream_of(name), self.rejected(name)] {
            let mut pages = self.flows.store().iterate(deliveries(stream).descending())?;
            let mut left = limit.unwrap_or(usize::MAX);
            while let Some(page) = pages.next().await? {
                let wanted = page.iter().filter(|event| {
                    verdict.is_none_or(|verdict| head(*event).is_some_and(|head| head.verdict == verdict))
                });
                let taken = wanted.take(left).filter_map(|event| Some((event.id, record(event)?)));
                let before = found.len();
                found.extend(taken);
                left -= (found.len() - before).min(left);
                if left == 0 {
                    break;
                }
            }
        }
        found.sort_by_key(|(id, _)| std::cmp::Reverse(*id));
        Ok(found.into_iter().map(|(_, record)| record).take(limit.unwrap_or(usize::MAX)).collect())
    }

    /// A delivery by its id, and its trigger.
    ///
    /// # Errors
    /// Those of reading.
    pub async fn find_delivery(&self, delivery_id: &str) -> Result<Option<(String, DeliveryRecord)>> {
        self.catch_up().await?;
        let Some(at) = issued_ms(delivery_id) else { return Ok(None) };
        for trigger in self.list().iter().filter(|trigger| trigger.definition.endpoint.is_some()) {
            let name = &trigger.definition.name;
            for stream in [self.rejected(name), self.stream_of(name)] {
                let (start_ms, end_ms) = (Some(at.saturating_sub(SKEW_MS)), Some(at.saturating_add(SKEW_MS)));
                let mut pages = self.flows.store().iterate(Query { start_ms, end_ms, ..deliveries(stream) })?;
                while let Some(page) = pages.next().await? {
                    let is_it = |event: &EventRef<'_>| head(*event).is_some_and(|head| head.delivery_id == delivery_id);
                    if let Some(found) = page.iter().find(is_it).and_then(record) {
                        return Ok(Some((name.clone(), found)));
                    }
                }
            }
        }
        Ok(None)
    }

    /// A new id, in the order of time.
    pub fn new_id(&self) -> String {
        self.new_fire_id()
    }
}

/// The record of a delivery that fires.
pub(super) fn delivered(name: &str, delivery: &str, fire_id: &str) -> NewEvent {
    let head = Object::new().text("fireId", fire_id).done();
    let data = match (head.strip_suffix('}'), delivery.trim_start().strip_prefix('{').map(str::trim_start)) {
        (Some(head), Some(rest)) if !rest.starts_with('}') => format!("{head},{rest}"),
        _ => head,
    };
    NewEvent::new(TYPE).with(Field::TriggerName, name).with_data(data)
}

fn deliveries(stream: String) -> Query {
    Query { types: vec![TYPE.to_owned()], ..Query::stream(stream) }
}
