//! What is asked of the database. Each question is one statement, and so sees one instant.

use rusqlite::{Connection, OptionalExtension, Row, params};

use super::rows::{COLUMNS, column, id, record};
use crate::backend::{Cursor, Glob, PageRequest, Positions, Selector, StreamInfo};
use crate::event::{EventId, Events, Recorder};

/// How many streams one step of a listing looks at.
const LISTING_PAGE: usize = 512;

/// The number of the stream ?1, if it is there at the instant ?2.
const NUMBER: &str = "(SELECT number FROM stream WHERE name = ?1 AND (expires_ms IS NULL OR expires_ms > ?2))";

/// Reads one page of a stream.
pub(super) fn page(connection: &Connection, request: &PageRequest<'_>, now_ms: u64) -> rusqlite::Result<Events> {
    let order = if request.descending { "DESC" } else { "ASC" };
    let sql = format!(
        "SELECT {COLUMNS} FROM event WHERE stream = {NUMBER} AND (ms, seq) >= (?3, ?4) AND (ms, seq) <= (?5, ?6) ORDER BY ms {order}, seq {order} LIMIT ?7"
    );
    let mut recorder = Recorder::new(request.stream);
    let mut statement = connection.prepare_cached(&sql)?;
    let (from, to) = (request.from, request.to);
    let count = i64::try_from(request.count).unwrap_or(i64::MAX);
    let (stream, now) = (request.stream, column(now_ms));
    let range = (column(from.ms), column(from.seq), column(to.ms), column(to.seq));
    let mut rows = statement.query(params![stream, now, range.0, range.1, range.2, range.3, count])?;
    while let Some(row) = rows.next()? {
        record(row, &mut recorder)?;
    }
    Ok(recorder.finish())
}

/// The id of a stream's last event.
pub(super) fn last_id(connection: &Connection, stream: &str, now_ms: u64) -> rusqlite::Result<Option<EventId>> {
    let sql = format!("SELECT ms, seq FROM event WHERE stream = {NUMBER} ORDER BY ms DESC, seq DESC LIMIT 1");
    let mut statement = connection.prepare_cached(&sql)?;
    statement.query_row(params![stream, column(now_ms)], |row| id(row, 0)).optional()
}

/// How many events a stream has.
pub(super) fn length(connection: &Connection, stream: &str, now_ms: u64) -> rusqlite::Result<u64> {
    let sql = format!("SELECT length FROM stream WHERE number = {NUMBER}");
    let length: Option<i64> =
        connection.prepare_cached(&sql)?.query_row(params![stream, column(now_ms)], |row| row.get(0)).optional()?;
    Ok(length.and_then(|length| u64::try_from(length).ok()).unwrap_or(0))
}

/// When a stream vanishes; `None`: it is not there; `Some(None)`: never.
pub(super) fn expiry(connection: &Connection, stream: &str, now_ms: u64) -> rusqlite::Result<Option<Option<u64>>> {
    let sql = format!("SELECT expires_ms FROM stream WHERE number = {NUMBER}");
    let mut statement = connection.prepare_cached(&sql)?;
    let expiry: Option<Option<i64>> =
        statement.query_row(params![stream, column(now_ms)], |row| row.get(0)).optional()?;
    Ok(expiry.map(|expiry| expiry.and_then(|ms| u64::try_from(ms).ok())))
}

/// Streams by name from a place on: name, last id and length of those with events.
const LISTING: &str = "SELECT name, length, event.ms, event.seq FROM stream LEFT JOIN event ON event.stream = number \
    AND (event.ms, event.seq) = (SELECT ms, seq FROM event WHERE stream = number ORDER BY ms DESC, seq DESC LIMIT 1) \
    WHERE name >= ?1 AND (expires_ms IS NULL OR expires_ms > ?2) ORDER BY name LIMIT ?3";

/// A row of [`LISTING`]; without an id if the stream is empty.
fn listed(row: &Row<'_>) -> rusqlite::Result<(String, u64, Option<EventId>)> {
    let is_empty = row.get_ref(2)? == rusqlite::types::ValueRef::Null;
    let last = if is_empty { None } else { Some(id(row, 2)?) };
    Ok((row.get(0)?, u64::try_from(row.get::<_, i64>(1)?).unwrap_or(0), last))
}

/// Lists a part of the streams whose names match, and where to go on.
pub(super) fn list(
    connection: &Connection,
    pattern: &Glob,
    cursor: &Cursor,
    now_ms: u64,
) -> rusqlite::Result<(Vec<StreamInfo>, Cursor)> {
    let prefix = pattern.prefix();
    let from = match cursor {
        Cursor::Start => prefix.to_owned(),
        // The smallest name behind it.
        Cursor::At(name) => format!("{name}\0"),
        Cursor::End => return Ok((Vec::new(), Cursor::End)),
    };
    let mut statement = connection.prepare_cached(LISTING)?;
    let mut rows = statement.query(params![from, column(now_ms), LISTING_PAGE as i64])?;
    let (mut infos, mut seen, mut next) = (Vec::new(), 0, Cursor::End);
    while let Some(row) = rows.next()? {
        let (stream, length, last_id) = listed(row)?;
        if !stream.starts_with(prefix) {
            return Ok((infos, Cursor::End));
        }
        seen += 1;
        if seen == LISTING_PAGE {
            next = Cursor::At((*stream).into());
        }
        if let Some(last_id) = last_id.filter(|_| pattern.matches(&stream)) {
            infos.push(StreamInfo { stream, last_id, length });
        }
    }
    Ok((infos, next))
}

/// Where the streams end now.
pub(super) fn ends(connection: &Connection, selector: &Selector, now_ms: u64) -> rusqlite::Result<Positions> {
    let mut positions = Positions::default();
    match selector {
        Selector::Stream(stream) => {
            let last = last_id(connection, stream, now_ms)?;
            positions.known.extend(last.map(|last| (stream.clone(), last)));
        }
        Selector::Pattern(pattern) => {
            let mut statement = connection.prepare_cached(LISTING)?;
            let mut rows = statement.query(params![pattern.prefix(), column(now_ms), -1])?;
            while let Some(row) = rows.next()? {
                let (stream, _, last_id) = listed(row)?;
                if !stream.starts_with(pattern.prefix()) {
                    break;
                }
                let last_id = last_id.filter(|_| pattern.matches(&stream));
                positions.known.extend(last_id.map(|last| (stream.into(), last)));
            }
        }
    }
    Ok(positions)
}

/// Members of a sorted index, highest score first.
pub(super) fn index_read(
    connection: &Connection,
    key: &str,
    offset: usize,
    limit: Option<usize>,
) -> rusqlite::Result<Vec<(String, f64)>> {
    let sql = "SELECT id, score FROM member WHERE key = ?1 ORDER BY score DESC, id DESC LIMIT ?2 OFFSET ?3";
    let limit = limit.map_or(-1, bounded);
    let mut statement = connection.prepare_cached(sql)?;
    statement.query_map(params![key, limit, bounded(offset)], |row| Ok((row.get(0)?, row.get(1)?)))?.collect()
}

/// Members of a sorted index with a score of at most this, lowest first.
pub(super) fn index_due(connection: &Connection, key: &str, score: f64, limit: usize) -> rusqlite::Result<Vec<String>> {
    let sql = "SELECT id FROM member WHERE key = ?1 AND score <= ?2 ORDER BY score, id LIMIT ?3";
    let mut statement = connection.prepare_cached(sql)?;
    statement.query_map(params![key, score, bounded(limit)], |row| row.get(0))?.collect()
}

/// Members of a sorted index with exactly this score.
pub(super) fn index_at(connection: &Connection, key: &str, score: f64) -> rusqlite::Result<Vec<String>> {
    let sql = "SELECT id FROM member WHERE key = ?1 AND score = ?2 ORDER BY id";
    let mut statement = connection.prepare_cached(sql)?;
    statement.query_map(params![key, score], |row| row.get(0))?.collect()
}

fn bounded(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
