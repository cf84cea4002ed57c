//! Appends as they are packed by JavaScript: the appends of a tick in one text.
//!
//! One line an event, its columns separated by tabs: stream, expected last id, idempotency key,
//! type, the envelope in the order of `Field::ALL`, data. An empty column is an absent value; a
//! line without a stream goes on with the batch of the line before. JSON text has neither tabs nor
//! line breaks.

use crate::error::{Code, Error, Result};
use crate::event::NewEvent;
use crate::store::{AppendOptions, Submission};

/// Takes the lines apart. The appends get consecutive tickets; malformed ones come back as errors.
pub(super) fn unpack(packed: &str, first_ticket: u64) -> (Vec<Submission>, Vec<(u64, Error)>) {
    let mut submissions: Vec<Submission> = Vec::new();
    let mut refused: Vec<(u64, Error)> = Vec::new();
    let mut ticket = first_ticket;
    for line in packed.split('\n') {
        let (head, event) = match unpack_line(line) {
            Ok(parts) => parts,
            Err(error) => {
                refused.push((ticket, error));
                ticket += 1;
                continue;
            }
        };
        match (head, submissions.last_mut()) {
            (Some((stream, options)), _) => {
                submissions.push(Submission { ticket, stream, events: vec![event], options });
                ticket += 1;
            }
            (None, Some(batch)) => batch.events.push(event),
            (None, None) => {}
        }
    }
    (submissions, refused)
}

type Head = Option<(Box<str>, AppendOptions)>;

fn unpack_line(line: &str) -> Result<(Head, NewEvent)> {
    let mut columns = line.splitn(4, '\t');
    let mut next = || columns.next().unwrap_or_default();
    let (stream, expected, key, rest) = (next(), next(), next(), next());
    let a_tab_too_many =
        || Error::new(Code::InvalidEvent, "A name or an envelope field contains the control character U+0009.");
    let event = NewEvent::from_columns(rest).ok_or_else(a_tab_too_many)?;
    if stream.is_empty() {
        return Ok((None, event));
    }
    let expected_last_id = Some(expected).filter(|id| !id.is_empty()).map(str::parse).transpose()?;
    let idempotency_key = Some(key).filter(|key| !key.is_empty()).map(str::to_owned);
    Ok((Some((stream.into(), AppendOptions { expected_last_id, idempotency_key })), event))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Field;

    #[test]
    fn lines_become_appends_and_batches() {
        let empty = "\t".repeat(Field::ALL.len());
        let line = |head: &str, data: &str| format!("{head}\ttype{empty}\t{data}");
        let packed = [
            line("a\t\t", "1"),
            line("b\t5-0\tkey", "2"),
            line("\t\t", "3"),
            line("c\toops\t", "4"),
            line("d\t\t", ""),
        ]
        .join("\n");
        let (submissions, refused) = unpack(&packed, 7);
        let shapes: Vec<_> = submissions.iter().map(|s| (s.ticket, &*s.stream, s.events.len())).collect();
        assert_eq!(shapes, [(7, "a", 1), (8, "b", 2), (10, "d", 1)]);
        assert_eq!(submissions[1].options.idempotency_key.as_deref(), Some("key"));
        assert_eq!(submissions[2].events[0].data(), None);
        assert_eq!((refused[0].0, refused[0].1.code()), (9, Code::Validation));
    }
}
