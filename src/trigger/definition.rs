//! What a trigger is: the part of a definition that is data, and so can be an event. Schemas, functions
//! and secrets stay in the process that knows them.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::error::{Code, Error, Result};
use crate::schedule::{Schedule, ScheduleOptions};
use crate::webhook::{PathPattern, WebhookAuth};

/// The longest name of a trigger, in bytes.
const LONGEST_NAME: usize = 255;
/// How long a trigger's firings are kept unless it says otherwise, in days.
const RETENTION_DAYS: f64 = 30.0;
/// The longest window of a limit, in milliseconds: what is counted has to be remembered.
const LONGEST_WINDOW_MS: u64 = 7 * 86_400_000;
const DAY_MS: f64 = 86_400_000.0;
/// The longest time that firings are kept, in days.
const LONGEST_RETENTION_DAYS: f64 = 36_500.0;

/// What fires a trigger.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TriggerType {
    /// A program calls it by its name.
    Event,
    /// A request over HTTP.
    Webhook,
    /// The time.
    Schedule,
    /// A person.
    Manual,
}

/// What a trigger is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// It starts runs.
    Flow,
    /// It lets runs go on that await it.
    Run,
}

/// A trigger.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TriggerDefinition {
    /// Its name, unlike that of any other.
    pub name: String,
    /// What fires it.
    #[serde(rename = "type")]
    pub kind: TriggerType,
    /// What it is for; left out: both.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<Scope>,
    /// A name for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub display_name: Option<String>,
    /// What it is about, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Where it comes from, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// For those who look for it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// Where requests arrive, for a webhook.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<Endpoint>,
    /// When it fires, for a schedule.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schedule: Option<Value>,
    /// The payload of a scheduled firing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<Value>,
    /// How it is shown, and the form of a manual one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ui: Option<Value>,
    /// What becomes of a firing.
    #[serde(default, skip_serializing_if = "is_default")]
    pub config: TriggerConfig,
    /// The parts of the definition that are code, by name: whoever fires it needs them.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub code: BTreeSet<String>,
}

/// Where the requests of a webhook arrive, and how they are checked.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Endpoint {
    /// The path of the URL; a segment `:name` stands for any.
    pub path: String,
    /// `POST` unless it says otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method: Option<String>,
    /// How requests are checked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auth: Option<WebhookAuth>,
    /// The largest body, in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_body_bytes: Option<u64>,
}

/// What becomes of a firing.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TriggerConfig {
    /// Whether payloads are part of the record.
    #[serde(skip_serializing_if = "is_true")]
    pub persist_data: bool,
    /// How long firings are kept, in days; left out: 30.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retention_days: Option<f64>,
    /// How often it may fire.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate_limit: Option<RateLimit>,
    /// Which firings are the same.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deduplicate: Option<Deduplicate>,
    /// Only the last firing counts after which it was quiet for so long, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub debounce: Option<u64>,
}

/// At most `max` firings in any `window`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct RateLimit {
    /// How many.
    pub max: u64,
    /// In milliseconds.
    pub window: u64,
}

/// Firings with the same value at `key` within `window` are one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deduplicate {
    /// Where in the payload: member names with dots in between.
    pub key: String,
    /// In milliseconds.
    pub window: u64,
}

impl Default for TriggerConfig {
    fn default() -> Self {
        TriggerConfig { persist_data: true, retention_days: None, rate_limit: None, deduplicate: None, debounce: None }
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_true(flag: &bool) -> bool {
    *flag
}

fn is_default(config: &TriggerConfig) -> bool {
    *config == TriggerConfig::default()
}

impl TriggerConfig {
    /// How long firings are kept, in milliseconds.
    pub fn retention_ms(&self) -> u64 {
        (self.retention_days.unwrap_or(RETENTION_DAYS) * DAY_MS) as u64
    }

    /// The longest time back that a new firing is compared with; 0: with none.
    pub(super) fn window_ms(&self) -> u64 {
        let rate = self.rate_limit.map_or(0, |limit| limit.window);
        rate.max(self.same_ms())
    }

    /// How long firings are the same.
    pub(super) fn same_ms(&self) -> u64 {
        self.deduplicate.as_ref().map_or(0, |same| same.window)
    }

    /// Whether a firing depends on those before it.
    pub(super) fn is_gated(&self) -> bool {
        self.rate_limit.is_some() || self.deduplicate.is_some() || self.debounce.is_some()
    }

    fn problems(&self, problems: &mut Vec<String>) {
        if let Some(days) = self.retention_days
            && !(days > 0.0 && days <= LONGEST_RETENTION_DAYS)
        {
            problems.push(format!("config.retentionDays is {days}; expected more than 0 and at most 36500"));
        }
        let windows = [
            ("config.rateLimit.window", self.rate_limit.map(|limit| limit.window)),
            ("config.deduplicate.window", self.deduplicate.as_ref().map(|same| same.window)),
            ("config.debounce", self.debounce),
        ];
        for (name, window) in windows {
            if window.is_some_and(|window| window == 0 || window > LONGEST_WINDOW_MS) {
                problems.push(format!("{name} is not between a millisecond and 7 days"));
            }
        }
        if self.rate_limit.is_some_and(|limit| limit.max == 0) {
            problems.push("config.rateLimit.max is 0, so it could never fire; disable it instead".into());
        }
        if self.deduplicate.as_ref().is_some_and(|same| same.key.split('.').any(str::is_empty)) {
            problems.push("config.deduplicate.key is no path into the payload such as \"order.id\"".into());
        }
        let window = self.window_ms().max(self.debounce.unwrap_or_default());
        if window > self.retention_ms() {
            problems
                .push("config.retentionDays is shorter than a window: what is counted, or waits, would be gone".into());
        }
        if self.debounce.is_some() && !self.persist_data {
            problems.push(
                "config.debounce keeps a payload until it is quiet, which config.persistData false forbids".into(),
            );
        }
    }
}

/// Checks the name of a trigger.
pub(super) fn check_name(name: &str) -> Result<()> {
    match name_problem(name) {
        None => Ok(()),
        Some(problem) => Err(Error::new(Code::Validation, format!("{problem}."))),
    }
}

fn name_problem(name: &str) -> Option<String> {
    let is_fine = !name.is_empty() && name.len() <= LONGEST_NAME && !name.chars().any(char::is_control);
    (!is_fine).then(|| {
        format!("The name of a trigger has 1 to {LONGEST_NAME} characters (of UTF-8), none of them a control character")
    })
}

impl TriggerDefinition {
    /// Everything that keeps it from working, as sentences without a full stop; empty: it can work.
    pub fn problems(&self) -> Vec<String> {
        let mut problems: Vec<String> = name_problem(&self.name).into_iter().collect();
        match (self.kind, &self.endpoint) {
            (TriggerType::Webhook, None) => {
                problems.push("a webhook needs an endpoint: { path: '/webhooks/orders', auth: … }".into());
            }
            (TriggerType::Webhook, Some(endpoint)) => endpoint.problems(&mut problems),
            (_, Some(_)) => problems.push("only a webhook has an endpoint".into()),
            (_, None) => {}
        }
        match (self.kind, &self.schedule) {
            (TriggerType::Schedule, None) => problems.push("a schedule needs a schedule: { cron: '0 9 * * *' }".into()),
            (TriggerType::Schedule, Some(schedule)) => self.schedule_problems(schedule, &mut problems),
            (_, None) => {}
            (_, Some(_)) => problems.push("only a schedule has a schedule".into()),
        }
        if self.kind != TriggerType::Schedule && self.data.is_some() {
            problems.push("only a schedule has data; others get their payload when they are fired".into());
        }
        self.config.problems(&mut problems);
        problems
    }

    fn schedule_problems(&self, schedule: &Value, problems: &mut Vec<String>) {
        let made = ScheduleOptions::from_json(&schedule.to_string()).and_then(|options| Schedule::new(&options));
        if let Err(error) = made {
            problems.push(format!("schedule: {}", error.message().trim_end_matches('.')));
        }
        let unfit = [
            ("config.rateLimit", self.config.rate_limit.is_some()),
            ("config.deduplicate", self.config.deduplicate.is_some()),
            ("config.debounce", self.config.debounce.is_some()),
        ];
        for (name, is_given) in unfit {
            if is_given {
                problems
                    .push(format!("{name} is for what comes from outside; the schedule alone says how often it fires"));
            }
        }
        if !self.config.persist_data {
            problems
                .push("config.persistData is false, but the payload of a schedule is part of its definition".into());
        }
        if !self.code.is_empty() {
            let code: Vec<&str> = self.code.iter().map(String::as_str).collect();
            problems.push(format!(
                "a schedule fires wherever somebody is, also where its code is not; leave {} out",
                code.join(", ")
            ));
        }
    }
}

impl Endpoint {
    pub(super) fn method(&self) -> &str {
        self.method.as_deref().unwrap_or("POST")
    }

    fn problems(&self, problems: &mut Vec<String>) {
        if let Err(problem) = PathPattern::parse(&self.path) {
            problems.push(problem.trim_end_matches('.').to_owned());
        }
        let is_token = |method: &str| !method.is_empty() && method.bytes().all(|byte| byte.is_ascii_alphabetic());
        if self.method.as_deref().is_some_and(|method| !is_token(method)) {
            problems.push("endpoint.method is no method such as 'POST'".into());
        }
        if self.max_body_bytes == Some(0) {
            problems.push("endpoint.maxBodyBytes is 0, so no request could be taken".into());
        }
        let auth = self.auth.iter().flat_map(WebhookAuth::problems);
        problems.extend(auth.map(|problem| problem.trim_end_matches('.').to_owned()));
    }
}
