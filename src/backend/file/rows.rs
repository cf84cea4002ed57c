//! Events and ids as rows hold them.

use rusqlite::{Row, types::ValueRef};

use crate::event::{EventId, Field, NewEvent, Recorder};

/// The columns of an event, as [`record`] reads them.
pub(super) const COLUMNS: &str = "ms, seq, type, run_id, flow_name, step_name, step_id, attempt, instance_id, worker_id, queue, trigger_name, correlation_id, causation_id, data";
/// The first column of the envelope, in the order of [`Field::ALL`].
const ENVELOPE: usize = 3;
const DATA: usize = ENVELOPE + Field::ALL.len();

pub(super) const INSERT: &str = "INSERT INTO event (ms, seq, type, run_id, flow_name, step_name, step_id, attempt, instance_id, worker_id, queue, trigger_name, correlation_id, causation_id, data, stream) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16)";

/// A number as a column holds it; what is greater is beyond every event.
pub(super) fn column(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// An id from two columns.
pub(super) fn id(row: &Row<'_>, ms: usize) -> rusqlite::Result<EventId> {
    let number = |at| row.get::<_, i64>(at).map(|number| u64::try_from(number).unwrap_or(0));
    Ok(EventId::new(number(ms)?, number(ms + 1)?))
}

/// Inserts an event with [`INSERT`].
pub(super) fn insert(
    statement: &mut rusqlite::Statement<'_>,
    stream: i64,
    id: EventId,
    event: &NewEvent,
) -> rusqlite::Result<()> {
    statement.raw_bind_parameter(1, column(id.ms))?;
    statement.raw_bind_parameter(2, column(id.seq))?;
    statement.raw_bind_parameter(3, event.event_type())?;
    for (n, field) in Field::ALL.into_iter().enumerate() {
        statement.raw_bind_parameter(ENVELOPE + n + 1, event.get(field))?;
    }
    statement.raw_bind_parameter(DATA + 1, event.data())?;
    statement.raw_bind_parameter(DATA + 2, stream)?;
    statement.raw_execute().map(drop)
}

/// Adds the event of a row of [`COLUMNS`].
pub(super) fn record(row: &Row<'_>, recorder: &mut Recorder) -> rusqlite::Result<()> {
    let mut envelope = [None; Field::ALL.len()];
    for (n, value) in envelope.iter_mut().enumerate() {
        *value = text(row, ENVELOPE + n)?;
    }
    let fields = Field::ALL.into_iter().zip(envelope).filter_map(|(field, value)| Some((field, value?)));
    recorder.record(id(row, 0)?, text(row, 2)?.unwrap_or_default(), fields, text(row, DATA)?);
    Ok(())
}

fn text<'a>(row: &'a Row<'_>, at: usize) -> rusqlite::Result<Option<&'a str>> {
    match row.get_ref(at)? {
        ValueRef::Null => Ok(None),
        value => Ok(Some(
            value
                .as_str()
                .map_err(|error| rusqlite::Error::FromSqlConversionFailure(at, value.data_type(), Box::new(error)))?,
        )),
    }
}
