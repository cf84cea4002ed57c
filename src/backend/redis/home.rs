//! Where connections lead to.

use super::cluster::{Anywhere, Lane};
use super::connection::Connection;
use super::options::{RedisOptions, Topology};
use super::sentinel::open_master;
use crate::error::{Code, Error, Result};

/// What finds the server at each attempt to connect.
#[derive(Clone)]
pub(super) enum Home {
    /// Whatever the options lead to.
    Options(Box<RedisOptions>),
    /// A part of a cluster, wherever it is served at the moment.
    Lane(Lane),
    /// Any node of a cluster.
    Anywhere(Anywhere),
}

impl Home {
    /// Connects, and makes sure that this is the right server. `stream` is one that has to be there.
    pub(super) async fn open(&self, stream: Option<&str>) -> Result<Connection> {
        match self {
            Home::Options(options) => match &options.topology {
                Topology::Standalone => open_standalone(options).await,
                Topology::Sentinel(sentinel) => open_master(options, sentinel).await,
                // Its parts have homes of their own.
                Topology::Cluster(_) => Connection::open(options).await,
            },
            Home::Lane(lane) => lane.open(stream).await,
            Home::Anywhere(anywhere) => anywhere.open().await,
        }
    }

    /// Whether another server takes the place of one that became a replica.
    pub(super) fn has_successors(&self) -> bool {
        match self {
            Home::Options(options) => options.topology != Topology::Standalone,
            Home::Lane(_) | Home::Anywhere(_) => true,
        }
    }
}

async fn open_standalone(options: &RedisOptions) -> Result<Connection> {
    let connection = Connection::open(options).await?;
    let (kind, place) = match connection.mode.as_deref() {
        Some("cluster") => ("a node of a cluster", "redis.cluster, without redis.url and redis.host"),
        Some("sentinel") => ("a Sentinel", "redis.sentinel, without redis.url and redis.host"),
        _ => return Ok(connection),
    };
    let message = format!("Redis at {options} is {kind}; name it in {place}.");
    Err(Error::new(Code::Config, message))
}
