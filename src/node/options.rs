//! Options and queries as JavaScript hands them over: JSON that the TypeScript layer has checked.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};

use crate::backend::file::FileOptions;
use crate::backend::redis::{Address, RedisOptions, SentinelOptions, TlsIdentity, TlsOptions, Topology};
use crate::backend::{Glob, Selector};
use crate::clock::Clock;
use crate::error::{Code, Error, Result};
use crate::event::EventId;
use crate::state::Point;
use crate::store::{CacheOptions, Consistency, Limits, Lives, LogRetention, Query, RetentionOptions, StoreOptions};

/// Reads a JSON argument. The text is never part of the message: it may hold a password.
pub(super) fn parse<T: DeserializeOwned>(what: &str, json: &str) -> Result<T> {
    serde_json::from_str(json).map_err(|_| Error::new(Code::Validation, format!("{what} are malformed.")))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct OptionsInput {
    adapter: Option<String>,
    prefix: Option<String>,
    file: Option<FileInput>,
    redis: Option<RedisInput>,
    limits: Option<LimitsInput>,
    #[serde(default)]
    cache: CacheInput,
    #[serde(default)]
    retention: RetentionInput,
    snapshot_every: Option<u64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct FileInput {
    dir: PathBuf,
    fsync: Option<bool>,
    read_only: Option<bool>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase")]
struct RedisInput {
    url: Option<String>,
    host: Option<String>,
    port: Option<u16>,
    socket: Option<String>,
    username: Option<String>,
    password: Option<String>,
    db: Option<u32>,
    tls: Option<TlsInput>,
    cluster: Option<Vec<String>>,
    sentinel: Option<SentinelInput>,
}

#[derive(Deserialize)]
struct SentinelInput {
    hosts: Vec<String>,
    name: String,
    username: Option<String>,
    password: Option<String>,
}

#[derive(Deserialize)]
struct TlsInput {
    ca: Option<String>,
    servername: Option<String>,
    cert: Option<String>,
    key: Option<String>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase")]
struct LimitsInput {
    max_event_bytes: Option<usize>,
    max_queued_bytes: Option<usize>,
    append_timeout_ms: Option<u64>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct CacheInput {
    enabled: Option<bool>,
    max_bytes: Option<u64>,
    ttl: LivesInput,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct RetentionInput {
    #[serde(flatten)]
    lives: LivesInput,
    logs: LogsInput,
}

/// Seconds; `null` is for ever, as JSON knows no infinity, and what is absent is the default.
#[derive(Deserialize, Default)]
#[serde(default)]
struct LivesInput {
    #[serde(deserialize_with = "present")]
    active: Option<Option<f64>>,
    #[serde(deserialize_with = "present")]
    completed: Option<Option<f64>>,
    #[serde(deserialize_with = "present")]
    failed: Option<Option<f64>>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct LogsInput {
    max_age: Option<f64>,
    max_bytes: Option<u64>,
}

/// Tells `null` from what is absent.
fn present<'de, D: Deserializer<'de>>(value: D) -> std::result::Result<Option<Option<f64>>, D::Error> {
    Option::deserialize(value).map(Some)
}

fn life(name: &str, seconds: Option<f64>) -> Result<Option<Duration>> {
    let life = |seconds| Duration::try_from_secs_f64(seconds);
    seconds.map(life).transpose().map_err(|_| Error::new(Code::Config, format!("{name} is out of range.")))
}

impl CacheInput {
    fn into_options(self) -> Result<CacheOptions> {
        let defaults = CacheOptions::default();
        Ok(CacheOptions {
            enabled: self.enabled.unwrap_or(defaults.enabled),
            max_bytes: self.max_bytes.unwrap_or(defaults.max_bytes),
            ttl: self.ttl.into_lives("cache.ttl", defaults.ttl)?,
        })
    }
}

impl RetentionInput {
    fn into_options(self) -> Result<RetentionOptions> {
        let lives = self.lives.into_lives("retention", RetentionOptions::default().lives)?;
        let max_age = life("retention.logs.maxAge", self.logs.max_age)?;
        Ok(RetentionOptions { lives, logs: LogRetention { max_age, max_bytes: self.logs.max_bytes } })
    }
}

impl LivesInput {
    fn into_lives(self, name: &str, defaults: Lives) -> Result<Lives> {
        let choose = |member: &str, given: Option<Option<f64>>, default| {
            given.map_or(Ok(default), |seconds| life(&format!("{name}.{member}"), seconds))
        };
        Ok(Lives {
            active: choose("active", self.active, defaults.active)?,
            completed: choose("completed", self.completed, defaults.completed)?,
            failed: choose("failed", self.failed, defaults.failed)?,
        })
    }
}

impl OptionsInput {
    pub(super) fn into_options(self, clock: Option<Arc<dyn Clock>>) -> Result<StoreOptions> {
        let mut options = match self.adapter.as_deref() {
            None | Some("memory") => StoreOptions::memory(),
            Some("file") => StoreOptions::file(self.file.ok_or_else(no_directory)?.into_options()),
            Some("redis") => StoreOptions::redis(self.redis.unwrap_or_default().into_options()?),
            Some(other) => return Err(Error::new(Code::Config, format!("There is no adapter {other:?}."))),
        };
        options.clock = clock.unwrap_or(options.clock);
        options.prefix = self.prefix.unwrap_or(options.prefix);
        let limits = self.limits.unwrap_or_default();
        let defaults = Limits::default();
        options.limits = Limits {
            max_event_bytes: limits.max_event_bytes.unwrap_or(defaults.max_event_bytes),
            max_queued_bytes: limits.max_queued_bytes.unwrap_or(defaults.max_queued_bytes),
            append_timeout: limits.append_timeout_ms.map_or(defaults.append_timeout, Duration::from_millis),
        };
        options.cache = self.cache.into_options()?;
        options.retention = self.retention.into_options()?;
        options.snapshot_every = self.snapshot_every.unwrap_or(options.snapshot_every);
        Ok(options)
    }
}

impl FileInput {
    fn into_options(self) -> FileOptions {
        let defaults = FileOptions::new(self.dir);
        FileOptions {
            fsync: self.fsync.unwrap_or(defaults.fsync),
            read_only: self.read_only.unwrap_or(defaults.read_only),
            ..defaults
        }
    }
}

fn no_directory() -> Error {
    Error::new(Code::Config, "file.dir is not set; it names the directory that events are kept in.")
}

/// Reads addresses, and whether `rediss://` stands before them.
fn addresses(option: &str, texts: Vec<String>, default_port: u16) -> Result<(Vec<Address>, bool)> {
    let mut addresses = Vec::with_capacity(texts.len());
    let mut encrypted = false;
    for (at, text) in texts.iter().enumerate() {
        let (address, is_encrypted) = Address::parse(text, default_port).map_err(|error| {
            let message = format!("{option}[{at}] can't be used: {}; expected host:port.", error.message());
            Error::new(Code::Config, message)
        })?;
        encrypted |= is_encrypted;
        addresses.push(address);
    }
    Ok((addresses, encrypted))
}

impl RedisInput {
    fn into_options(self) -> Result<RedisOptions> {
        let mut options = self.url.as_deref().map_or_else(|| Ok(RedisOptions::default()), RedisOptions::from_url)?;
        if let Address::Tcp(host, port) = &mut options.address {
            *host = self.host.unwrap_or_else(|| std::mem::take(host));
            *port = self.port.unwrap_or(*port);
        }
        if let Some(path) = self.socket {
            options.address = Address::Unix(path.into());
        }
        options.username = self.username.or(options.username);
        options.password = self.password.or(options.password);
        options.db = self.db.unwrap_or(options.db);
        let (topology, encrypted) = match (self.cluster, self.sentinel) {
            (Some(nodes), _) => {
                let (nodes, encrypted) = addresses("redis.cluster", nodes, 6379)?;
                (Topology::Cluster(nodes), encrypted)
            }
            (None, Some(sentinel)) => {
                let (addresses, encrypted) = addresses("redis.sentinel.hosts", sentinel.hosts, 26379)?;
                let SentinelInput { name, username, password, .. } = sentinel;
                (Topology::Sentinel(SentinelOptions { addresses, name, username, password }), encrypted)
            }
            (None, None) => (Topology::Standalone, false),
        };
        options.topology = topology;
        if encrypted {
            options.tls.get_or_insert_default();
        }
        if let Some(tls) = self.tls {
            let identity = tls.cert.zip(tls.key).map(|(certificate, key)| TlsIdentity { certificate, key });
            options.tls = Some(TlsOptions { ca: tls.ca, server_name: tls.servername, identity });
        }
        Ok(options)
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct QueryInput {
    stream: Option<String>,
    pattern: Option<String>,
    #[serde(default)]
    types: Vec<String>,
    start_ms: Option<f64>,
    end_ms: Option<f64>,
    after: Option<String>,
    before: Option<String>,
    limit: Option<f64>,
    #[serde(default)]
    descending: bool,
    #[serde(default)]
    strong: bool,
    #[serde(default)]
    with_ts: bool,
}

impl QueryInput {
    /// Whether many streams are meant.
    pub(super) fn is_global(&self) -> bool {
        self.pattern.is_some()
    }

    pub(super) fn into_query(self) -> Result<Query> {
        Ok(Query {
            stream: self.pattern.or(self.stream).unwrap_or_default(),
            types: self.types,
            // Instants before 1970 are before every event.
            start_ms: self.start_ms.map(|ms| ms.max(0.0).ceil() as u64),
            end_ms: self.end_ms.filter(|ms| *ms >= 0.0).map(|ms| ms as u64),
            after: self.after.map(|id| id.parse()).transpose()?,
            before: match self.end_ms {
                Some(ms) if ms < 0.0 => Some(EventId::MIN),
                _ => self.before.map(|id| id.parse()).transpose()?,
            },
            limit: self.limit.map(|limit| limit as usize),
            descending: self.descending,
            consistency: if self.strong { Consistency::Strong } else { Consistency::Cached },
            with_ts: self.with_ts,
        })
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct SubscriptionInput {
    stream: Option<Box<str>>,
    pattern: Option<Box<str>>,
    after: Option<String>,
    #[serde(default)]
    pub(super) with_ts: bool,
}

impl SubscriptionInput {
    pub(super) fn into_parts(self) -> Result<(Selector, Option<EventId>)> {
        let selector = match self.pattern {
            Some(pattern) => Selector::Pattern(Glob::new(pattern)),
            None => Selector::Stream(self.stream.unwrap_or_default()),
        };
        Ok((selector, self.after.map(|id| id.parse()).transpose()?))
    }
}

#[derive(Deserialize)]
pub(super) struct PointInput {
    ms: Option<f64>,
    id: Option<String>,
}

impl PointInput {
    pub(super) fn into_point(self) -> Result<Point> {
        match self.id {
            Some(id) => Ok(Point::Event(id.parse()?)),
            None => match self.ms.unwrap_or_default() {
                // Before 1970, and so before every event.
                ms if ms < 0.0 => Ok(Point::Event(EventId::MIN)),
                ms => Ok(Point::Time(ms as u64)),
            },
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    fn options(json: &str) -> Result<StoreOptions> {
        parse::<OptionsInput>("The options", json)?.into_options(None)
    }

    #[test]
    fn what_is_absent_is_the_default_and_null_is_for_ever() {
        let defaults = StoreOptions::memory();
        let absent = options("{}").unwrap();
        assert_eq!((absent.cache, absent.retention), (defaults.cache, defaults.retention));
        assert_eq!(absent.snapshot_every, defaults.snapshot_every);
        let given = r#"{"cache":{"enabled":false,"maxBytes":5,"ttl":{"active":0.25}},
            "retention":{"completed":null,"failed":60,"logs":{"maxAge":1.5,"maxBytes":null}},"snapshotEvery":0}"#;
        let given = options(given).unwrap();
        let ttl = Lives { active: Some(Duration::from_millis(250)), ..defaults.cache.ttl };
        assert_eq!(given.cache, CacheOptions { enabled: false, max_bytes: 5, ttl });
        let lives = Lives { completed: None, failed: Some(Duration::from_secs(60)), ..defaults.retention.lives };
        let logs = LogRetention { max_age: Some(Duration::from_millis(1500)), max_bytes: None };
        assert_eq!(given.retention, RetentionOptions { lives, logs });
        assert_eq!(given.snapshot_every, 0);
    }

    #[test]
    fn a_life_that_is_no_duration_is_refused_by_name() {
        for seconds in ["-1", "1e300"] {
            let json = format!(r#"{{"retention":{{"logs":{{"maxAge":{seconds}}}}}}}"#);
            let error = options(&json).map(|_| ()).unwrap_err();
            assert_eq!((error.code(), error.message()), (Code::Config, "retention.logs.maxAge is out of range."));
        }
    }
}
