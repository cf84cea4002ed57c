//! Listening for announcements, on a connection of its own that comes back by itself.

use std::collections::{HashSet, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::io::AsyncWriteExt;
use tokio::sync::{mpsc, oneshot, watch};

use super::connection::{Connection, lost};
use super::home::Home;
use super::options::RedisOptions;
use super::wire::{command, refusal, texts};
use crate::backend::{Hub, Selector};
use crate::clock::monotonic;
use crate::error::{Code, Error, Result};
use crate::io::Task;

/// How often to see whether the connection still works and everything on it is still needed.
const CHECK_EVERY: Duration = Duration::from_secs(5);
const RETRY_AFTER: Duration = Duration::from_millis(200);

/// Someone who wants to be told, once the server listens for them.
struct Listener {
    selector: Selector,
    listening: oneshot::Sender<Result<()>>,
}

/// The handle; the connection is made at the first use.
pub(super) struct Subscriber {
    options: RedisOptions,
    home: Home,
    channels: String,
    hub: Arc<Hub>,
    started: Mutex<Option<Started>>,
}

struct Started {
    listeners: mpsc::UnboundedSender<Listener>,
    trouble: watch::Receiver<Option<Error>>,
    _task: Task,
}

impl Subscriber {
    pub(super) fn new(options: RedisOptions, home: Home, channels: String, hub: Arc<Hub>) -> Self {
        Subscriber { options, home, channels, hub, started: Mutex::default() }
    }

    /// Resolves as soon as the server sends announcements for the selector.
    pub(super) fn listen(
        &self,
        selector: Selector,
        deadline: Instant,
    ) -> impl Future<Output = Result<()>> + Send + use<> {
        let (listening, listens) = oneshot::channel();
        let sent = self.send(Listener { selector, listening });
        async move {
            let trouble = sent?;
            match tokio::time::timeout_at(deadline.into(), listens).await {
                Ok(answer) => answer.unwrap_or_else(|_| Err(Error::closed())),
                Err(_) => Err(trouble
                    .borrow()
                    .clone()
                    .unwrap_or_else(|| Error::new(Code::Timeout, "Redis did not confirm the subscription in time."))),
            }
        }
    }

    /// Ends the connection.
    pub(super) fn close(&self) {
        self.started.lock().unwrap_or_else(PoisonError::into_inner).take();
    }

    fn send(&self, listener: Listener) -> Result<watch::Receiver<Option<Error>>> {
        let mut started = self.started.lock().unwrap_or_else(PoisonError::into_inner);
        let started = match &mut *started {
            Some(started) => started,
            none => none.insert(self.start()?),
        };
        started.listeners.send(listener).map_err(|_| Error::closed())?;
        Ok(started.trouble.clone())
    }

    fn start(&self) -> Result<Started> {
        let (listeners, incoming) = mpsc::unbounded_channel();
        let (trouble_sender, trouble) = watch::channel(None);
        let worker = Worker {
            options: self.options.clone(),
            home: self.home.clone(),
            channels: self.channels.clone(),
            hub: self.hub.clone(),
            incoming,
            waiting: VecDeque::new(),
            subscribed: HashSet::new(),
            trouble: trouble_sender,
        };
        Ok(Started { listeners, trouble, _task: Task::spawn(worker.run())? })
    }
}

struct Worker {
    options: RedisOptions,
    home: Home,
    channels: String,
    hub: Arc<Hub>,
    incoming: mpsc::UnboundedReceiver<Listener>,
    /// Asked of the server, not confirmed; the server confirms in order.
    waiting: VecDeque<Listener>,
    subscribed: HashSet<Selector>,
    trouble: watch::Sender<Option<Error>>,
}

impl Worker {
    async fn run(mut self) {
        loop {
            let error = match self.home.open(None).await {
                Err(error) => error,
                Ok(mut connection) => match self.listen(&mut connection).await {
                    Ok(()) => return,
                    Err(error) => error,
                },
            };
            tracing::debug!(server = %self.options, %error, "subscription connection lost; connecting again");
            self.trouble.send_replace(Some(error));
            tokio::time::sleep(RETRY_AFTER).await;
        }
    }

    /// Works until the connection breaks (an error) or nobody needs it any more.
    async fn listen(&mut self, connection: &mut Connection) -> Result<()> {
        self.subscribed.clear();
        let again: Vec<Listener> = self.waiting.drain(..).filter(|listener| !listener.listening.is_closed()).collect();
        for selector in self.hub.selectors() {
            let (listening, _) = oneshot::channel();
            self.subscribe(connection, Listener { selector, listening }).await?;
        }
        for listener in again {
            self.subscribe(connection, listener).await?;
        }
        self.trouble.send_replace(None);
        // Whatever was announced while nobody listened.
        self.hub.announce_any();
        let mut check = tokio::time::interval(CHECK_EVERY);
        let mut heard = monotonic();
        loop {
            tokio::select! {
                listener = self.incoming.recv() => match listener {
                    Some(listener) => self.subscribe(connection, listener).await?,
                    None => return Ok(()),
                },
                filled = connection.fill() => {
                    filled?;
                    heard = monotonic();
                    connection.take_frames(|frame| self.take(frame))?;
                }
                _ = check.tick() => {
                    if heard.elapsed() > self.options.silence_timeout.max(CHECK_EVERY * 2) {
                        return Err(lost("it has not answered for too long"));
                    }
                    self.forget(connection).await?;
                    send(connection, &command([b"PING"])).await?;
                }
            }
        }
    }

    async fn subscribe(&mut self, connection: &mut Connection, listener: Listener) -> Result<()> {
        let question = self.question(["SUBSCRIBE", "PSUBSCRIBE"], &listener.selector);
        self.subscribed.insert(listener.selector.clone());
        // Before the first await: a listener must not be lost when the connection is.
        self.waiting.push_back(listener);
        send(connection, &question).await
    }

    /// Stops listening for what nobody watches any more.
    async fn forget(&mut self, connection: &mut Connection) -> Result<()> {
        let mut needed = self.hub.selectors();
        needed.extend(self.waiting.iter().map(|listener| listener.selector.clone()));
        let gone: Vec<Selector> = self.subscribed.difference(&needed).cloned().collect();
        for selector in gone {
            send(connection, &self.question(["UNSUBSCRIBE", "PUNSUBSCRIBE"], &selector)).await?;
            self.subscribed.remove(&selector);
        }
        Ok(())
    }

    fn question(&self, [for_stream, for_pattern]: [&str; 2], selector: &Selector) -> Vec<u8> {
        let (verb, name) = match selector {
            Selector::Stream(stream) => (for_stream, &**stream),
            Selector::Pattern(glob) => (for_pattern, glob.as_str()),
        };
        let channel = match selector {
            Selector::Stream(_) => format!("{}{name}", self.channels),
            // The prefix is a name, not a pattern.
            Selector::Pattern(_) => format!("{}{name}", escape(&self.channels)),
        };
        command([verb.as_bytes(), channel.as_bytes()])
    }

    fn take(&mut self, frame: &[u8]) -> Result<()> {
        if let Some(refusal) = refusal(frame) {
            self.answer(Err(refusal));
            return Ok(());
        }
        let parts = texts(frame).unwrap_or_default();
        let text = |at: usize| parts.get(at).copied().unwrap_or_default();
        let channel = match text(0) {
            "message" => text(1),
            "pmessage" => text(2),
            "subscribe" | "psubscribe" => {
                self.answer(Ok(()));
                return Ok(());
            }
            _ => return Ok(()),
        };
        if let Some(stream) = channel.strip_prefix(&*self.channels) {
            self.hub.announce(stream);
        }
        Ok(())
    }
}

impl Worker {
    /// Tells the listener whose turn it is.
    fn answer(&mut self, answer: Result<()>) {
        if let Some(listener) = self.waiting.pop_front() {
            // One who has given up needs no answer.
            let _ = listener.listening.send(answer);
        }
    }
}

fn escape(name: &str) -> String {
    name.chars().fold(String::new(), |mut escaped, character| {
        if matches!(character, '*' | '?' | '[' | ']' | '\\' | '^' | '-') {
            escaped.push('\\');
        }
        escaped.push(character);
        escaped
    })
}

async fn send(connection: &mut Connection, bytes: &[u8]) -> Result<()> {
    connection.socket.write_all(bytes).await.map_err(lost)?;
    connection.socket.flush().await.map_err(lost)
}
