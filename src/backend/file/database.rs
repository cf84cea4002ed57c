//! The database in the directory: how it is opened, and what its errors mean.

use std::fmt::Display;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, OpenFlags, TransactionBehavior, config::DbConfig};

use super::options::FileOptions;
use crate::error::{Code, Error, Result};

/// What tells our files from other databases: `nqev`.
const APPLICATION: i32 = 0x6e71_6576;
/// The version of the tables that this code knows.
const VERSION: i32 = 1;
const SCHEMA: &str = include_str!("schema.sql");
/// Larger than usual: most events fit many times into a page.
const PAGE_BYTES: i32 = 8192;
/// How long other programs may hold a lock.
const BUSY: Duration = Duration::from_secs(5);
/// How large the journal may stay.
const JOURNAL_BYTES: i64 = 16 << 20;
/// How many statements stay prepared.
const STATEMENTS: usize = 64;

/// The file with the events.
pub(super) fn file(dir: &Path) -> PathBuf {
    dir.join("events.db")
}

/// Opens the database for the one who writes; makes it if it is not there.
pub(super) fn open_to_write(options: &FileOptions) -> Result<Connection> {
    let dir = &options.dir;
    let opened = || -> rusqlite::Result<(Connection, String)> {
        let connection = Connection::open_with_flags(file(dir), flags() | OpenFlags::SQLITE_OPEN_CREATE)?;
        connection.busy_timeout(BUSY)?;
        connection.set_prepared_statement_cache_capacity(STATEMENTS);
        if is_empty(&connection)? {
            connection.pragma_update(None, "page_size", PAGE_BYTES)?;
            connection.pragma_update(None, "auto_vacuum", "INCREMENTAL")?;
        }
        let mode: String = connection.query_row("PRAGMA journal_mode=WAL", [], |row| row.get(0))?;
        connection.pragma_update(None, "synchronous", if options.fsync { "FULL" } else { "NORMAL" })?;
        // Only macOS needs to be told that it really has to be on the disk.
        connection.pragma_update(None, "fullfsync", options.fsync)?;
        connection.pragma_update(None, "checkpoint_fullfsync", options.fsync)?;
        connection.pragma_update(None, "journal_size_limit", JOURNAL_BYTES)?;
        Ok((connection, mode))
    };
    let (mut connection, mode) = opened().map_err(|error| failed(dir, &error))?;
    if mode != "wal" {
        return Err(unusable(dir, &"its file system has no shared memory, which reading beside a writer needs"));
    }
    migrate(dir, &mut connection)?;
    Ok(connection)
}

/// Opens the database for reading, beside the one who writes.
pub(super) fn open_to_read(dir: &Path) -> Result<Connection> {
    if !file(dir).is_file() {
        let message = format!("There is no event store in {}; check file.dir.", dir.display());
        return Err(Error::new(Code::Config, message));
    }
    let opened = || -> rusqlite::Result<Connection> {
        // Reading what a killed process left needs its journal to be taken in; this alone is why it may write.
        let connection = Connection::open_with_flags(file(dir), flags())?;
        connection.busy_timeout(BUSY)?;
        connection.set_prepared_statement_cache_capacity(STATEMENTS);
        connection.pragma_update(None, "query_only", true)?;
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
        Ok(connection)
    };
    let connection = opened().map_err(|error| failed(dir, &error))?;
    match version(dir, &connection)? {
        0 => Err(Error::new(Code::Unavailable, format!("The event store in {} is not complete yet.", dir.display()))),
        _ => Ok(connection),
    }
}

fn flags() -> OpenFlags {
    OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX
}

fn is_empty(connection: &Connection) -> rusqlite::Result<bool> {
    connection.query_row("SELECT count(*) = 0 FROM sqlite_schema", [], |row| row.get(0))
}

/// The version of the tables; 0: there are none.
fn version(dir: &Path, connection: &Connection) -> Result<i32> {
    let number = |pragma: &str| connection.query_row(pragma, [], |row| row.get::<_, i32>(0));
    let read = || Ok((number("PRAGMA application_id")?, number("PRAGMA user_version")?, is_empty(connection)?));
    let (application, version, is_empty) = read().map_err(|error| failed(dir, &error))?;
    if application != APPLICATION && !(application == 0 && is_empty) {
        let message = format!("{} is the database of another program; choose another file.dir.", file(dir).display());
        return Err(Error::new(Code::Config, message));
    }
    if version > VERSION {
        let message = format!(
            "The event store in {} was written by a newer nuxt-queue-core (layout {version}; this one knows up to {VERSION}); update nuxt-queue-core.",
            dir.display()
        );
        return Err(Error::new(Code::Config, message));
    }
    Ok(version)
}

/// Brings the tables to the present version, in one step that is done or not.
fn migrate(dir: &Path, connection: &mut Connection) -> Result<()> {
    if version(dir, connection)? == VERSION {
        return Ok(());
    }
    let mut create = || -> rusqlite::Result<()> {
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        transaction.execute_batch(SCHEMA)?;
        transaction.pragma_update(None, "application_id", APPLICATION)?;
        transaction.pragma_update(None, "user_version", VERSION)?;
        transaction.commit()
    };
    create().map_err(|error| failed(dir, &error))
}

/// A directory in which nothing can be kept.
pub(super) fn unusable(dir: &Path, cause: &impl Display) -> Error {
    let message = format!("Events can't be kept in {}; check file.dir and its permissions.", dir.display());
    Error::new(Code::Config, message).caused_by(cause)
}

/// What an error of the database means.
pub(super) fn failed(dir: &Path, error: &rusqlite::Error) -> Error {
    let file = file(dir);
    let file = file.display();
    let (code, message) = match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => (
            Code::Corrupt,
            format!(
                "The file {file} is damaged; restore it from a backup. See docs/file.md for what else can be done."
            ),
        ),
        Some(ErrorCode::DiskFull) => {
            (Code::Backend, format!("There is no room for {file}: nothing was changed. Make room and try again."))
        }
        Some(
            ErrorCode::CannotOpen
            | ErrorCode::ReadOnly
            | ErrorCode::PermissionDenied
            | ErrorCode::AuthorizationForStatementDenied,
        ) => {
            return unusable(dir, error);
        }
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
            (Code::Unavailable, format!("Another program holds a lock on {file}; end it or wait."))
        }
        Some(ErrorCode::SystemIoFailure) => (Code::Backend, format!("The disk failed to read or write {file}.")),
        Some(_) => (Code::Backend, format!("The database {file} refused.")),
        None => (Code::Corrupt, format!("The file {file} holds what can't be read.")),
    };
    Error::new(code, message).caused_by(error)
}

/// Whether another program was in the way.
pub(super) fn is_busy(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked))
}

/// Whether it is not known if what was to be written is on the disk.
pub(super) fn is_uncertain(error: &rusqlite::Error) -> bool {
    use rusqlite::ffi::{SQLITE_IOERR_DIR_FSYNC, SQLITE_IOERR_FSYNC};
    let code = error.sqlite_error().map(|error| error.extended_code);
    matches!(code, Some(SQLITE_IOERR_FSYNC | SQLITE_IOERR_DIR_FSYNC))
}
