//! Appends that have to be decided and stored in one step: batches, conditions, idempotency keys.

use super::entry::{field_parts, write_fields};
use super::wire::{begin, part, value};
use crate::backend::{Append, IDEMPOTENCY_MS, Receipt, conflict};
use crate::error::{Code, Error, Result};
use crate::event::{EventId, NewEvent};

use redis::{FromRedisValue, Value};

/// KEYS: the stream, and where the idempotency key is remembered (if there is one).
/// ARGV: expected last id or '', how long to remember, number of events, then for each event the
/// number of its names and values, and those; the last value is the event's identity.
const APPEND: &str = r"
local stream, remembered = KEYS[1], KEYS[2]
if remembered then
  local stored = redis.call('GET', remembered)
  local entries = stored and stored ~= '' and {}
  for id, eid in string.gmatch(stored or '', '(%S+) (%S+)') do
    local entry = redis.call('XRANGE', stream, id, id)[1]
    -- The stream may have been deleted, and the id be another event's now.
    if not entry or entry[2][#entry[2]] ~= eid then entries = nil break end
    entries[#entries + 1] = entry
  end
  if entries then return {'repeated', entries} end
end
if ARGV[1] ~= '' then
  local last = redis.call('XREVRANGE', stream, '+', '-', 'COUNT', 1)
  local id = last[1] and last[1][1] or '0-0'
  if id ~= ARGV[1] then return {'conflict', id} end
end
-- Before anything is stored: who may not remember must not append.
if remembered then redis.call('SET', remembered, '', 'PX', ARGV[2]) end
local ids, stored, at = {}, {}, 4
for n = 1, tonumber(ARGV[3]) do
  local count = tonumber(ARGV[at])
  ids[n] = redis.call('XADD', stream, '*', unpack(ARGV, at + 1, at + count))
  stored[n] = ids[n] .. ' ' .. ARGV[at + count]
  at = at + count + 1
end
if remembered then redis.call('SET', remembered, table.concat(stored, ' '), 'PX', ARGV[2]) end
return {'stored', ids}
";

/// Whether an append touches a key beside its stream: while their slot moves it may be refused for that.
pub(super) fn has_two_keys(append: &Append) -> bool {
    append.idempotency_key.is_some()
}

/// Whether an append needs the script.
pub(super) fn is_needed(append: &Append) -> bool {
    append.events.len() != 1 || append.expected_last_id.is_some() || append.idempotency_key.is_some()
}

/// Writes the call of the script. `eid` names each event by its place in the batch.
///
/// The script travels whole each time: a server that forgot it (restart, `SCRIPT FLUSH`) would
/// otherwise refuse this append while later ones of the same pipeline go through.
pub(super) fn write_append(out: &mut Vec<u8>, append: &Append, ts: &str, eid: impl Fn(usize) -> String) {
    let remembered =
        append.idempotency_key.as_deref().map(|key| key_beside(&append.stream, &format!("idempotency:{key}")));
    let keys = 1 + usize::from(remembered.is_some());
    let arguments: usize = 3 + append.events.iter().map(|event: &NewEvent| 1 + field_parts(event)).sum::<usize>();
    begin(out, 3 + keys + arguments);
    part(out, b"EVAL");
    part(out, APPEND.as_bytes());
    number(out, keys as u64);
    part(out, append.stream.as_bytes());
    remembered.iter().for_each(|key| part(out, key.as_bytes()));
    part(out, append.expected_last_id.map_or(String::new(), |id| id.to_string()).as_bytes());
    number(out, IDEMPOTENCY_MS);
    number(out, append.events.len() as u64);
    for (n, event) in append.events.iter().enumerate() {
        number(out, field_parts(event) as u64);
        write_fields(out, event, ts, &eid(n));
    }
}

fn number(out: &mut Vec<u8>, number: u64) {
    part(out, itoa::Buffer::new().format(number).as_bytes());
}

/// A key beside a stream, in the same slot of a cluster.
/// Source: <https://redis.io/docs/latest/operate/oss_and_stack/reference/cluster-spec/#hash-tags>
pub(super) fn key_beside(stream: &str, name: &str) -> String {
    let tagged =
        stream.split_once('{').and_then(|(_, rest)| rest.split_once('}')).is_some_and(|(tag, _)| !tag.is_empty());
    match tagged {
        true => format!("{stream}:{name}"),
        false => format!("{{{stream}}}:{name}"),
    }
}

/// Reads what the script answered.
pub(super) fn read_receipt(frame: &[u8], append: &Append) -> Result<Receipt> {
    let Value::Array(mut answer) = value(frame)? else { return Err(unexpected()) };
    let (Some(payload), Some(verdict)) = (answer.pop(), answer.pop()) else { return Err(unexpected()) };
    match text(verdict)?.as_str() {
        "stored" => Vec::<String>::from_redis_value(payload)
            .map_err(|_| unexpected())?
            .iter()
            .map(|id| id.parse())
            .collect::<Result<Vec<EventId>>>()
            .map(Receipt::stored),
        "conflict" => {
            let expected = append.expected_last_id.unwrap_or_default();
            Err(conflict(&append.stream, expected, text(payload)?.parse()?))
        }
        "repeated" => {
            // The records stand in the second element, in the form of a range.
            let head = b"*2\r\n$8\r\nrepeated\r\n".len();
            let range = frame.get(head..).ok_or_else(unexpected)?;
            super::entry::read_range(range, &append.stream).map(Receipt::Repeated)
        }
        _ => Err(unexpected()),
    }
}

fn text(value: Value) -> Result<String> {
    String::from_redis_value(value).map_err(|_| unexpected())
}

fn unexpected() -> Error {
    Error::new(Code::Internal, "The append script gave an unexpected answer.")
}

#[cfg(test)]
mod tests {
    use super::key_beside;

    #[test]
    fn keys_beside_a_stream_share_its_slot() {
        assert_eq!(key_beside("nq:flow:1", "idempotency:k"), "{nq:flow:1}:idempotency:k");
        assert_eq!(key_beside("nq:{a}:1", "ended"), "nq:{a}:1:ended");
        assert_eq!(key_beside("nq:{}:1", "ended"), "{nq:{}:1}:ended");
    }
}
