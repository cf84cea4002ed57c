//! Which slot a key lies in, and who serves it.
//! Source: <https://redis.io/docs/latest/operate/oss_and_stack/reference/cluster-spec/>

use std::collections::HashSet;

use crc::{CRC_16_XMODEM, Crc};
use redis::{FromRedisValue, Value};

use crate::backend::redis::options::Address;
use crate::backend::redis::wire::{line, not_redis};
use crate::error::{Code, Error, Result};

/// How many slots a cluster has.
pub(super) const SLOTS: u16 = 16_384;

const CHECKSUM: Crc<u16> = Crc::<u16>::new(&CRC_16_XMODEM);

/// The slot of a key: of its hash tag, if it has one.
pub(super) fn slot_of(key: &str) -> u16 {
    let tag = key.split_once('{').and_then(|(_, rest)| rest.split_once('}')).map(|(tag, _)| tag);
    CHECKSUM.checksum(tag.filter(|tag| !tag.is_empty()).unwrap_or(key).as_bytes()) % SLOTS
}

/// Who serves which slots, as one node sees it.
#[derive(Debug, Default)]
pub(super) struct Map {
    ranges: Vec<(u16, u16, Address)>,
    /// The names of the nodes.
    pub(super) ids: HashSet<String>,
}

impl Map {
    /// Reads the answer of `CLUSTER SLOTS` that came from `asked`.
    pub(super) fn read(answer: Value, asked: &Address) -> Result<Map> {
        let mut map = Map::default();
        for range in Vec::<Vec<Value>>::from_redis_value(answer).map_err(|_| not_redis())? {
            let mut parts = range.into_iter();
            let (Some(first), Some(last), Some(primary)) = (parts.next(), parts.next(), parts.next()) else {
                return Err(not_redis());
            };
            let number = |value| u16::from_redis_value(value).ok().filter(|slot| *slot < SLOTS).ok_or_else(not_redis);
            let (address, id) = read_node(primary, asked)?;
            map.ranges.push((number(first)?, number(last)?, address));
            map.ids.extend(id);
            map.ids.extend(parts.filter_map(|replica| read_node(replica, asked).ok()?.1));
        }
        Ok(map)
    }

    /// Who serves a slot.
    pub(super) fn owner(&self, slot: u16) -> Option<&Address> {
        self.ranges.iter().find(|(first, last, _)| (*first..=*last).contains(&slot)).map(|(_, _, address)| address)
    }

    /// Every primary that serves any slot, in an order of its own.
    pub(super) fn primaries(&self) -> Vec<Address> {
        let distinct: HashSet<&Address> = self.ranges.iter().map(|(_, _, address)| address).collect();
        let mut primaries: Vec<Address> = distinct.into_iter().cloned().collect();
        primaries.sort_by_key(Address::to_string);
        primaries
    }
}

fn read_node(node: Value, asked: &Address) -> Result<(Address, Option<String>)> {
    let mut parts = Vec::<Value>::from_redis_value(node).map_err(|_| not_redis())?.into_iter();
    let host = parts.next().and_then(|host| Option::<String>::from_redis_value(host).ok()).flatten();
    let port = parts.next().and_then(|port| u16::from_redis_value(port).ok()).ok_or_else(not_redis)?;
    let id = parts.next().and_then(|id| String::from_redis_value(id).ok());
    Ok((address(host.as_deref().unwrap_or_default(), port, asked), id))
}

/// A node that does not know its own address is where it was asked.
fn address(host: &str, port: u16, asked: &Address) -> Address {
    match (host, asked) {
        ("" | "?", Address::Tcp(asked, _)) => Address::Tcp(asked.clone(), port),
        _ => Address::Tcp(host.to_owned(), port),
    }
}

/// What a node answers that does not do what it was asked for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Redirect {
    /// Another node serves the slot from now on.
    Moved(u16, Address),
    /// Another node has this key already; the slot follows.
    Ask(Address),
    /// Later, with the reason.
    Wait(String),
}

impl Redirect {
    /// Reads a reply; `None` if it is anything else. `asked` is where it came from.
    pub(crate) fn read(frame: &[u8], asked: &Address) -> Option<Redirect> {
        if *frame.first()? != b'-' {
            return None;
        }
        let text = std::str::from_utf8(line(frame, 1)?.0).ok()?;
        let mut words = text.split(' ');
        match words.next()? {
            kind @ ("MOVED" | "ASK") => {
                let slot = words.next()?.parse().ok().filter(|slot| *slot < SLOTS)?;
                let (host, port) = words.next()?.rsplit_once(':')?;
                let address = address(host, port.parse().ok()?, asked);
                Some(if kind == "ASK" { Redirect::Ask(address) } else { Redirect::Moved(slot, address) })
            }
            "TRYAGAIN" | "CLUSTERDOWN" => Some(Redirect::Wait(text.to_owned())),
            _ => None,
        }
    }
}

/// What is wrong with a server that can't be asked for its cluster.
pub(super) fn no_cluster(asked: &Address, error: &Error) -> Error {
    match error.message().contains("cluster support disabled") {
        true => Error::new(
            Code::Config,
            format!(
                "redis.cluster names {asked}, which is a standalone server; name nodes of one cluster only, or use redis.url."
            ),
        ),
        false => error.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_those_of_redis() {
        // As CLUSTER KEYSLOT answers.
        for (key, slot) in
            [("123456789", 12739), ("foo", 12182), ("nq:flow:{foo}:x", 12182), ("a{}{foo}", slot_of("a{}{foo}"))]
        {
            assert_eq!(slot_of(key), slot, "{key}");
        }
        assert_eq!(slot_of("{nq:flow:1}:idempotency:k"), slot_of("nq:flow:1"));
    }

    #[test]
    fn reads_redirections_and_nothing_else() {
        let asked = Address::Tcp("here".into(), 1);
        let read = |text: &str| Redirect::read(text.as_bytes(), &asked);
        let tcp = |host: &str, port| Address::Tcp(host.into(), port);
        assert_eq!(read("-MOVED 7 10.0.0.1:7000\r\n"), Some(Redirect::Moved(7, tcp("10.0.0.1", 7000))));
        assert_eq!(read("-MOVED 7 :7000\r\n"), Some(Redirect::Moved(7, tcp("here", 7000))));
        assert_eq!(read("-ASK 7 ::1:7000\r\n"), Some(Redirect::Ask(tcp("::1", 7000))));
        assert_eq!(read("-TRYAGAIN x\r\n"), Some(Redirect::Wait("TRYAGAIN x".into())));
        for other in ["-ERR MOVED\r\n", "-MOVED\r\n", "-MOVED 99999 a:1\r\n", "-MOVED 1 a\r\n", "+MOVED 1 a:1\r\n", ""]
        {
            assert_eq!(read(other), None, "{other}");
        }
    }
}
