//! A Redis Cluster: one link a primary, and the way of each request to the right one.
//!
//! Everything about a stream lies in one slot, and goes over one link, so what holds for a server
//! holds for each stream. What a slot's move and a fail-over need beyond that is in [`hold`] and
//! [`lane`]. See `docs/decisions/redis-cluster.md`.

mod discovery;
mod hold;
mod lane;
mod slot;

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, oneshot, watch};

use self::discovery::{ask_any, discover};
use self::hold::{Hold, expire};
pub(super) use self::lane::{Anywhere, Lane};
pub(super) use self::slot::Redirect;
use self::slot::{Map, SLOTS, slot_of};
use super::home::Home;
use super::link::{BACKOFF, Command, Link, Request, Setup, Status};
use super::options::{Address, Topology};
use super::script;
use super::tracking::Tracking;
use super::wire::{command, value};
use crate::backend::{Append, Settled};
use crate::clock::{deadline, monotonic};
use crate::error::{Error, Result};
use crate::io::Task;

/// A primary and whoever takes its place.
type LaneId = usize;

/// How long a request waits for a slot that is not served at the moment.
const PAUSE: Duration = Duration::from_millis(20);
/// How exactly the times of waiting requests are kept.
const TURN: Duration = Duration::from_millis(10);

/// The handle.
pub(super) struct Cluster {
    shared: Arc<Shared>,
    status: watch::Receiver<Status>,
    tasks: [Task; 2],
}

pub(super) struct Shared {
    /// What each link is set up with.
    template: Setup,
    nodes: Vec<Address>,
    state: Mutex<State>,
    /// Something waits.
    waits: Arc<Notify>,
    turns: AtomicUsize,
}

#[derive(Default)]
struct State {
    /// The lane of each slot; empty until the cluster was found.
    table: Vec<LaneId>,
    lanes: Vec<LaneState>,
    holds: HashMap<u16, Hold>,
    /// What came before the cluster was found.
    early: Vec<Request>,
    /// Of the latest append.
    serial: u64,
    trouble: Option<String>,
    closed: bool,
}

struct LaneState {
    address: Address,
    link: Link,
    tracking: Arc<Tracking>,
    /// How many slots it has.
    slots: usize,
}

impl Cluster {
    /// Begins to look for the cluster.
    pub(super) fn start(template: Setup) -> Result<Cluster> {
        let nodes = match &template.options.topology {
            Topology::Cluster(nodes) => nodes.clone(),
            Topology::Standalone | Topology::Sentinel(_) => Vec::new(),
        };
        let waits = Arc::new(Notify::new());
        let (state, turns) = Default::default();
        let shared = Arc::new(Shared { template, nodes, state, waits: waits.clone(), turns });
        let (sender, status) = watch::channel(None);
        let tasks =
            [Task::spawn(find(shared.clone(), sender))?, Task::spawn(keep_times(Arc::downgrade(&shared), waits))?];
        Ok(Cluster { shared, status, tasks })
    }

    /// A way to any of the nodes.
    pub(super) fn anywhere(&self) -> Home {
        Home::Anywhere(Anywhere(Arc::downgrade(&self.shared)))
    }

    /// Hands appends over; gives them back if the cluster was closed.
    pub(super) fn submit(&self, appends: Vec<Append>) -> Result<(), Vec<Append>> {
        let mut state = self.shared.lock();
        if state.closed {
            return Err(appends);
        }
        if let Some(last) = appends.last() {
            state.serial = last.serial;
        }
        self.shared.route_appends(&mut state, appends);
        Ok(())
    }

    /// Sends a command about a key.
    pub(super) fn send(&self, key: &str, mut command: Command) -> Result<()> {
        let mut state = self.shared.lock();
        if state.closed {
            return Err(Error::closed());
        }
        command.slot = Some(slot_of(key));
        command.order = state.serial;
        self.shared.route(&mut state, Request::Command(command));
        Ok(())
    }

    /// Sends a command to one node.
    pub(super) fn send_to(&self, node: &Address, command: Command) -> Result<()> {
        let mut state = self.shared.lock();
        let lane = self.shared.lane_at(&mut state, node)?;
        state.lanes[lane].link.send(Request::Command(command)).map_err(|_| Error::closed())
    }

    /// All primaries that serve slots now.
    pub(super) async fn primaries(&self) -> Result<Vec<Address>> {
        self.connected().await?;
        let map = match self.ask_connected().await {
            Some(map) => map,
            None => ask_any(&self.shared.template.options, &self.shared.known()).await?,
        };
        Ok(map.primaries())
    }

    /// Asks a node that there is a connection to.
    async fn ask_connected(&self) -> Option<Map> {
        let node = self.connected_nodes().into_iter().next()?;
        let (reply, answer) = oneshot::channel();
        let (bytes, deadline) =
            (command([b"CLUSTER", b"SLOTS"]), deadline(self.shared.template.options.connect_timeout));
        let question = Command { bytes, repeatable: true, deadline, slot: None, order: 0, reply };
        self.send_to(&node, question).ok()?;
        Map::read(value(&answer.await.ok()?.ok()?).ok()?, &node).ok()
    }

    /// The outcome of the first attempt to find the cluster and to connect to its primaries.
    pub(super) async fn connected(&self) -> Result<()> {
        let mut status = self.status.clone();
        let outcome = status.wait_for(Option::is_some).await.map_err(|_| Error::closed())?.clone();
        outcome.unwrap_or(Ok(()))?;
        let lanes: Vec<_> = self.shared.lock().lanes.iter().map(|lane| lane.link.connected()).collect();
        for lane in lanes {
            lane.await?;
        }
        Ok(())
    }

    /// The nodes that there is a connection to.
    pub(super) fn connected_nodes(&self) -> Vec<Address> {
        let state = self.shared.lock();
        state.lanes.iter().filter(|lane| lane.link.is_connected()).map(|lane| lane.address.clone()).collect()
    }

    /// Whether silence of the nodes means that nothing has changed.
    pub(super) fn is_tracked(&self) -> bool {
        let state = self.shared.lock();
        !state.lanes.is_empty()
            && state.lanes.iter().filter(|lane| lane.slots > 0).all(|lane| lane.tracking.is_reliable())
    }

    /// Ends all connections. Whoever still waits is told that it was closed.
    pub(super) fn close(&self) {
        let mut state = self.shared.lock();
        state.closed = true;
        self.tasks.iter().for_each(Task::end);
        state.lanes.iter().for_each(|lane| lane.link.close());
        let held = std::mem::take(&mut state.holds).into_values().flat_map(Hold::into_requests);
        let waiting: Vec<Request> = std::mem::take(&mut state.early).into_iter().chain(held).collect();
        drop(state);
        let appends = waiting.into_iter().filter_map(Request::into_appends).flatten();
        self.shared.settle(appends.map(|append| append.settled(Err(Error::closed()))).collect());
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.close();
    }
}

/// Looks for the cluster until it is found.
async fn find(shared: Arc<Shared>, status: watch::Sender<Status>) {
    let mut pauses = BACKOFF.iter();
    let mut pause = 0;
    loop {
        match discover(&shared.template.options, &shared.nodes).await.and_then(|map| shared.begin(&map)) {
            Ok(()) => {
                status.send_replace(Some(Ok(())));
                return;
            }
            Err(error) => {
                tracing::debug!(%error, "the cluster was not found; trying again");
                shared.lock().trouble = Some(error.message().to_owned());
                status.send_replace(Some(Err(error)));
            }
        }
        pause = pauses.next().copied().unwrap_or(pause);
        tokio::time::sleep(Duration::from_millis(pause)).await;
    }
}

/// Keeps the deadlines of what waits, and sends it when its time has come.
async fn keep_times(shared: std::sync::Weak<Shared>, waits: Arc<Notify>) {
    loop {
        waits.notified().await;
        loop {
            tokio::time::sleep(TURN).await;
            match shared.upgrade() {
                None => return,
                Some(shared) if !shared.turn() => break,
                Some(_) => {}
            }
        }
    }
}

impl Shared {
    /// A lock is poisoned only by a panic; what it guards here is whole at every step.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn settle(&self, settled: Vec<Settled>) {
        if !settled.is_empty() {
            self.template.upwards.settle.settle(settled);
        }
    }

    /// Sends what has waited for the cluster.
    fn begin(self: &Arc<Self>, map: &Map) -> Result<()> {
        let mut state = self.lock();
        let mut table = Vec::with_capacity(usize::from(SLOTS));
        for slot in 0..SLOTS {
            // Nobody serves it yet: whoever is asked says so.
            let owner = map.owner(slot).or_else(|| map.owner(0)).or(self.nodes.first());
            let lane = owner.map_or(Ok(0), |owner| self.lane_at(&mut state, owner))?;
            state.lanes[lane].slots += 1;
            table.push(lane);
        }
        state.table = table;
        for request in std::mem::take(&mut state.early) {
            self.route(&mut state, request);
        }
        Ok(())
    }

    /// The lane that leads to a node, made if there is none.
    fn lane_at(self: &Arc<Self>, state: &mut State, node: &Address) -> Result<LaneId> {
        if let Some(lane) = state.lanes.iter().position(|lane| lane.address == *node) {
            return Ok(lane);
        }
        let id = state.lanes.len();
        let tracking = Arc::new(Tracking::new());
        let home = Home::Lane(Lane { shared: Arc::downgrade(self), id });
        let link = Link::start(Setup { tracking: tracking.clone(), home, ..self.template.clone() })?;
        state.lanes.push(LaneState { address: node.clone(), link, tracking, slots: 0 });
        Ok(id)
    }

    fn address(&self, lane: LaneId) -> Result<Address> {
        self.lock().lanes.get(lane).map(|lane| lane.address.clone()).ok_or_else(Error::closed)
    }

    fn a_slot_of(&self, lane: LaneId) -> Option<u16> {
        self.lock().table.iter().position(|of| *of == lane).map(|slot| slot as u16)
    }

    /// Every node that was ever heard of: first those that were found, then those that were named.
    fn known(&self) -> Vec<Address> {
        let mut known: Vec<Address> = self.lock().lanes.iter().map(|lane| lane.address.clone()).collect();
        known.extend(self.nodes.iter().cloned());
        let mut seen = std::collections::HashSet::new();
        known.retain(|node| seen.insert(node.clone()));
        known
    }

    fn next_turn(&self) -> usize {
        self.turns.fetch_add(1, Ordering::Relaxed)
    }

    fn relocate(&self, lane: LaneId, node: &Address) {
        self.lock().lanes[lane].address = node.clone();
    }

    /// Those to one lane go there together.
    fn route_appends(&self, state: &mut State, appends: Vec<Append>) {
        let mut batches: Vec<(LaneId, Vec<Append>)> = Vec::new();
        for append in appends {
            let slot = slot_of(&append.stream);
            let lane = match state.table.get(usize::from(slot)) {
                Some(lane) if !state.holds.contains_key(&slot) => *lane,
                _ => {
                    self.route(state, Request::Appends(vec![append]));
                    continue;
                }
            };
            let is_fenced = script::has_two_keys(&append);
            match batches.iter_mut().find(|(of, _)| *of == lane) {
                Some((_, batch)) => batch.push(append),
                None => batches.push((lane, vec![append])),
            }
            if is_fenced {
                send_batches(state, &mut batches);
                self.fence(state, slot, lane, lane);
            }
        }
        send_batches(state, &mut batches);
    }

    /// Sends a request to where its slot is served, or lets it wait.
    fn route(&self, state: &mut State, request: Request) {
        let Some(slot) = request_slot(&request) else { return };
        if state.table.is_empty() {
            state.early.push(request);
            return self.waits.notify_one();
        }
        if let Some(hold) = state.holds.get_mut(&slot) {
            return hold.queue.push(request);
        }
        let lane = state.table[usize::from(slot)];
        let is_fenced = has_two_keys(&request);
        Self::send(state, lane, request);
        if is_fenced {
            self.fence(state, slot, lane, lane);
        }
    }

    fn send(state: &State, lane: LaneId, request: Request) {
        // A link ends only with the cluster, under the same lock.
        let _ = state.lanes[lane].link.send(request);
    }

    /// Lets requests of a slot wait until everything that is under way to `lane` has been answered.
    fn fence<'a>(&self, state: &'a mut State, slot: u16, lane: LaneId, target: LaneId) -> &'a mut Hold {
        let hold = state.holds.entry(slot).or_insert_with(|| Hold::new(target));
        if !hold.fences.contains(&lane) {
            hold.fences.push(lane);
            let _ = state.lanes[lane].link.send(Request::Fence(slot));
        }
        self.waits.notify_one();
        hold
    }

    /// Takes back what `from` did not do.
    fn take_back(self: &Arc<Self>, from: LaneId, request: Request, redirect: Redirect) {
        let mut state = self.lock();
        if state.closed {
            drop(state);
            let appends = request.into_appends().into_iter().flatten();
            return self.settle(appends.map(|append| append.settled(Err(Error::closed()))).collect());
        }
        let state = &mut *state;
        let Some(slot) = request_slot(&request) else { return };
        match redirect {
            Redirect::Ask(node) => {
                let Ok(lane) = self.lane_at(state, &node) else { return };
                let is_fenced = has_two_keys(&request);
                Self::send(state, lane, Request::Asking(Box::new(request)));
                if is_fenced {
                    let target = state.table[usize::from(slot)];
                    self.fence(state, slot, lane, target);
                }
            }
            Redirect::Moved(moved, node) => {
                let Ok(lane) = self.lane_at(state, &node) else { return };
                let hold = self.fence(state, slot, from, lane);
                hold.queue.push(request);
                if moved == slot {
                    hold.lane = lane;
                }
            }
            Redirect::Wait(reason) => {
                let target = state.table[usize::from(slot)];
                let hold = self.fence(state, slot, from, target);
                hold.queue.push(request);
                hold.not_before = Some(monotonic() + PAUSE);
                hold.reason = Some(reason);
            }
        }
    }

    fn fence_passed(&self, lane: LaneId, slot: u16) {
        let mut state = self.lock();
        if let Some(hold) = state.holds.get_mut(&slot) {
            hold.fences.retain(|of| *of != lane);
            if hold.is_over(monotonic()) {
                self.release(&mut state, slot);
            }
        }
    }

    fn release(&self, state: &mut State, slot: u16) {
        let Some(hold) = state.holds.remove(&slot) else { return };
        let place = &mut state.table[usize::from(slot)];
        let before = std::mem::replace(place, hold.lane);
        if before != hold.lane {
            state.lanes[before].slots -= 1;
            state.lanes[hold.lane].slots += 1;
            // What was read over there is no longer watched.
            self.template.upwards.invalidate.all_changed();
        }
        for request in hold.into_requests() {
            self.route(state, request);
        }
    }

    fn overtaken(&self, stream: &str, serial: u64) -> Vec<Settled> {
        let mut settled = Vec::new();
        if let Some(hold) = self.lock().holds.get_mut(&slot_of(stream)) {
            hold.take_overtaken(stream, serial, &mut settled);
        }
        settled
    }

    /// Sends what has waited long enough and ends what has waited too long. False: nothing waits.
    fn turn(&self) -> bool {
        let (mut settled, now) = (Vec::new(), monotonic());
        let mut state = self.lock();
        let trouble = state.trouble.clone();
        expire(&mut state.early, trouble.as_deref(), now, &mut settled);
        state.holds.values_mut().for_each(|hold| hold.expire(now, &mut settled));
        let due: Vec<u16> = state.holds.iter().filter(|(_, hold)| hold.is_over(now)).map(|(slot, _)| *slot).collect();
        due.into_iter().for_each(|slot| self.release(&mut state, slot));
        let waits = !state.early.is_empty() || !state.holds.is_empty();
        drop(state);
        self.settle(settled);
        waits
    }
}

fn send_batches(state: &State, batches: &mut Vec<(LaneId, Vec<Append>)>) {
    for (lane, batch) in batches.drain(..) {
        Shared::send(state, lane, Request::Appends(batch));
    }
}

fn request_slot(request: &Request) -> Option<u16> {
    match request {
        Request::Appends(appends) => appends.first().map(|append| slot_of(&append.stream)),
        Request::Command(command) => command.slot,
        Request::Asking(request) => request_slot(request),
        Request::Fence(slot) => Some(*slot),
    }
}

/// Whether it may be refused while its slot moves, although others of the slot are not.
fn has_two_keys(request: &Request) -> bool {
    matches!(request, Request::Appends(appends) if appends.iter().any(script::has_two_keys))
}
