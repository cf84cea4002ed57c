//! Clearing away what is left of streams that are gone, a little at a time, and giving room back.

use rusqlite::{Connection, OptionalExtension};

use super::contents::Contents;

/// The file is made smaller when so many pages, and every fourth one, are empty.
const EMPTY_PAGES: i64 = 256;
/// How many pages it is made smaller by at a time.
const PAGES_A_TIME: i64 = 256;

/// Deletes about so many events of streams that are gone, within a transaction.
pub(super) fn clear(contents: &mut Contents, mut events: i64) -> rusqlite::Result<()> {
    while events > 0 && contents.has_remains {
        let connection = &contents.connection;
        let next: Option<i64> =
            connection.prepare_cached("SELECT min(number) FROM gone")?.query_row([], |row| row.get(0))?;
        match next {
            None => contents.has_remains = false,
            Some(number) => events -= 1 + clear_stream(connection, number, events)?,
        }
    }
    Ok(())
}

/// Deletes at most so many events of a stream that is gone; how many.
fn clear_stream(connection: &Connection, number: i64, most: i64) -> rusqlite::Result<i64> {
    let sql = "SELECT ms, seq FROM event WHERE stream = ?1 ORDER BY ms, seq LIMIT 1 OFFSET ?2";
    let mut statement = connection.prepare_cached(sql)?;
    let last = statement.query_row([number, most - 1], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?)));
    if let Some((ms, seq)) = last.optional()? {
        let sql = "DELETE FROM event WHERE stream = ?1 AND (ms, seq) <= (?2, ?3)";
        return connection.prepare_cached(sql)?.execute([number, ms, seq]).map(|deleted| deleted as i64);
    }
    let deleted = connection.prepare_cached("DELETE FROM event WHERE stream = ?1")?.execute([number])?;
    connection.prepare_cached("DELETE FROM repeat WHERE stream = ?1")?.execute([number])?;
    connection.prepare_cached("DELETE FROM gone WHERE number = ?1")?.execute([number])?;
    Ok(deleted as i64)
}

/// Makes the file smaller if much of it is empty; whether there is more to do.
pub(super) fn shrink(connection: &Connection) -> rusqlite::Result<bool> {
    let number = |pragma: &str| connection.query_row(pragma, [], |row| row.get::<_, i64>(0));
    let (pages, empty) = (number("PRAGMA page_count")?, number("PRAGMA freelist_count")?);
    if empty < EMPTY_PAGES || empty * 4 < pages {
        return Ok(false);
    }
    let mut statement = connection.prepare(&format!("PRAGMA incremental_vacuum({PAGES_A_TIME})"))?;
    let mut rows = statement.query([])?;
    while rows.next()?.is_some() {}
    Ok(true)
}

/// Brings what is in the journal into the file, as far as nobody reads it there. Only that makes the file smaller.
pub(super) fn settle(connection: &Connection) -> rusqlite::Result<()> {
    connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()))
}
