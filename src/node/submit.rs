//! Appends as they are packed by JavaScript: the appends of a tick in one text.
//!
//! One line an event, its columns separated by tabs: stream, expected last id, idempotency key,
//! type, `ts`, the envelope in the order of `Field::ALL`, data. An empty column is an absent value; a
//! line without a stream goes on with the batch of the line before. JSON text has neither tabs nor
//! line breaks.

use crate::error::{Code, Error, Result};
use crate::event::NewEvent;
use crate::store::{AppendOptions, Submission};

/// Takes the lines apart. The appends get consecutive tickets; one with a malformed line comes back
/// as an error, all of it.
pub(super) fn unpack(packed: &str, first_ticket: u64) -> (Vec<Submission>, Vec<(u64, Error)>) {
    let mut submissions: Vec<Submission> = Vec::new();
    let mut refused: Vec<(u64, Error)> = Vec::new();
    let mut ticket = first_ticket;
    let mut open: Option<Result<Submission>> = None;
    for line in packed.split('\n') {
        open = Some(match (line.strip_prefix(CONTINUATION), open) {
            (Some(columns), Some(append)) => append.and_then(|append| with_event(append, columns)),
            (_, finished) => {
                close(finished, &mut ticket, &mut submissions, &mut refused);
                begin(ticket, line)
            }
        });
    }
    close(open, &mut ticket, &mut submissions, &mut refused);
    (submissions, refused)
}

/// What a line begins with that goes on with the batch of the line before: no stream, no conditions.
const CONTINUATION: &str = "\t\t\t";

fn close(
    append: Option<Result<Submission>>,
    ticket: &mut u64,
    submissions: &mut Vec<Submission>,
    refused: &mut Vec<(u64, Error)>,
) {
    match append {
        None => return,
        Some(Ok(append)) => submissions.push(append),
        Some(Err(error)) => refused.push((*ticket, error)),
    }
    *ticket += 1;
}

fn begin(ticket: u64, line: &str) -> Result<Submission> {
    let mut columns = line.splitn(4, '\t');
    let mut next = || columns.next().unwrap_or_default();
    let (stream, expected, key, rest) = (next(), next(), next(), next());
    let expected_last_id = Some(expected).filter(|id| !id.is_empty()).map(str::parse).transpose()?;
    let idempotency_key = Some(key).filter(|key| !key.is_empty()).map(str::to_owned);
    let options = AppendOptions { expected_last_id, idempotency_key };
    Ok(Submission { ticket, stream: stream.into(), events: vec![event(rest)?], options })
}

fn with_event(mut append: Submission, columns: &str) -> Result<Submission> {
    append.events.push(event(columns)?);
    Ok(append)
}

fn event(columns: &str) -> Result<NewEvent> {
    let a_tab_too_many =
        || Error::new(Code::InvalidEvent, "A type or an envelope field contains the control character U+0009.");
    NewEvent::from_columns(columns).ok_or_else(a_tab_too_many)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Field;

    #[test]
    fn lines_become_appends_and_batches() {
        let empty = "\t".repeat(1 + Field::ALL.len());
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

    #[test]
    fn a_malformed_line_refuses_its_whole_append_and_no_other() {
        let empty = "\t".repeat(1 + Field::ALL.len());
        let line = |head: &str, kind: &str| format!("{head}\t{kind}{empty}\t1");
        let oops = "99999999999999999999-0";
        let packed = [
            line("a\t\t", "t"),
            line("b\t\t", "t"),
            line("\t\t", "a\tb"),
            line("\t\t", "t"),
            line(&format!("c\t{oops}\t"), "t"),
            line("\t\t", "t"),
            line("d\t\t", "t"),
        ];
        let (submissions, refused) = unpack(&packed.join("\n"), 1);
        let shapes: Vec<_> = submissions.iter().map(|s| (s.ticket, &*s.stream, s.events.len())).collect();
        assert_eq!(shapes, [(1, "a", 1), (4, "d", 1)]);
        let codes: Vec<_> = refused.iter().map(|(ticket, error)| (*ticket, error.code())).collect();
        assert_eq!(codes, [(2, Code::InvalidEvent), (3, Code::Validation)]);
    }
}
