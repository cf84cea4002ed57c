//! One part of a cluster as its link sees it: a primary, or whoever has taken its place.

use std::sync::{Arc, Weak};

use super::discovery::{ask_any, open_primary};
use super::slot::{Redirect, slot_of};
use super::{LaneId, Shared};
use crate::backend::Settled;
use crate::backend::redis::connection::{Connection, unreachable};
use crate::backend::redis::link::Request;
use crate::error::{Error, Result};

/// The way from a link back to the cluster that it belongs to.
#[derive(Clone)]
pub(crate) struct Lane {
    pub(super) shared: Weak<Shared>,
    pub(super) id: LaneId,
}

impl Lane {
    fn shared(&self) -> Result<Arc<Shared>> {
        self.shared.upgrade().ok_or_else(Error::closed)
    }

    /// Connects to where the lane's slots are served; `stream` is one of them.
    pub(crate) async fn open(&self, stream: Option<&str>) -> Result<Connection> {
        let shared = self.shared()?;
        let own = shared.address(self.id)?;
        let options = &shared.template.options;
        let failure = match open_primary(&options.at(own.clone())).await {
            Ok(connection) => return Ok(connection),
            Err(failure) => failure,
        };
        let slot = stream.map(slot_of).or_else(|| shared.a_slot_of(self.id));
        let others: Vec<_> = shared.known().into_iter().filter(|known| *known != own).collect();
        let map = ask_any(options, &others).await.map_err(|_| failure.clone())?;
        let Some(successor) = slot.and_then(|slot| map.owner(slot)).filter(|owner| **owner != own) else {
            return Err(failure);
        };
        let connection = open_primary(&options.at(successor.clone())).await?;
        tracing::warn!(from = %own, to = %successor, "another node of the cluster has taken over");
        shared.relocate(self.id, successor);
        Ok(connection)
    }

    /// Takes back a request that has to go elsewhere. False: it was for nobody.
    pub(crate) fn send_back(&self, request: Request, redirect: Redirect) -> Result<(), Request> {
        match self.shared.upgrade() {
            Some(shared) => {
                shared.take_back(self.id, request, redirect);
                Ok(())
            }
            None => Err(request),
        }
    }

    /// Everything that was sent to this lane for the slot before the fence has been answered.
    pub(crate) fn passed(&self, slot: u16) {
        if let Some(shared) = self.shared.upgrade() {
            shared.fence_passed(self.id, slot);
        }
    }

    /// An append was stored although one before it was sent back.
    pub(crate) fn overtaken(&self, stream: &str, serial: u64) -> Vec<Settled> {
        self.shared.upgrade().map(|shared| shared.overtaken(stream, serial)).unwrap_or_default()
    }
}

/// Any node: announcements reach all of them.
#[derive(Clone)]
pub(crate) struct Anywhere(pub(super) Weak<Shared>);

impl Anywhere {
    /// Connects to the first node that can be reached, beginning with another one each time.
    pub(crate) async fn open(&self) -> Result<Connection> {
        let shared = self.0.upgrade().ok_or_else(Error::closed)?;
        let mut nodes = shared.known();
        let first = shared.next_turn() % nodes.len().max(1);
        nodes.rotate_left(first);
        let mut failure = unreachable(&shared.template.options, "it has no nodes");
        for node in nodes {
            match Connection::open(&shared.template.options.at(node)).await {
                Ok(connection) => return Ok(connection),
                Err(error) => failure = error,
            }
        }
        Err(failure)
    }
}
