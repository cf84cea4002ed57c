//! Appends as they are packed by JavaScript: the appends of a tick in one text.
//!
//! One line an event, its columns separated by tabs: stream, expected last id, idempotency key,
//! type, the envelope in the order of [`Field::ALL`], data. An empty column is an absent value; a
//! line without a stream goes on with the batch of the line before. JSON text has neither tabs nor
//! line breaks.

use crate::error::{Code, Error, Result};
use crate::event::{Envelope, Field, NewEvent};
use crate::store::{AppendOptions, Submission};

/// The columns before the envelope.
const LEADING: usize = 4;

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

type Head = Option<(String, AppendOptions)>;

fn unpack_line(line: &str) -> Result<(Head, NewEvent)> {
    let mut columns = line.splitn(LEADING + Field::ALL.len() + 1, '\t');
    let mut next = || columns.next().unwrap_or_default();
    let (stream, expected, key) = (next(), next(), next());
    let mut event = NewEvent::new(next());
    event.envelope = Envelope::with_capacity(128);
    for field in Field::ALL {
        let value = next();
        if !value.is_empty() {
            event.envelope.set(field, value);
        }
    }
    let data = next();
    if data.contains('\t') {
        return Err(Error::new(Code::InvalidEvent, "A name or an envelope field contains the control character U+0009."));
    }
    event.data = Some(data).filter(|data| !data.is_empty()).map(str::to_owned);
    let expected_last_id = Some(expected).filter(|id| !id.is_empty()).map(str::parse).transpose()?;
    let idempotency_key = Some(key).filter(|key| !key.is_empty()).map(str::to_owned);
    let head = (!stream.is_empty()).then(|| (stream.to_owned(), AppendOptions { expected_last_id, idempotency_key }));
    Ok((head, event))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_become_appends_and_batches() {
        let empty = "\t".repeat(Field::ALL.len());
        let line = |head: &str, data: &str| format!("{head}\ttype{empty}\t{data}");
        let packed = [line("a\t\t", "1"), line("b\t5-0\tkey", "2"), line("\t\t", "3"), line("c\toops\t", "4"), line("d\t\t", "")].join("\n");
        let (submissions, refused) = unpack(&packed, 7);
        let shapes: Vec<_> = submissions.iter().map(|s| (s.ticket, s.stream.as_str(), s.events.len())).collect();
        assert_eq!(shapes, [(7, "a", 1), (8, "b", 2), (10, "d", 1)]);
        assert_eq!(submissions[1].options.idempotency_key.as_deref(), Some("key"));
        assert_eq!(submissions[2].events[0].data, None);
        assert_eq!((refused[0].0, refused[0].1.code()), (9, Code::Validation));
    }
}
