//! How long streams live: scripts and commands.

use redis::Cmd;

use super::script::key_beside;
use crate::backend::Life;

/// KEYS: the stream, and the mark that its life was set for good. ARGV: milliseconds, and how they are meant.
///
/// The comparison is our own: `PEXPIRE … GT` came with Redis 7.0, and takes no expiry for the longest.
const KEEP: &str = r"
local stream, ended, life = KEYS[1], KEYS[2], ARGV[1]
local kind = ARGV[2]
if redis.call('TYPE', stream).ok ~= 'stream' or redis.call('EXISTS', ended) == 1 then return 0 end
-- Without an expiry it answers -1.
if kind == 'at least' and redis.call('PTTL', stream) >= tonumber(life) then return 0 end
-- First what a server without memory refuses.
if kind == 'finally' then redis.call('SET', ended, '', 'PX', life) end
return redis.call('PEXPIRE', stream, life)
";

/// Deletes a stream and the mark of its end, and nothing that only has the name of one.
const DELETE: &str = "if redis.call('TYPE', KEYS[1]).ok ~= 'stream' then return 0 end \
                      redis.call('UNLINK', KEYS[2]) return redis.call('UNLINK', KEYS[1])";

pub(super) fn keep(stream: &str, life: Life) -> Cmd {
    let kind = match life {
        Life::AtLeast(_) => "at least",
        Life::Exactly(_) => "exactly",
        Life::Finally(_) => "finally",
    };
    let mut command = script(KEEP, stream);
    command.arg(life.ms()).arg(kind);
    command
}

pub(super) fn delete(stream: &str) -> Cmd {
    script(DELETE, stream)
}

fn script(text: &str, stream: &str) -> Cmd {
    let mut command = redis::cmd("EVAL");
    command.arg(text).arg(2).arg(stream).arg(key_beside(stream, "ended"));
    command
}
