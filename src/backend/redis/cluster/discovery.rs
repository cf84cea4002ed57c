//! Asking nodes of a cluster for the others.

use tokio::task::JoinSet;

use super::slot::{Map, no_cluster};
use crate::backend::redis::connection::{Connection, unreachable};
use crate::backend::redis::options::{Address, RedisOptions};
use crate::backend::redis::wire::{command, not_redis};
use crate::error::{Code, Error, Result};

/// A node, and what it says of its cluster.
struct View {
    address: Address,
    map: Map,
}

/// The view of the first node that answers, once all that were named are known to belong together.
pub(super) async fn discover(options: &RedisOptions, nodes: &[Address]) -> Result<Map> {
    let mut views = Vec::new();
    let mut failures = Vec::new();
    for outcome in ask_all(options, nodes).await {
        match outcome {
            Ok(view) => views.push(view),
            Err(error) => failures.push(error),
        }
    }
    // What is named wrongly is said even if other nodes would do.
    if let Some(wrong) = failures.iter().find(|error| error.code() == Code::Config) {
        return Err(wrong.clone());
    }
    let Some(first) = views.iter().find(|view| !view.map.ids.is_empty()) else {
        let reason = failures.first().map_or("its nodes serve no slots yet", Error::message);
        return Err(unreachable(options, reason));
    };
    // A node without slots knows nobody yet.
    let is_stranger = |view: &&View| !view.map.ids.is_empty() && view.map.ids.is_disjoint(&first.map.ids);
    if let Some(stranger) = views.iter().find(is_stranger) {
        let message = format!(
            "redis.cluster names nodes of two clusters: {} does not know {}; name nodes of one cluster only.",
            stranger.address, first.address
        );
        return Err(Error::new(Code::Config, message));
    }
    let at = views.iter().position(|view| !view.map.ids.is_empty()).unwrap_or_default();
    Ok(views.swap_remove(at).map)
}

async fn ask_all(options: &RedisOptions, nodes: &[Address]) -> Vec<Result<View>> {
    let mut questions = JoinSet::new();
    for (at, node) in nodes.iter().enumerate() {
        let options = options.at(node.clone());
        questions.spawn(async move { (at, ask(&options).await) });
    }
    let mut answers = questions.join_all().await;
    answers.sort_by_key(|(at, _)| *at);
    answers.into_iter().map(|(_, answer)| answer).collect()
}

async fn ask(options: &RedisOptions) -> Result<View> {
    let mut view = None;
    Connection::open_as(options, async |mut connection| {
        connection.introduce(options).await?;
        view = Some(view_of(&mut connection).await?);
        Ok(connection)
    })
    .await?;
    view.ok_or_else(not_redis)
}

async fn view_of(connection: &mut Connection) -> Result<View> {
    let address = connection.address.clone();
    let refused = |error: Error| no_cluster(&address, &error);
    let slots = connection.call(&command([b"CLUSTER", b"SLOTS"])).await.map_err(refused)?;
    Ok(View { map: Map::read(slots, &address)?, address })
}

/// The view of the first of these nodes that answers.
pub(super) async fn ask_any(options: &RedisOptions, nodes: &[Address]) -> Result<Map> {
    let mut failure = None;
    for node in nodes {
        match ask(&options.at(node.clone())).await {
            Ok(view) => return Ok(view.map),
            Err(error) => failure = Some(error),
        }
    }
    Err(failure.unwrap_or_else(|| unreachable(options, "it has no nodes")))
}

/// Connects to a node that may take appends.
pub(super) async fn open_primary(options: &RedisOptions) -> Result<Connection> {
    Connection::open_as(options, async |mut connection| {
        connection.introduce(options).await?;
        connection.check_master(options).await?;
        Ok(connection)
    })
    .await
}
