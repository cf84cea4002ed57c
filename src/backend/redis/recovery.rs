//! What became of the appends that were under way when a connection was lost.
//!
//! Every event carries an identity of its own (`eid`). After a reconnect the ends of the streams
//! are searched for the identities in question: what is found was stored, what is not is sent again.
//! An event of ours that was acknowledged ends the search: what was not is behind it.

use std::collections::{HashMap, HashSet};
use std::ops::Range;
use std::time::Duration;

use super::Eids;
use super::cluster::Redirect;
use super::connection::{Connection, Identity, lost, within};
use super::entry::read_identities;
use super::home::Home;
use super::options::RedisOptions;
use super::wire::command;
use crate::backend::Append;
use crate::error::{Code, Result};
use crate::event::EventId;

/// By how much the server's clock may have been set back in the meantime.
const CLOCK_SLACK_MS: u64 = 60_000;
/// The most entries that are searched at once.
const LARGEST_PAGE: usize = 500;
/// About how many bytes are searched at once.
const PAGE_BYTES: usize = 256 * 1024;

/// An append that was sent and not answered.
#[derive(Clone)]
pub(super) struct Unanswered {
    stream: Box<str>,
    serials: Range<u64>,
}

impl Unanswered {
    pub(super) fn new(append: &Append) -> Self {
        let serials = append.serial..append.serial + append.events.len() as u64;
        Unanswered { stream: append.stream.clone(), serials }
    }
}

/// The ids of events that turned out to be stored, by their serial numbers.
#[derive(Default)]
pub(super) struct Found(HashMap<u64, EventId>);

impl Found {
    /// The ids of `count` events from `serial` on, if they are stored.
    pub(super) fn ids(&self, serial: u64, count: usize) -> Option<Vec<EventId>> {
        (serial..serial + count as u64).map(|serial| self.0.get(&serial).copied()).collect()
    }
}

/// Connects, and finds out which of the unanswered appends are stored. None of them was stored
/// before `since_ms` on the server's clock.
pub(super) async fn recover(
    options: &RedisOptions,
    home: &Home,
    eids: &Eids,
    previous: Option<&Identity>,
    unanswered: &[Unanswered],
    since_ms: u64,
) -> Result<(Connection, Found)> {
    let mut connection = home.open(unanswered.first().map(|append| &*append.stream)).await?;
    let mut found = Found::default();
    if let Some(previous) = previous.filter(|_| !unanswered.is_empty()) {
        within(options, silence(&mut connection, previous)).await?;
        let since_ms = since_ms.saturating_sub(CLOCK_SLACK_MS);
        for (stream, serials) in by_stream(unanswered) {
            let search = Search { options, eids, stream, since_ms, serials };
            search.run(&mut connection, &mut found).await?;
        }
    }
    Ok((connection, found))
}

fn by_stream(unanswered: &[Unanswered]) -> HashMap<&str, HashSet<u64>> {
    let mut streams: HashMap<&str, HashSet<u64>> = HashMap::new();
    for append in unanswered {
        streams.entry(&append.stream).or_default().extend(append.serials.clone());
    }
    streams
}

/// Makes sure that the server executes nothing more of the lost connection: a server that was
/// stopped for a while may still find commands of it in its buffers, after our search.
async fn silence(connection: &mut Connection, previous: &Identity) -> Result<()> {
    let current = &connection.identity;
    if let (Some(before), Some(now)) = (&previous.server_process, &current.server_process) {
        if before != now {
            return Ok(());
        }
        let id = previous.client_id.to_string();
        match connection.call(&command([b"CLIENT", b"KILL", b"ID", id.as_bytes()])).await {
            Err(error) if error.code() == Code::Backend => {
                tracing::warn!(%error, "the lost connection can't be closed")
            }
            answer => return answer.map(drop),
        }
    }
    // Not permitted to ask: what is in the buffers is executed within moments.
    tokio::time::sleep(Duration::from_millis(250)).await;
    Ok(())
}

/// The search of one stream, from its end back.
struct Search<'a> {
    options: &'a RedisOptions,
    eids: &'a Eids,
    stream: &'a str,
    since_ms: u64,
    /// What may be there.
    serials: HashSet<u64>,
}

impl Search<'_> {
    /// Searches here, or where the slot of the stream lies now.
    async fn run(mut self, connection: &mut Connection, found: &mut Found) -> Result<()> {
        let (mut elsewhere, mut is_asked) = (None, false);
        while let Some(redirect) = self.search(elsewhere.as_mut().unwrap_or(connection), is_asked, found).await? {
            let (node, asked) = match redirect {
                Redirect::Moved(_, node) => (node, false),
                Redirect::Ask(node) => (node, true),
                Redirect::Wait(reason) => return Err(lost(reason)),
            };
            elsewhere = Some(Connection::open(&self.options.at(node)).await?);
            is_asked = asked;
        }
        Ok(())
    }

    async fn search(
        &mut self,
        connection: &mut Connection,
        is_asked: bool,
        found: &mut Found,
    ) -> Result<Option<Redirect>> {
        let (mut newest, since) = ("+".to_string(), self.since_ms.to_string());
        // Often enough: hardly more than what is looked for has come since.
        let mut page = (self.serials.len() + 16).min(LARGEST_PAGE);
        loop {
            let count = page.to_string();
            let parts = ["XREVRANGE", self.stream, &newest, &since, "COUNT", &count].map(str::as_bytes);
            // Each page has its own time: a long search must come to its end, too.
            let asked = async {
                if is_asked {
                    connection.call(&command([b"ASKING"])).await?;
                }
                connection.call_raw(&command(parts)).await
            };
            let frame = within(self.options, asked).await?;
            if let Some(redirect) = Redirect::read(&frame, &connection.address) {
                return Ok(Some(redirect));
            }
            // A stream that was deleted and is something else now: the append will say so itself.
            let entries = read_identities(&frame).unwrap_or_default();
            let Some((last, _)) = entries.last() else { return Ok(None) };
            newest = format!("({last}");
            page = (PAGE_BYTES * entries.len() / frame.len()).clamp(1, LARGEST_PAGE);
            if !self.take(&entries, found) {
                return Ok(None);
            }
        }
    }

    /// Takes what was looked for. False: there is nothing more to be found further back.
    fn take(&mut self, entries: &[(EventId, Option<String>)], found: &mut Found) -> bool {
        for (id, eid) in entries {
            let Some(serial) = eid.as_deref().and_then(|eid| self.eids.serial(eid)) else { continue };
            if !self.serials.remove(&serial) {
                return false;
            }
            found.0.insert(serial, *id);
        }
        !self.serials.is_empty()
    }
}
