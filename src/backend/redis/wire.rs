//! RESP, as far as the hot paths need it: finding where a reply ends, and writing commands.
//! Everything else about the protocol is left to the redis crate.
//! Source: <https://redis.io/docs/latest/develop/reference/protocol-spec/>

use redis::Value;

use crate::error::{Code, Error, Result};

/// Finds the end of a reply, going on where it stopped when more bytes have come.
#[derive(Debug, Default)]
pub(super) struct FrameScanner {
    /// How much of the reply has been looked at.
    position: usize,
    /// How many values are still to come before the reply is whole; 0: a new reply begins.
    missing: usize,
}

impl FrameScanner {
    /// The length of the reply that `bytes` begin with; `None` while it is not whole.
    pub(super) fn frame_length(&mut self, bytes: &[u8]) -> Result<Option<usize>> {
        if self.missing == 0 {
            *self = FrameScanner { position: 0, missing: 1 };
        }
        while self.missing > 0 {
            let Some((head, next)) = line(bytes, self.position) else { return Ok(None) };
            let (kind, rest) = head.split_first().ok_or_else(not_redis)?;
            let mut end = next;
            match kind {
                b'+' | b'-' | b':' | b'_' | b'#' | b',' | b'(' => {}
                b'$' | b'=' | b'!' => {
                    if let Some(length) = length(rest)? {
                        end = next.checked_add(length).and_then(|end| end.checked_add(2)).ok_or_else(not_redis)?;
                        if bytes.len() < end {
                            return Ok(None);
                        }
                    }
                }
                b'*' | b'~' | b'>' => self.missing += length(rest)?.unwrap_or(0),
                b'%' => self.missing += 2 * length(rest)?.unwrap_or(0),
                // Attributes stand before the value that they belong to.
                b'|' => self.missing += 2 * length(rest)?.unwrap_or(0) + 1,
                _ => return Err(not_redis()),
            }
            self.position = end;
            self.missing -= 1;
        }
        Ok(Some(self.position))
    }
}

/// The line that begins at `from`, and where the next one begins. Lines are short: a plain loop
/// beats a vectorised search.
pub(super) fn line(bytes: &[u8], from: usize) -> Option<(&[u8], usize)> {
    let rest = bytes.get(from..)?;
    let end = rest.iter().position(|byte| *byte == b'\r')?;
    (rest.len() > end + 1).then(|| (&rest[..end], from + end + 2))
}

/// A length in a reply; `None` for the null of RESP2.
pub(super) fn length(digits: &[u8]) -> Result<Option<usize>> {
    if digits == b"-1" {
        return Ok(None);
    }
    let value = digits.iter().try_fold(0_usize, |value, byte| {
        let digit = byte.checked_sub(b'0').filter(|digit| *digit <= 9)?;
        value.checked_mul(10)?.checked_add(usize::from(digit))
    });
    // No reply of a real server comes near this; it keeps arithmetic on lengths safe.
    value.filter(|value| *value <= 1 << 40 && !digits.is_empty()).map(Some).ok_or_else(not_redis)
}

pub(super) fn not_redis() -> Error {
    Error::new(Code::Unavailable, "The answer is not in the protocol of Redis; is it a Redis server?")
}

/// The value of a whole reply. Errors of the server become errors.
pub(super) fn value(frame: &[u8]) -> Result<Value> {
    if let Some(refusal) = refusal(frame) {
        return Err(refusal);
    }
    let value = redis::parse_redis_value(frame).map_err(|error| not_redis().caused_by(error))?;
    value.extract_error().map_err(|error| Error::new(Code::Backend, format!("Redis refused: {error}")))
}

/// The error that a reply is, if it is one.
pub(super) fn refusal(frame: &[u8]) -> Option<Error> {
    let text = match frame.first()? {
        b'-' => line(frame, 1)?.0,
        b'!' => line(frame, line(frame, 0)?.1)?.0,
        _ => return None,
    };
    let text = String::from_utf8_lossy(text);
    // Where in our script it happened is of no use to anyone else.
    let message = text.split(" script: ").next().unwrap_or_default();
    Some(Error::new(Code::Backend, format!("Redis refused: {message}")))
}

/// The texts in a push or an array; `None` if it holds anything else. Numbers count as texts.
pub(super) fn texts(frame: &[u8]) -> Option<Vec<&str>> {
    let (head, mut at) = line(frame, 0)?;
    let count = match head.split_first()? {
        (b'>' | b'*', digits) => length(digits).ok()??,
        _ => return None,
    };
    let mut next = || {
        let (head, start) = line(frame, at)?;
        let (text, end) = match head.split_first()? {
            (b'$', digits) => {
                let length = length(digits).ok()??;
                (frame.get(start..start + length)?, start + length + 2)
            }
            (b':' | b'+', text) => (text, start),
            _ => return None,
        };
        at = end;
        std::str::from_utf8(text).ok()
    };
    // A count that lies ends with the frame.
    (0..count.min(frame.len())).map(|_| next()).collect()
}

/// Begins a command of `count` parts.
pub(super) fn begin(out: &mut Vec<u8>, count: usize) {
    header(out, b'*', count);
}

/// Writes one part of a command.
pub(super) fn part(out: &mut Vec<u8>, bytes: &[u8]) {
    header(out, b'$', bytes.len());
    out.extend_from_slice(bytes);
    out.extend_from_slice(b"\r\n");
}

fn header(out: &mut Vec<u8>, kind: u8, number: usize) {
    out.push(kind);
    out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
    out.extend_from_slice(b"\r\n");
}

/// A whole command.
pub(super) fn command<const N: usize>(parts: [&[u8]; N]) -> Vec<u8> {
    let mut out = Vec::with_capacity(32 + parts.iter().map(|part| part.len() + 8).sum::<usize>());
    begin(&mut out, N);
    parts.iter().for_each(|bytes| part(&mut out, bytes));
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn finds_the_end_of_every_kind_of_reply() {
        for frame in [
            "+OK\r\n",
            "-ERR no\r\n",
            ":1\r\n",
            "$-1\r\n",
            "$0\r\n\r\n",
            "$3\r\na\r\n\r\n",
            "*-1\r\n",
            "*0\r\n",
            "_\r\n",
            "#t\r\n",
            ",1.5\r\n",
            "*2\r\n:1\r\n*1\r\n$1\r\nx\r\n",
            "%1\r\n+a\r\n:1\r\n",
            ">2\r\n+x\r\n$1\r\ny\r\n",
            "|1\r\n+a\r\n:1\r\n:5\r\n",
            "!5\r\nERR x\r\n",
            "=5\r\ntxt:a\r\n",
            "~1\r\n+a\r\n",
        ] {
            let mut bytes = frame.as_bytes().to_vec();
            bytes.extend_from_slice(b"+NEXT\r\n");
            assert_eq!(FrameScanner::default().frame_length(&bytes).unwrap(), Some(frame.len()), "{frame:?}");
        }
    }

    #[test]
    fn reads_the_texts_of_a_push() {
        assert_eq!(texts(b">3\r\n$7\r\nmessage\r\n$1\r\nc\r\n:1\r\n"), Some(vec!["message", "c", "1"]));
        assert_eq!(texts(b"*2\r\n$1\r\na\r\n"), None);
        assert_eq!(texts(b"+PONG\r\n"), None);
    }

    #[test]
    fn refuses_what_is_not_redis() {
        assert!(FrameScanner::default().frame_length(b"HTTP/1.1 400\r\n").is_err());
        assert!(FrameScanner::default().frame_length(b"$99999999999999999999\r\n").is_err());
        assert!(FrameScanner::default().frame_length(b"\r\n").is_err());
    }

    proptest! {
        #[test]
        fn pieces_give_the_same_end_as_the_whole(cut in 0_usize..60) {
            let frame: &[u8] = b"*2\r\n*2\r\n$3\r\n1-0\r\n*2\r\n$1\r\na\r\n$2\r\n\r\n\r\n:77\r\n";
            let mut scanner = FrameScanner::default();
            let cut = cut.min(frame.len() - 1);
            prop_assert_eq!(scanner.frame_length(&frame[..cut]).unwrap(), None);
            prop_assert_eq!(scanner.frame_length(frame).unwrap(), Some(frame.len()));
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = FrameScanner::default().frame_length(&bytes);
            let _ = refusal(&bytes);
            let _ = texts(&bytes);
        }
    }
}
