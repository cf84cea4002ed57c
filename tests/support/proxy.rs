//! A way to a server on which connections break after a random number of bytes.

#![allow(dead_code, reason = "each test uses the part that it needs")]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// Numbers that look random and are the same each time (SplitMix64).
/// Source: <https://prng.di.unimi.it/splitmix64.c>
pub struct Dice(u64);

impl Dice {
    /// Dice that begin with this number.
    pub fn new(seed: u64) -> Dice {
        Dice(seed)
    }

    /// A number from `0` to `below - 1`.
    pub fn roll(&mut self, below: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)) % below
    }
}

/// The proxy; ends with the value.
pub struct Proxy {
    port: u16,
    rules: Arc<Rules>,
    task: JoinHandle<()>,
}

struct Rules {
    /// Connections break.
    rough: AtomicBool,
    broken: AtomicUsize,
    seed: AtomicU64,
}

impl Proxy {
    /// Starts a proxy before the server on this port.
    pub async fn start(server: u16, seed: u64) -> Proxy {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
        let port = listener.local_addr().expect("an address").port();
        let rules =
            Arc::new(Rules { rough: AtomicBool::new(true), broken: AtomicUsize::new(0), seed: AtomicU64::new(seed) });
        let task = tokio::spawn(accept(listener, server, rules.clone()));
        Proxy { port, rules, task }
    }

    /// Where it is.
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// New connections hold from now on.
    pub fn calm_down(&self) {
        self.rules.rough.store(false, Ordering::Relaxed);
    }

    /// How many connections were cut.
    pub fn broken(&self) -> usize {
        self.rules.broken.load(Ordering::Relaxed)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn accept(listener: TcpListener, server: u16, rules: Arc<Rules>) {
    loop {
        let Ok((client, _)) = listener.accept().await else { continue };
        tokio::spawn(carry(client, server, rules.clone()));
    }
}

/// Carries bytes until one direction has had its share; then the connection breaks on both sides,
/// wherever it is in a command or a reply. What was passed on to the server is executed by it,
/// although no answer comes back.
async fn carry(client: TcpStream, server: u16, rules: Arc<Rules>) {
    let Ok(server) = TcpStream::connect(("127.0.0.1", server)).await else { return };
    let mut dice = Dice::new(rules.seed.fetch_add(1, Ordering::Relaxed));
    let rough = rules.rough.load(Ordering::Relaxed);
    let mut share = || if rough { share(&mut dice) } else { usize::MAX };
    let (there, back) = (share(), share());
    let ((client_out, client_in), (server_out, server_in)) = (client.into_split(), server.into_split());
    tokio::select! {
        () = pass(client_out, server_in, there) => {}
        () = pass(server_out, client_in, back) => {}
    }
    rules.broken.fetch_add(1, Ordering::Relaxed);
}

/// From a part of the log-in to many pipelines, each magnitude as often.
fn share(dice: &mut Dice) -> usize {
    let magnitude = 11 + dice.roll(9);
    ((1 << magnitude) + dice.roll(1 << magnitude)) as usize
}

async fn pass(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut share: usize) {
    let mut buffer = vec![0; 16 * 1024];
    while share > 0 {
        let room = share.min(buffer.len());
        match from.read(&mut buffer[..room]).await {
            Ok(count) if count > 0 && to.write_all(&buffer[..count]).await.is_ok() => share -= count,
            _ => return,
        }
    }
}
