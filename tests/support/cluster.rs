//! A real Redis Cluster for tests: several redis-servers on free ports.

#![allow(dead_code, clippy::unwrap_used, reason = "each test uses the part that it needs, and fails by panicking")]

use std::time::Duration;

use nuxt_queue_core::backend::redis::{Address, RedisOptions, Topology};

use super::redis::RedisServer;

/// How often to look whether the nodes agree.
const LOOKS: u32 = 1500;
const SLOTS: u16 = 16_384;

/// Nodes that were started for a test; the primaries come first.
pub struct RedisCluster {
    pub nodes: Vec<RedisServer>,
    pub primaries: usize,
}

impl RedisCluster {
    /// Starts primaries that share the slots, each with so many replicas, and waits until all agree.
    pub fn start(primaries: usize, replicas: usize) -> RedisCluster {
        let options = [
            ["--cluster-enabled", "yes"],
            ["--cluster-node-timeout", "1000"],
            ["--cluster-replica-validity-factor", "0"],
            ["--appendonly", "no"],
            ["--repl-diskless-sync-delay", "0"],
        ];
        let count = primaries * (1 + replicas);
        let nodes: Vec<_> = (0..count).map(|_| RedisServer::start_with(options.as_flattened()).unwrap()).collect();
        let cluster = RedisCluster { nodes, primaries };
        cluster.join(primaries);
        cluster
    }

    fn join(&self, primaries: usize) {
        for (at, node) in self.nodes.iter().enumerate() {
            // Nodes that begin with the same epoch would have to settle that first.
            node.say::<()>(&format!("CLUSTER SET-CONFIG-EPOCH {}", at + 1)).unwrap();
            node.say::<()>(&format!("CLUSTER MEET 127.0.0.1 {}", self.nodes[0].port())).unwrap();
        }
        let share = SLOTS.div_ceil(primaries as u16);
        for (at, node) in self.nodes.iter().take(primaries).enumerate() {
            let (first, end) = (share * at as u16, (share * (at as u16 + 1)).min(SLOTS));
            node.say::<()>(&format!("CLUSTER ADDSLOTSRANGE {first} {}", end - 1)).unwrap();
        }
        self.wait(|node| info(node, "cluster_known_nodes") == self.nodes.len().to_string());
        for (at, replica) in self.nodes.iter().enumerate().skip(primaries) {
            let primary: String = self.nodes[at % primaries].say("CLUSTER MYID").unwrap();
            replica.say::<()>(&format!("CLUSTER REPLICATE {primary}")).unwrap();
        }
        self.wait(|node| info(node, "cluster_state") == "ok");
        for replica in &self.nodes[primaries..] {
            wait(|| replica.say::<String>("INFO replication").unwrap().contains("master_link_status:up"));
        }
    }

    fn wait(&self, holds: impl Fn(&RedisServer) -> bool) {
        for node in &self.nodes {
            wait(|| holds(node));
        }
    }

    /// How to reach it.
    pub fn options(&self) -> RedisOptions {
        let nodes = self.nodes.iter().map(|node| Address::Tcp("127.0.0.1".into(), node.port())).collect();
        RedisOptions { topology: Topology::Cluster(nodes), ..RedisOptions::default() }
    }

    /// The place of the primary that serves a key.
    pub fn primary_of(&self, key: &str) -> usize {
        let slot: u16 = self.nodes[0].say(&format!("CLUSTER KEYSLOT {key}")).unwrap();
        (usize::from(slot) / usize::from(SLOTS.div_ceil(self.primaries as u16))).min(self.primaries - 1)
    }

    /// Moves the slot of a key to another node, key by key, as `redis-cli --cluster reshard` does.
    pub fn move_slot(&self, key: &str, from: usize, to: usize) {
        let slot: u16 = self.nodes[0].say(&format!("CLUSTER KEYSLOT {key}")).unwrap();
        let id = |node: usize| self.nodes[node].say::<String>("CLUSTER MYID").unwrap();
        let (source, target) = (&self.nodes[from], &self.nodes[to]);
        target.say::<()>(&format!("CLUSTER SETSLOT {slot} IMPORTING {}", id(from))).unwrap();
        source.say::<()>(&format!("CLUSTER SETSLOT {slot} MIGRATING {}", id(to))).unwrap();
        // Long enough that requests meet a slot that is in two places.
        std::thread::sleep(Duration::from_millis(100));
        loop {
            let keys: Vec<String> = source.say(&format!("CLUSTER GETKEYSINSLOT {slot} 1")).unwrap();
            let Some(key) = keys.first() else { break };
            source.say::<()>(&format!("MIGRATE 127.0.0.1 {} {key} 0 10000", target.port())).unwrap();
            std::thread::sleep(Duration::from_millis(1));
        }
        std::thread::sleep(Duration::from_millis(50));
        for node in [target, source] {
            node.say::<()>(&format!("CLUSTER SETSLOT {slot} NODE {}", id(to))).unwrap();
        }
    }

    /// Ends a primary in the middle of whatever it does, once its replica has everything it has acknowledged.
    pub fn kill_synced(&mut self, primary: usize) {
        kill_synced(&mut self.nodes[primary]);
    }
}

/// Ends a server once its replicas have everything that it has acknowledged.
pub fn kill_synced(server: &mut RedisServer) {
    // Whoever writes now gets no answer any more.
    server.say::<()>("CLIENT PAUSE 60000 WRITE").unwrap();
    wait(|| {
        let info: String = server.say("INFO replication").unwrap();
        let end = field(&info, "master_repl_offset").unwrap_or_default();
        let replicas: Vec<&str> =
            info.lines().filter(|line| line.starts_with("slave") && line.contains("offset=")).collect();
        !replicas.is_empty() && replicas.iter().all(|replica| replica.contains(&format!("offset={end},")))
    });
    server.kill();
}

fn info(node: &RedisServer, name: &str) -> String {
    let info: String = node.say("CLUSTER INFO").unwrap();
    field(&info, name).unwrap_or_default().to_owned()
}

fn field<'a>(info: &'a str, name: &str) -> Option<&'a str> {
    info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
}

/// Waits until something holds.
pub fn wait(holds: impl Fn() -> bool) {
    for _ in 0..LOOKS {
        if holds() {
            return;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    panic!("the servers don't agree");
}
