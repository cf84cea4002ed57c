//! Events in Redis streams, in the layout that nuxt-queue itself reads and writes.
//!
//! The redis crate reads URLs, packs commands and parses answers. The socket is our own: ranges
//! are turned into JSON text without a tree of values in between, and appends leave as they come
//! (see `docs/decisions/redis-connection.md` for what that is worth).

mod cluster;
mod connection;
mod entry;
mod home;
mod life;
mod link;
mod options;
mod recovery;
mod script;
mod sentinel;
mod servers;
mod session;
mod subscriber;
mod tracking;
mod wire;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use redis::{Cmd, FromRedisValue, Value};
use tokio::sync::oneshot;

use self::home::Home;
use self::link::{Command, Setup};
pub use self::options::{Address, RedisOptions, SentinelOptions, TlsIdentity, TlsOptions, Topology};
use self::servers::{Servers, Target};
use self::subscriber::Subscriber;
use self::tracking::Tracking;
use super::{
    Append, Backend, Cursor, Glob, Hub, Life, PageRequest, Pending, Positions, Selector, Settled, StreamInfo, Upwards,
    Watch,
};
use crate::clock::{Clock, deadline, monotonic};
use crate::error::{Code, Error, Result};
use crate::event::{EventId, Events};

/// How many keys one step of a listing looks at.
const SCAN_COUNT: u32 = 1000;
/// How many events or members one command removes: it must not hold up the server.
const REMOVE_COUNT: usize = 500;
/// The last id and the length of a stream; `XINFO STREAM` would send its first and last entry, too.
const END: &str = "local last = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)[1] \
                   return {last and last[1] or '', redis.call('XLEN', KEYS[1])}";
/// How long closing waits for the last announcements to be taken.
const LAST_WORDS: Duration = Duration::from_secs(2);
/// How often to look for events that nobody announced.
const RECHECK_STREAM: Duration = Duration::from_secs(1);
const RECHECK_PATTERN: Duration = Duration::from_secs(30);

/// The identities of the events that this store writes.
#[derive(Clone)]
pub(crate) struct Eids {
    store: Arc<str>,
}

impl Eids {
    fn new() -> Self {
        Eids { store: uuid::Uuid::new_v4().simple().to_string().into() }
    }

    fn text(&self, serial: u64) -> String {
        use std::fmt::Write;
        let mut text = String::with_capacity(self.store.len() + 9);
        text.push_str(&self.store);
        let _ = write!(text, "-{serial:x}");
        text
    }

    /// The serial number in an identity of ours.
    fn serial(&self, eid: &str) -> Option<u64> {
        u64::from_str_radix(eid.strip_prefix(&*self.store)?.strip_prefix('-')?, 16).ok()
    }
}

/// The Redis backend: one server, a master that Sentinels know, or a cluster; 6.2 or later.
pub struct Redis {
    servers: Servers,
    hub: Arc<Hub>,
    subscriber: Subscriber,
    pipelines: Arc<AtomicU64>,
    timeout: Duration,
}

impl Redis {
    /// Begins to connect. `timeout` is how long a read may take.
    pub fn new(
        options: RedisOptions,
        prefix: &str,
        clock: Arc<dyn Clock>,
        upwards: Upwards,
        timeout: Duration,
    ) -> Result<Self> {
        options.check()?;
        let channels = format!("{prefix}:events:");
        let hub = Arc::<Hub>::default();
        let pipelines = Arc::<AtomicU64>::default();
        let setup = Setup {
            home: Home::Options(Box::new(options.clone())),
            options: options.clone(),
            clock,
            eids: Eids::new(),
            upwards,
            channels: channels.clone(),
            tracking: Arc::new(Tracking::new()),
            pipelines: pipelines.clone(),
        };
        let servers = Servers::start(setup)?;
        let subscriber = Subscriber::new(options, servers.announcer(), channels, hub.clone());
        Ok(Redis { servers, hub, subscriber, pipelines, timeout })
    }

    /// Sends a command now; the answer is awaited by whoever polls the future.
    fn send(
        &self,
        target: Target<'_>,
        bytes: Vec<u8>,
        repeatable: bool,
    ) -> impl Future<Output = Result<Vec<u8>>> + Send + use<> {
        let (reply, answer) = oneshot::channel();
        let command = Command { bytes, repeatable, deadline: deadline(self.timeout), slot: None, order: 0, reply };
        let sent = self.servers.send(target, command);
        async move {
            sent?;
            answer.await.map_err(|_| Error::closed())?
        }
    }

    /// Sends a command about a key.
    fn call<T: FromRedisValue>(&self, key: &str, command: &Cmd) -> impl Future<Output = Result<T>> + Send + use<T> {
        self.call_at(Target::Key(key), command)
    }

    fn call_at<T: FromRedisValue>(
        &self,
        target: Target<'_>,
        command: &Cmd,
    ) -> impl Future<Output = Result<T>> + Send + use<T> {
        let answer = self.send(target, command.get_packed_command(), true);
        async move { convert(wire::value(&answer.await?)?) }
    }

    /// The same for a command that must not be executed twice.
    fn call_once<T: FromRedisValue>(
        &self,
        key: &str,
        command: &Cmd,
    ) -> impl Future<Output = Result<T>> + Send + use<T> {
        let answer = self.send(Target::Key(key), command.get_packed_command(), false);
        async move { convert(wire::value(&answer.await?)?) }
    }

    /// Asks for a page now.
    fn range(&self, request: &PageRequest<'_>) -> impl Future<Output = Result<Vec<u8>>> + Send + use<> {
        let (from, to) = (request.from.to_string(), request.to.to_string());
        let count = request.count.to_string();
        let (name, first, last) = match request.descending {
            true => ("XREVRANGE", &to, &from),
            false => ("XRANGE", &from, &to),
        };
        let parts = [name, request.stream, first, last, "COUNT", &count].map(str::as_bytes);
        self.send(Target::Key(request.stream), wire::command(parts), true)
    }

    async fn list(&self, pattern: &Glob, cursor: Cursor) -> Result<(Vec<StreamInfo>, Cursor)> {
        let Some(position) = self.servers.position(cursor).await? else { return Ok((Vec::new(), Cursor::End)) };
        let mut scan = redis::cmd("SCAN");
        scan.arg(&*position.cursor).arg("MATCH").arg(pattern.as_str());
        scan.arg("COUNT").arg(SCAN_COUNT).arg("TYPE").arg("stream");
        let (next, names): (String, Vec<Vec<u8>>) = self.call_at(position.target(), &scan).await?;
        // A name that is no text can't be one of ours, nor be asked for.
        let names: Vec<String> = names.into_iter().filter_map(|name| String::from_utf8(name).ok()).collect();
        // All questions go out before the first answer is awaited.
        let question = |name: &String| self.call::<(String, u64)>(name, redis::cmd("EVAL").arg(END).arg(1).arg(name));
        let questions: Vec<_> = names.iter().map(question).collect();
        let mut infos = Vec::with_capacity(names.len());
        for (stream, question) in names.into_iter().zip(questions) {
            match question.await {
                // No last id: it is empty, or was deleted since it was listed.
                Ok((last_id, length)) => {
                    infos.extend(last_id.parse().ok().map(|last_id| StreamInfo { stream, last_id, length }))
                }
                // It is something else by now.
                Err(error) if error.code() == Code::Backend => {}
                Err(error) => return Err(error),
            }
        }
        Ok((infos, self.servers.next_position(&position, &next).await?))
    }

    /// The clock of each server in milliseconds.
    async fn server_times(&self, nodes: &[Option<Address>]) -> Result<Vec<u64>> {
        let ask = |node: &Option<Address>| self.call_at::<(u64, u64)>(Target::of(node), &redis::cmd("TIME"));
        let questions: Vec<_> = nodes.iter().map(ask).collect();
        let mut times = Vec::with_capacity(nodes.len());
        for question in questions {
            let (seconds, micros) = question.await?;
            times.push(seconds * 1000 + micros / 1000);
        }
        Ok(times)
    }

    /// Waits for a millisecond after that of every server: what is appended afterwards has a greater
    /// id than everything that was there before.
    async fn next_millisecond(&self) -> Result<EventId> {
        let nodes = self.servers.nodes().await?;
        let now = self.server_times(&nodes).await?.into_iter().max().unwrap_or_default();
        let end = deadline(self.timeout);
        while let Some(behind) = self.server_times(&nodes).await?.into_iter().filter(|time| *time <= now).min() {
            if monotonic() > end {
                let message =
                    format!("The clocks of the cluster's nodes differ by {} ms; set them right.", now - behind);
                return Err(Error::new(Code::Unavailable, message));
            }
            tokio::time::sleep(Duration::from_micros(200)).await;
        }
        Ok(EventId::new(now, u64::MAX))
    }
}

fn convert<T: FromRedisValue>(value: Value) -> Result<T> {
    T::from_redis_value(value)
        .map_err(|error| Error::new(Code::Internal, "Redis gave an unexpected answer.").caused_by(error))
}

/// The sum of answers, all of which were asked for already.
async fn sum(counts: Vec<impl Future<Output = Result<u64>>>) -> Result<u64> {
    let mut sum = 0;
    for count in counts {
        sum += count.await?;
    }
    Ok(sum)
}

impl Backend for Redis {
    fn submit(&self, appends: Vec<Append>) -> Vec<Settled> {
        let Err(appends) = self.servers.submit(appends) else { return Vec::new() };
        let closed = |append: Append| append.settled(Err(Error::closed()));
        appends.into_iter().map(closed).collect()
    }

    fn connect(&self) -> Pending<'_, ()> {
        Box::pin(self.servers.connected())
    }

    fn read<'a>(&'a self, request: PageRequest<'a>) -> Pending<'a, Events> {
        let stream = request.stream;
        let answer = self.range(&request);
        Box::pin(async move { entry::read_range(&answer.await?, stream) })
    }

    fn read_with_ts<'a>(&'a self, request: PageRequest<'a>) -> Pending<'a, Events> {
        let stream = request.stream;
        let answer = self.range(&request);
        Box::pin(async move { entry::read_range_with_ts(&answer.await?, stream) })
    }

    fn last_id<'a>(&'a self, stream: &'a str) -> Pending<'a, Option<EventId>> {
        let request = PageRequest { stream, from: EventId::MIN, to: EventId::MAX, descending: true, count: 1 };
        let page = self.read(request);
        Box::pin(async move { Ok(page.await?.last().map(|event| event.id)) })
    }

    fn streams<'a>(&'a self, pattern: &'a Glob, cursor: Cursor) -> Pending<'a, (Vec<StreamInfo>, Cursor)> {
        Box::pin(self.list(pattern, cursor))
    }

    fn delete_streams<'a>(&'a self, streams: &'a [&'a str]) -> Pending<'a, u64> {
        let deletions: Vec<_> = streams.iter().map(|stream| self.call_once(stream, &life::delete(stream))).collect();
        Box::pin(async move {
            let deleted = sum(deletions).await?;
            if deleted > 0 {
                self.next_millisecond().await?;
            }
            Ok(deleted)
        })
    }

    fn delete_events<'a>(&'a self, stream: &'a str, ids: &'a [EventId]) -> Pending<'a, u64> {
        // Repeated, it deletes nothing else: only the count may be too low then.
        let delete = |ids: &[EventId]| {
            let ids: Vec<String> = ids.iter().map(|id| id.to_text()).collect();
            self.call(stream, redis::cmd("XDEL").arg(stream).arg(ids))
        };
        Box::pin(sum(ids.chunks(REMOVE_COUNT).map(delete).collect()))
    }

    fn trim<'a>(&'a self, stream: &'a str, before: EventId) -> Pending<'a, u64> {
        Box::pin(self.call(stream, redis::cmd("XTRIM").arg(stream).arg("MINID").arg("=").arg(before.to_text())))
    }

    fn keep<'a>(&'a self, stream: &'a str, life: Life) -> Pending<'a, ()> {
        let kept = self.call::<u64>(stream, &life::keep(stream, life));
        Box::pin(async move { kept.await.map(drop) })
    }

    fn length<'a>(&'a self, stream: &'a str) -> Pending<'a, u64> {
        Box::pin(self.call(stream, redis::cmd("XLEN").arg(stream)))
    }

    fn remaining<'a>(&'a self, stream: &'a str) -> Pending<'a, Option<Option<Duration>>> {
        let remaining = self.call::<i64>(stream, redis::cmd("PTTL").arg(stream));
        Box::pin(async move {
            Ok(match remaining.await? {
                -2 => None,
                ms => Some(u64::try_from(ms).ok().map(Duration::from_millis)),
            })
        })
    }

    fn index_add<'a>(&'a self, key: &'a str, id: &'a str, score: f64) -> Pending<'a, ()> {
        let added = self.call::<u64>(key, redis::cmd("ZADD").arg(key).arg(score).arg(id));
        Box::pin(async move { added.await.map(drop) })
    }

    fn index_read<'a>(&'a self, key: &'a str, offset: usize, limit: Option<usize>) -> Pending<'a, Vec<(String, f64)>> {
        let last = limit.map_or(-1, |limit| offset.saturating_add(limit).min(i64::MAX as usize) as i64 - 1);
        let offset = offset.min(i64::MAX as usize);
        Box::pin(self.call(key, redis::cmd("ZRANGE").arg(key).arg(offset).arg(last).arg("REV").arg("WITHSCORES")))
    }

    fn index_due<'a>(&'a self, key: &'a str, score: f64, limit: usize) -> Pending<'a, Vec<String>> {
        let limit = limit.min(i64::MAX as usize);
        let mut range = redis::cmd("ZRANGE");
        Box::pin(self.call(key, range.arg(key).arg("-inf").arg(score).arg("BYSCORE").arg("LIMIT").arg(0).arg(limit)))
    }

    fn index_at<'a>(&'a self, key: &'a str, score: f64) -> Pending<'a, Vec<String>> {
        Box::pin(self.call(key, redis::cmd("ZRANGE").arg(key).arg(score).arg(score).arg("BYSCORE")))
    }

    fn index_remove<'a>(&'a self, key: &'a str, ids: &'a [&'a str]) -> Pending<'a, ()> {
        let remove = |ids: &[&str]| self.call::<u64>(key, redis::cmd("ZREM").arg(key).arg(ids));
        let removals = sum(ids.chunks(REMOVE_COUNT).map(remove).collect());
        Box::pin(async move { removals.await.map(drop) })
    }

    fn index_delete<'a>(&'a self, key: &'a str) -> Pending<'a, ()> {
        let deleted = self.call_once::<u64>(key, redis::cmd("UNLINK").arg(key));
        Box::pin(async move { deleted.await.map(drop) })
    }

    fn watch(&self, selector: Selector) -> Pending<'_, Watch> {
        let recheck = match selector {
            Selector::Stream(_) => RECHECK_STREAM,
            Selector::Pattern(_) => RECHECK_PATTERN,
        };
        let watch = self.hub.watch(selector.clone(), Some(recheck));
        let listening = self.subscriber.listen(selector, deadline(self.timeout));
        Box::pin(async move { listening.await.map(|()| watch) })
    }

    fn ends<'a>(&'a self, selector: &'a Selector) -> Pending<'a, Positions> {
        Box::pin(async move {
            match selector {
                Selector::Stream(stream) => {
                    let last = self.last_id(stream).await?.unwrap_or(EventId::MIN);
                    Ok(Positions { known: HashMap::new(), others: last })
                }
                Selector::Pattern(_) => Ok(Positions { known: HashMap::new(), others: self.next_millisecond().await? }),
            }
        })
    }

    fn tracks(&self) -> bool {
        self.servers.is_tracked()
    }

    fn pipelines(&self) -> u64 {
        self.pipelines.load(Ordering::Relaxed)
    }

    fn close(&self) -> Pending<'_, ()> {
        // Their answers come behind those of the last announcements.
        let ping = |node: &Option<Address>| self.send(Target::of(node), wire::command([b"PING"]), true);
        let last: Vec<_> = self.servers.connected_nodes().iter().map(ping).collect();
        Box::pin(async move {
            let all = async {
                for answer in last {
                    answer.await?;
                }
                Result::<()>::Ok(())
            };
            let sent = tokio::time::timeout(LAST_WORDS, all).await;
            tracing::debug!(all = sent.is_ok_and(|answer| answer.is_ok()), "closing after the last announcements");
            self.servers.close();
            self.subscriber.close();
            Ok(())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::Eids;

    #[test]
    fn identities_are_read_back_by_their_own_store_only() {
        let (ours, theirs) = (Eids::new(), Eids::new());
        assert_eq!(ours.serial(&ours.text(77)), Some(77));
        assert_eq!(theirs.serial(&ours.text(77)), None);
    }
}
