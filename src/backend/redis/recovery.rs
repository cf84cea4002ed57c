//! What became of the appends that were under way when a connection was lost.
//!
//! Every event carries an identity of its own (`eid`). After a reconnect the ends of the streams
//! are searched for the identities in question: what is found was stored, what is not is sent again.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use super::Eids;
use super::connection::{Connection, Identity, within};
use super::entry::read_identities;
use super::options::RedisOptions;
use super::wire::command;
use crate::error::{Code, Result};
use crate::event::EventId;

/// By how much the server's clock may have been set back in the meantime.
const CLOCK_SLACK_MS: u64 = 60_000;
/// How many entries are searched at once.
const PAGE: &str = "500";

/// An append that was sent and not acknowledged.
pub(super) struct Missing {
    pub(super) stream: Box<str>,
    pub(super) serial: u64,
    /// It was not stored before this instant of the server's clock.
    pub(super) since_ms: u64,
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

/// Connects, and finds out which of the missing appends are stored.
pub(super) async fn recover(
    options: &RedisOptions,
    eids: &Eids,
    previous: Option<&Identity>,
    missing: &[Missing],
) -> Result<(Connection, Found)> {
    let mut connection = Connection::open(options).await?;
    let mut found = Found::default();
    if let Some(previous) = previous.filter(|_| !missing.is_empty()) {
        within(options, silence(&mut connection, previous)).await?;
        for (stream, serials) in by_stream(missing) {
            let since = missing.iter().map(|append| append.since_ms).min().unwrap_or(0).saturating_sub(CLOCK_SLACK_MS);
            within(options, search(&mut connection, eids, stream, serials, since, &mut found)).await?;
        }
    }
    Ok((connection, found))
}

fn by_stream(missing: &[Missing]) -> HashMap<&str, HashSet<u64>> {
    let mut streams: HashMap<&str, HashSet<u64>> = HashMap::new();
    for append in missing {
        streams.entry(&append.stream).or_default().insert(append.serial);
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
            Err(error) if error.code() == Code::Backend => tracing::warn!(%error, "the lost connection can't be closed"),
            answer => return answer.map(drop),
        }
    }
    // Not permitted to ask: what is in the buffers is executed within moments.
    tokio::time::sleep(Duration::from_millis(250)).await;
    Ok(())
}

async fn search(
    connection: &mut Connection,
    eids: &Eids,
    stream: &str,
    mut serials: HashSet<u64>,
    since_ms: u64,
    found: &mut Found,
) -> Result<()> {
    let mut newest = "+".to_string();
    let since = since_ms.to_string();
    while !serials.is_empty() {
        let xrevrange = [b"XREVRANGE", stream.as_bytes(), newest.as_bytes(), since.as_bytes(), b"COUNT", PAGE.as_bytes()];
        let frame = connection.call_raw(&command(xrevrange)).await?;
        // A stream that was deleted and is something else now: the append will say so itself.
        let page = read_identities(&frame).unwrap_or_default();
        let Some((last, _)) = page.last() else { return Ok(()) };
        newest = format!("({last}");
        for (id, eid) in &page {
            if let Some(serial) = eid.as_deref().and_then(|eid| eids.serial(eid)) {
                found.0.insert(serial, *id);
                serials.remove(&serial);
            }
        }
    }
    Ok(())
}
