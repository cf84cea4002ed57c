//! One server or several, with one way in.

use std::sync::Arc;

use super::cluster::Cluster;
use super::home::Home;
use super::link::{Command, Link, Request, Setup};
use super::options::{Address, Topology};
use super::tracking::Tracking;
use crate::backend::{Append, Cursor};
use crate::error::{Error, Result};

/// Where a command goes.
#[derive(Clone, Copy)]
pub(super) enum Target<'a> {
    /// To where this key is.
    Key(&'a str),
    /// To this node of a cluster.
    Node(&'a Address),
    /// To the only server.
    Only,
}

impl<'a> Target<'a> {
    pub(super) fn of(node: &'a Option<Address>) -> Self {
        node.as_ref().map_or(Target::Only, Target::Node)
    }
}

/// Where a listing stands.
pub(super) struct Position {
    node: Option<Address>,
    pub(super) cursor: Box<str>,
}

impl Position {
    pub(super) fn target(&self) -> Target<'_> {
        Target::of(&self.node)
    }
}

/// One server, or whoever has taken its place.
pub(super) struct One {
    link: Link,
    home: Home,
    tracking: Arc<Tracking>,
}

pub(super) enum Servers {
    /// One that has everything, or whoever has taken its place.
    One(Box<One>),
    /// A cluster.
    Many(Box<Cluster>),
}

impl Servers {
    pub(super) fn start(setup: Setup) -> Result<Servers> {
        Ok(match setup.options.topology {
            Topology::Cluster(_) => Servers::Many(Box::new(Cluster::start(setup)?)),
            Topology::Standalone | Topology::Sentinel(_) => {
                let (home, tracking) = (setup.home.clone(), setup.tracking.clone());
                Servers::One(Box::new(One { link: Link::start(setup)?, home, tracking }))
            }
        })
    }

    /// Where announcements can be heard.
    pub(super) fn announcer(&self) -> Home {
        match self {
            Servers::One(one) => one.home.clone(),
            Servers::Many(cluster) => cluster.anywhere(),
        }
    }

    /// Hands appends over; gives them back after the end.
    pub(super) fn submit(&self, appends: Vec<Append>) -> Result<(), Vec<Append>> {
        match self {
            Servers::One(one) => {
                one.link.send(Request::Appends(appends)).map_err(|request| request.into_appends().unwrap_or_default())
            }
            Servers::Many(cluster) => cluster.submit(appends),
        }
    }

    pub(super) fn send(&self, target: Target<'_>, command: Command) -> Result<()> {
        match (self, target) {
            (Servers::One(one), _) => one.link.send(Request::Command(command)).map_err(|_| Error::closed()),
            (Servers::Many(cluster), Target::Key(key)) => cluster.send(key, command),
            (Servers::Many(cluster), Target::Node(node)) => cluster.send_to(node, command),
            // No command of ours concerns a cluster as a whole.
            (Servers::Many(_), Target::Only) => Err(Error::closed()),
        }
    }

    pub(super) async fn connected(&self) -> Result<()> {
        match self {
            Servers::One(one) => one.link.connected().await,
            Servers::Many(cluster) => cluster.connected().await,
        }
    }

    /// Every server that has events.
    pub(super) async fn nodes(&self) -> Result<Vec<Option<Address>>> {
        match self {
            Servers::One(_) => Ok(vec![None]),
            Servers::Many(cluster) => Ok(cluster.primaries().await?.into_iter().map(Some).collect()),
        }
    }

    /// Those that there is a connection to.
    pub(super) fn connected_nodes(&self) -> Vec<Option<Address>> {
        match self {
            Servers::One(one) => one.link.is_connected().then_some(None).into_iter().collect(),
            Servers::Many(cluster) => cluster.connected_nodes().into_iter().map(Some).collect(),
        }
    }

    pub(super) fn is_tracked(&self) -> bool {
        match self {
            Servers::One(one) => one.tracking.is_reliable(),
            Servers::Many(cluster) => cluster.is_tracked(),
        }
    }

    pub(super) fn close(&self) {
        match self {
            Servers::One(one) => one.link.close(),
            Servers::Many(cluster) => cluster.close(),
        }
    }

    /// Where a listing goes on; `None` at its end.
    pub(super) async fn position(&self, cursor: Cursor) -> Result<Option<Position>> {
        let text = match cursor {
            Cursor::Start => return Ok(self.node_after(None).await?.map(|node| Position { node, cursor: "0".into() })),
            Cursor::At(text) => text,
            Cursor::End => return Ok(None),
        };
        let Some((node, cursor)) = text.split_once(' ') else { return Ok(Some(Position { node: None, cursor: text })) };
        let known = self.nodes().await?.into_iter().find(|known| name(known) == node);
        match known {
            Some(node) => Ok(Some(Position { node, cursor: cursor.into() })),
            // Somebody else has what was there, under other cursors.
            None => Ok(self.node_after(None).await?.map(|node| Position { node, cursor: "0".into() })),
        }
    }

    /// Where a listing goes on after a step that answered `next`.
    pub(super) async fn next_position(&self, position: &Position, next: &str) -> Result<Cursor> {
        let (node, cursor) = match next {
            "0" => match self.node_after(Some(&position.node)).await? {
                Some(node) => (node, "0"),
                None => return Ok(Cursor::End),
            },
            next => (position.node.clone(), next),
        };
        Ok(Cursor::At(match node {
            None => cursor.into(),
            Some(node) => format!("{node} {cursor}").into(),
        }))
    }

    /// The next server in the order of a listing; the first after nothing.
    async fn node_after(&self, last: Option<&Option<Address>>) -> Result<Option<Option<Address>>> {
        if let (Servers::One(_), Some(_)) = (self, last) {
            return Ok(None);
        }
        let last = last.map(name);
        Ok(self.nodes().await?.into_iter().find(|node| last.as_ref().is_none_or(|last| name(node) > *last)))
    }
}

fn name(node: &Option<Address>) -> String {
    node.as_ref().map(Address::to_string).unwrap_or_default()
}
