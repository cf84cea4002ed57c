//! What the one who writes knows and does, within a transaction.

use std::collections::HashMap;

use rusqlite::{Connection, OptionalExtension, params};

use super::rows::{self, COLUMNS, column, id};
use crate::backend::{IDEMPOTENCY_MS, Life, Receipt, conflict};
use crate::error::{Code, Error, Result};
use crate::event::{EventId, Events, NewEvent, Recorder};

/// How often old idempotency keys are looked for, at most, and how many are forgotten at a time.
const SWEEP_MS: u64 = 60_000;
const SWEPT: i64 = 1000;
/// How many streams vanish in one step.
const EXPIRING: i64 = 256;
/// The rows of how many streams stay in memory.
const REMEMBERED: usize = 8192;

/// A stream's row, and what follows from its events.
struct Stream {
    number: i64,
    /// The greatest id that it ever gave: its newest event may be deleted, its id is not given again.
    greatest: EventId,
    /// The id of the last event that is there.
    last: Option<EventId>,
    length: u64,
    expires_ms: Option<u64>,
    /// Only an exact life counts from now on.
    ended: bool,
    /// The row is not what it was.
    is_changed: bool,
}

/// An append without those who wait for it.
pub(super) struct Content {
    pub(super) stream: Box<str>,
    pub(super) events: Vec<NewEvent>,
    pub(super) expected_last_id: Option<EventId>,
    pub(super) idempotency_key: Option<Box<str>>,
}

pub(super) struct Contents {
    pub(super) connection: Connection,
    streams: HashMap<Box<str>, Stream>,
    /// The present instant, as [`Contents::advance`] was told.
    now_ms: u64,
    /// What the clock said at least when the directory was closed: over a restart it does not go back.
    opened_ms: u64,
    /// No stream begins at or below it: a new one must not look like a part of one that is gone.
    greatest_gone: EventId,
    next_number: i64,
    next_expiry_ms: Option<u64>,
    last_sweep_ms: u64,
    /// The names of streams whose time was over, since this was last asked.
    expired: Vec<Box<str>>,
    /// Events of streams that are gone are still there.
    pub(super) has_remains: bool,
}

impl Contents {
    pub(super) fn new(connection: Connection) -> rusqlite::Result<Contents> {
        let mut contents = Contents {
            connection,
            streams: HashMap::new(),
            now_ms: 0,
            opened_ms: 0,
            greatest_gone: EventId::MIN,
            next_number: 1,
            next_expiry_ms: None,
            last_sweep_ms: 0,
            expired: Vec::new(),
            has_remains: false,
        };
        contents.load()?;
        let greatest: Option<i64> =
            contents.connection.query_row("SELECT max(greatest_ms) FROM stream", [], |row| row.get(0))?;
        let greatest = greatest.and_then(|ms| u64::try_from(ms).ok()).unwrap_or(0);
        contents.opened_ms = greatest.max(contents.greatest_gone.ms);
        Ok(contents)
    }

    /// Takes what is known from the database: at first, and when what was done was taken back.
    pub(super) fn load(&mut self) -> rusqlite::Result<()> {
        self.streams.clear();
        self.expired.clear();
        let connection = &self.connection;
        let number = |sql: &str| connection.query_row(sql, [], |row| row.get::<_, Option<i64>>(0));
        let gone = |key: &str| number(&format!("SELECT max(value) FROM meta WHERE key = '{key}'"));
        let unsigned = |number: Option<i64>| number.and_then(|number| u64::try_from(number).ok());
        let gone = (gone("gone_ms")?, gone("gone_seq")?);
        self.greatest_gone = EventId::new(unsigned(gone.0).unwrap_or(0), unsigned(gone.1).unwrap_or(0));
        let last = number("SELECT max(number) FROM stream")?.max(number("SELECT max(number) FROM gone")?);
        self.next_number = last.unwrap_or(0) + 1;
        self.next_expiry_ms = unsigned(number("SELECT min(expires_ms) FROM stream WHERE expires_ms IS NOT NULL")?);
        self.has_remains = number("SELECT min(number) FROM gone")?.is_some();
        Ok(())
    }

    /// The earliest instant at which a stream vanishes.
    pub(super) fn next_expiry_ms(&self) -> Option<u64> {
        self.next_expiry_ms
    }

    /// The names of streams that have vanished since this was last asked.
    pub(super) fn take_expired(&mut self) -> Vec<Box<str>> {
        std::mem::take(&mut self.expired)
    }

    /// Comes to this instant: the streams whose time is over vanish.
    pub(super) fn advance(&mut self, now_ms: u64) -> rusqlite::Result<()> {
        self.now_ms = now_ms;
        while self.next_expiry_ms.is_some_and(|expiry_ms| expiry_ms <= now_ms) {
            // Lives that were said in this transaction are not in the rows yet.
            self.flush()?;
            let due: Vec<String> = {
                let sql = "SELECT name FROM stream WHERE expires_ms <= ?1 ORDER BY expires_ms LIMIT ?2";
                let mut statement = self.connection.prepare_cached(sql)?;
                statement.query_map([column(now_ms), EXPIRING], |row| row.get(0))?.collect::<Result<_, _>>()?
            };
            for name in due {
                self.remove(&name)?;
                self.expired.push(name.into());
            }
            self.find_next_expiry()?;
        }
        Ok(())
    }

    fn find_next_expiry(&mut self) -> rusqlite::Result<()> {
        let sql = "SELECT min(expires_ms) FROM stream WHERE expires_ms IS NOT NULL";
        let next: Option<i64> = self.connection.prepare_cached(sql)?.query_row([], |row| row.get(0))?;
        self.next_expiry_ms = next.and_then(|ms| u64::try_from(ms).ok());
        Ok(())
    }

    /// The stream of this name, if it is there.
    fn stream(&mut self, name: &str) -> rusqlite::Result<Option<&mut Stream>> {
        if !self.streams.contains_key(name)
            && let Some(stream) = self.read_stream(name)?
        {
            self.streams.insert(name.into(), stream);
        }
        Ok(self.streams.get_mut(name))
    }

    fn read_stream(&self, name: &str) -> rusqlite::Result<Option<Stream>> {
        let sql = "SELECT number, greatest_ms, greatest_seq, length, expires_ms, ended FROM stream WHERE name = ?1";
        let mut statement = self.connection.prepare_cached(sql)?;
        let stream = statement.query_row([name], |row| {
            Ok(Stream {
                number: row.get(0)?,
                greatest: id(row, 1)?,
                last: None,
                length: u64::try_from(row.get::<_, i64>(3)?).unwrap_or(0),
                expires_ms: row.get::<_, Option<i64>>(4)?.and_then(|ms| u64::try_from(ms).ok()),
                ended: row.get(5)?,
                is_changed: false,
            })
        });
        let Some(mut stream) = stream.optional()? else { return Ok(None) };
        stream.last = self.last_of(stream.number)?;
        Ok(Some(stream))
    }

    fn last_of(&self, number: i64) -> rusqlite::Result<Option<EventId>> {
        let sql = "SELECT ms, seq FROM event WHERE stream = ?1 ORDER BY ms DESC, seq DESC LIMIT 1";
        self.connection.prepare_cached(sql)?.query_row([number], |row| id(row, 0)).optional()
    }

    fn begin_stream(&mut self, name: &str) -> rusqlite::Result<()> {
        let (number, greatest) = (self.next_number, self.greatest_gone);
        let sql =
            "INSERT INTO stream (number, name, greatest_ms, greatest_seq, length, ended) VALUES (?1, ?2, ?3, ?4, 0, 0)";
        let row = params![number, name, column(greatest.ms), column(greatest.seq)];
        self.connection.prepare_cached(sql)?.execute(row)?;
        self.next_number += 1;
        let stream =
            Stream { number, greatest, last: None, length: 0, expires_ms: None, ended: false, is_changed: false };
        self.streams.insert(name.into(), stream);
        Ok(())
    }

    /// The first id for so many events behind `greatest`; `None`: there is none any more.
    fn next_id(&self, greatest: EventId, count: usize) -> Option<EventId> {
        let now_ms = self.now_ms.max(self.opened_ms);
        // As on Redis, no event has the id that stands for "none".
        let now = EventId::new(now_ms, u64::from(now_ms == 0));
        let id = if greatest >= now { greatest.next()? } else { now };
        let most = i64::MAX as u64;
        (id.ms <= most && id.seq.checked_add(count as u64)? <= most).then_some(id)
    }

    pub(super) fn append(&mut self, append: &Content) -> rusqlite::Result<Result<Receipt>> {
        let name = &*append.stream;
        let (greatest, actual) = match self.stream(name)? {
            Some(stream) => (stream.greatest, stream.last.unwrap_or(EventId::MIN)),
            None => (self.greatest_gone, EventId::MIN),
        };
        if let Some(key) = &append.idempotency_key
            && let Some(records) = self.repeated(name, key)?
        {
            return Ok(Ok(Receipt::Repeated(records)));
        }
        if let Some(expected) = append.expected_last_id.filter(|expected| *expected != actual) {
            return Ok(Err(conflict(name, expected, actual)));
        }
        let Some(first) = self.next_id(greatest, append.events.len()) else {
            return Ok(Err(Error::new(Code::Backend, "The stream has used its last possible id.")));
        };
        let ids = self.insert(name, first, &append.events)?;
        if let Some(key) = &append.idempotency_key {
            self.remember(name, key, first, ids.len())?;
        }
        Ok(Ok(Receipt::stored(ids)))
    }

    fn insert(&mut self, name: &str, first: EventId, events: &[NewEvent]) -> rusqlite::Result<Vec<EventId>> {
        if !self.streams.contains_key(name) {
            self.begin_stream(name)?;
        }
        let Some(stream) = self.streams.get_mut(name) else { return Ok(Vec::new()) };
        let mut statement = self.connection.prepare_cached(rows::INSERT)?;
        let mut ids = Vec::with_capacity(events.len());
        for (seq, event) in (first.seq..).zip(events) {
            let id = EventId::new(first.ms, seq);
            rows::insert(&mut statement, stream.number, id, event)?;
            ids.push(id);
        }
        stream.last = ids.last().copied().or(stream.last);
        stream.greatest = stream.last.unwrap_or(stream.greatest);
        stream.length += ids.len() as u64;
        stream.is_changed = true;
        Ok(ids)
    }

    /// What an append with this idempotency key stored, if all of it is still there.
    fn repeated(&mut self, name: &str, key: &str) -> rusqlite::Result<Option<Events>> {
        let Some(number) = self.streams.get(name).map(|stream| stream.number) else { return Ok(None) };
        let sql = "SELECT ms, seq, count FROM repeat WHERE stream = ?1 AND key = ?2 AND until_ms > ?3";
        let mut statement = self.connection.prepare_cached(sql)?;
        let remembered = statement.query_row(params![number, key, column(self.now_ms)], |row| {
            Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?, row.get::<_, i64>(2)?))
        });
        let Some((ms, seq, count)) = remembered.optional()? else { return Ok(None) };
        let sql = format!(
            "SELECT {COLUMNS} FROM event WHERE stream = ?1 AND ms = ?2 AND seq >= ?3 AND seq < ?4 ORDER BY seq"
        );
        let mut recorder = Recorder::new(name);
        let mut statement = self.connection.prepare_cached(&sql)?;
        let mut rows = statement.query([number, ms, seq, seq + count])?;
        while let Some(row) = rows.next()? {
            rows::record(row, &mut recorder)?;
        }
        let records = recorder.finish();
        Ok(Some(records).filter(|records| records.len() as i64 == count))
    }

    /// Remembers what was stored under an idempotency key, and forgets old ones now and then.
    fn remember(&mut self, name: &str, key: &str, first: EventId, count: usize) -> rusqlite::Result<()> {
        let Some(number) = self.streams.get(name).map(|stream| stream.number) else { return Ok(()) };
        if self.now_ms.saturating_sub(self.last_sweep_ms) > SWEEP_MS {
            self.last_sweep_ms = self.now_ms;
            let sql = "DELETE FROM repeat WHERE (stream, key) IN (SELECT stream, key FROM repeat WHERE until_ms <= ?1 LIMIT ?2)";
            self.connection.prepare_cached(sql)?.execute([column(self.now_ms), SWEPT])?;
        }
        let until = column(self.now_ms.saturating_add(IDEMPOTENCY_MS));
        let sql =
            "INSERT OR REPLACE INTO repeat (stream, key, ms, seq, count, until_ms) VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
        let row = params![number, key, column(first.ms), column(first.seq), count as i64, until];
        self.connection.prepare_cached(sql)?.execute(row).map(drop)
    }

    /// Removes a stream; what belongs to it remains, unseen, until it is cleared away. Whether it was there.
    fn remove(&mut self, name: &str) -> rusqlite::Result<bool> {
        let Some(stream) = self.stream(name)? else { return Ok(false) };
        let (number, greatest) = (stream.number, stream.greatest);
        self.streams.remove(name);
        self.connection.prepare_cached("DELETE FROM stream WHERE number = ?1")?.execute([number])?;
        self.connection.prepare_cached("INSERT INTO gone (number) VALUES (?1)")?.execute([number])?;
        self.has_remains = true;
        if greatest > self.greatest_gone {
            self.greatest_gone = greatest;
            let sql = "INSERT OR REPLACE INTO meta (key, value) VALUES ('gone_ms', ?1), ('gone_seq', ?2)";
            self.connection.prepare_cached(sql)?.execute([column(greatest.ms), column(greatest.seq)])?;
        }
        Ok(true)
    }

    /// Deletes a stream; whether it was there.
    pub(super) fn delete_stream(&mut self, name: &str) -> rusqlite::Result<bool> {
        let expires = self.stream(name)?.is_some_and(|stream| stream.expires_ms.is_some());
        let was_there = self.remove(name)?;
        if expires {
            self.flush()?;
            self.find_next_expiry()?;
        }
        Ok(was_there)
    }

    /// Deletes these events; how many were there.
    pub(super) fn delete_events(&mut self, name: &str, ids: &[EventId]) -> rusqlite::Result<u64> {
        let Some(number) = self.stream(name)?.map(|stream| stream.number) else { return Ok(0) };
        let mut deleted = 0;
        {
            let sql = "DELETE FROM event WHERE stream = ?1 AND ms = ?2 AND seq = ?3";
            let mut statement = self.connection.prepare_cached(sql)?;
            for id in ids {
                deleted += statement.execute([number, column(id.ms), column(id.seq)])?;
            }
        }
        self.shrunk(name, number, deleted)
    }

    /// Deletes all events before this one; how many.
    pub(super) fn trim(&mut self, name: &str, before: EventId) -> rusqlite::Result<u64> {
        let Some(number) = self.stream(name)?.map(|stream| stream.number) else { return Ok(0) };
        let deleted = self
            .connection
            .prepare_cached("DELETE FROM event WHERE stream = ?1 AND (ms, seq) < (?2, ?3)")?
            .execute([number, column(before.ms), column(before.seq)])?;
        self.shrunk(name, number, deleted)
    }

    fn shrunk(&mut self, name: &str, number: i64, deleted: usize) -> rusqlite::Result<u64> {
        let last = self.last_of(number)?;
        if let Some(stream) = self.streams.get_mut(name) {
            stream.last = last;
            stream.length = stream.length.saturating_sub(deleted as u64);
            stream.is_changed = true;
        }
        Ok(deleted as u64)
    }

    pub(super) fn keep(&mut self, name: &str, life: Life) -> rusqlite::Result<()> {
        let expires_ms = self.now_ms.saturating_add(life.ms());
        let Some(stream) = self.stream(name)? else { return Ok(()) };
        match life {
            _ if stream.ended => return Ok(()),
            Life::AtLeast(_) if stream.expires_ms.is_some_and(|before| before >= expires_ms) => return Ok(()),
            Life::AtLeast(_) | Life::Exactly(_) => {}
            Life::Finally(_) => stream.ended = true,
        }
        let before = stream.expires_ms.replace(expires_ms);
        stream.is_changed = true;
        if before.is_some_and(|before| before < expires_ms) && before == self.next_expiry_ms {
            self.flush()?;
            return self.find_next_expiry();
        }
        self.next_expiry_ms = Some(self.next_expiry_ms.map_or(expires_ms, |next| next.min(expires_ms)));
        Ok(())
    }

    /// Writes the rows of streams that are not what they were.
    pub(super) fn flush(&mut self) -> rusqlite::Result<()> {
        let sql = "UPDATE stream SET greatest_ms = ?2, greatest_seq = ?3, length = ?4, expires_ms = ?5, ended = ?6 WHERE number = ?1";
        let mut statement = self.connection.prepare_cached(sql)?;
        for stream in self.streams.values_mut().filter(|stream| stream.is_changed) {
            let (greatest, length) = (stream.greatest, column(stream.length));
            let expires = stream.expires_ms.map(column);
            let row = params![stream.number, column(greatest.ms), column(greatest.seq), length, expires, stream.ended];
            statement.execute(row)?;
            stream.is_changed = false;
        }
        Ok(())
    }

    /// Does not let what is remembered grow for ever. Everything has to be written.
    pub(super) fn forget(&mut self) {
        if self.streams.len() > REMEMBERED {
            self.streams.clear();
        }
    }

    pub(super) fn index_add(&self, key: &str, id: &str, score: f64) -> rusqlite::Result<()> {
        let sql = "INSERT INTO member (key, id, score) VALUES (?1, ?2, ?3) ON CONFLICT (key, id) DO UPDATE SET score = excluded.score";
        self.connection.prepare_cached(sql)?.execute(params![key, id, score]).map(drop)
    }

    pub(super) fn index_remove(&self, key: &str, ids: &[Box<str>]) -> rusqlite::Result<()> {
        let mut statement = self.connection.prepare_cached("DELETE FROM member WHERE key = ?1 AND id = ?2")?;
        ids.iter().try_for_each(|id| statement.execute(params![key, id]).map(drop))
    }

    pub(super) fn index_delete(&self, key: &str) -> rusqlite::Result<()> {
        self.connection.prepare_cached("DELETE FROM member WHERE key = ?1")?.execute([key]).map(drop)
    }
}
