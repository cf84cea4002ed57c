//! A directory that is open in this process: its threads, and the stores that use it.
//!
//! All stores of a process that name one directory share what is here, also those in worker threads
//! of Node: one thread writes, another one answers questions.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use rusqlite::Connection;
use tokio::sync::watch;

use super::contents::Contents;
use super::database;
use super::lock::DirectoryLock;
use super::options::FileOptions;
use super::queue::{Order, Question, Queue, Work, refused};
use super::writer::Writer;
use crate::backend::{Append, Hub, Settled, Upwards};
use crate::clock::{Clock, monotonic};
use crate::error::{Code, Error, Result};
use crate::io;

/// How exactly the deadlines of appends are kept.
const TICK: Duration = Duration::from_millis(25);
/// How often one who reads beside the writer looks for news while someone waits for them.
const NEWS: Duration = Duration::from_millis(100);

/// The directories that are open to be written.
static ENGINES: Mutex<Option<HashMap<PathBuf, Arc<Shared>>>> = Mutex::new(None);

/// A store that uses a directory.
struct Member {
    number: u64,
    upwards: Upwards,
}

/// What the threads and the stores of a directory share.
pub(super) struct Shared {
    pub(super) options: FileOptions,
    clock: Arc<dyn Clock>,
    queue: Mutex<Queue>,
    pub(super) arrived: Condvar,
    questions: Mutex<Option<Sender<Question>>>,
    members: Mutex<Vec<Member>>,
    last_member: AtomicU64,
    pub(super) hub: Arc<Hub>,
    /// When the next stream vanishes; the greatest number: none does.
    next_expiry_ms: AtomicU64,
    groups: AtomicU64,
    /// What became of opening it.
    opened: watch::Sender<Option<Result<()>>>,
    ended: watch::Sender<bool>,
}

/// A lock is poisoned only by a panic; what it guards here is whole at every step.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    fn new(options: FileOptions, clock: Arc<dyn Clock>, questions: Sender<Question>) -> Arc<Shared> {
        let refusal = options.read_only.then(read_only);
        Arc::new(Shared {
            queue: Mutex::new(Queue { is_busy: !options.read_only, refusal, ..Queue::default() }),
            options,
            clock,
            arrived: Condvar::new(),
            questions: Mutex::new(Some(questions)),
            members: Mutex::default(),
            last_member: AtomicU64::new(0),
            hub: Arc::default(),
            next_expiry_ms: AtomicU64::new(u64::MAX),
            groups: AtomicU64::new(0),
            opened: watch::Sender::new(None),
            ended: watch::Sender::new(false),
        })
    }

    pub(super) fn queue(&self) -> MutexGuard<'_, Queue> {
        lock(&self.queue)
    }

    pub(super) fn now_ms(&self) -> u64 {
        self.clock.now_ms()
    }

    pub(super) fn set_next_expiry(&self, ms: Option<u64>) {
        self.next_expiry_ms.store(ms.unwrap_or(u64::MAX), Ordering::SeqCst);
    }

    pub(super) fn committed(&self) {
        self.groups.fetch_add(1, Ordering::Relaxed);
    }

    /// Brings outcomes to the stores that wait for them.
    pub(super) fn settle(&self, settled: Vec<(u64, Settled)>) {
        let mut by_member: HashMap<u64, Vec<Settled>> = HashMap::new();
        for (from, settled) in settled {
            by_member.entry(from).or_default().push(settled);
        }
        for (from, settled) in by_member {
            let member = lock(&self.members).iter().find(|member| member.number == from).map(|m| m.upwards.clone());
            if let Some(upwards) = member {
                upwards.settle.settle(settled);
            }
        }
    }

    /// Tells subscriptions and the caches of other stores which streams are not what they were.
    pub(super) fn tell_changes<'a>(&self, changes: impl Iterator<Item = (u64, &'a [Box<str>])>, expired: &[Box<str>]) {
        let members: Vec<_> = lock(&self.members).iter().map(|m| (m.number, m.upwards.invalidate.clone())).collect();
        for (from, streams) in changes {
            for stream in streams {
                let others = members.iter().filter(|(number, _)| *number != from);
                others.for_each(|(_, invalidate)| invalidate.changed(stream));
                self.hub.announce(stream);
            }
        }
        for stream in expired {
            members.iter().for_each(|(_, invalidate)| invalidate.changed(stream));
        }
    }

    /// Asks the database now.
    pub(super) fn ask(&self, question: Question) {
        // Where nobody is left to answer, the answer ends with the question.
        if let Some(questions) = &*lock(&self.questions) {
            drop(questions.send(question));
        }
    }

    /// Takes nothing any more, for this reason.
    pub(super) fn refuse(&self, reason: Error) {
        let waiting = {
            let mut queue = self.queue();
            queue.refusal.get_or_insert_with(|| reason.clone());
            std::mem::take(&mut queue.waiting)
        };
        self.settle(waiting.into_iter().filter_map(|order| refused(order, &reason)).collect());
    }

    /// Ends what has waited past its deadline; whether more may come to that.
    fn expire(&self) -> bool {
        let (late, go_on) = {
            let mut queue = self.queue();
            let late = queue.expire(monotonic());
            queue.is_watched = queue.has_deadlines();
            (late, queue.is_watched)
        };
        self.settle(late);
        go_on
    }

    fn watch_deadlines(self: &Arc<Self>) {
        let shared = Arc::downgrade(self);
        let Ok(io) = io::handle() else { return };
        io.spawn(async move {
            loop {
                tokio::time::sleep(TICK).await;
                match shared.upgrade() {
                    Some(shared) if shared.expire() => {}
                    _ => return,
                }
            }
        });
    }

    /// Nothing comes any more; what has come is done.
    fn close(&self) {
        let mut queue = self.queue();
        queue.refusal.get_or_insert_with(Error::closed);
        queue.is_closed = true;
        drop(queue);
        self.arrived.notify_all();
        if self.options.read_only {
            lock(&self.questions).take();
        }
    }
}

fn read_only() -> Error {
    let message =
        "The store was opened with file.readOnly: it can't change anything. Open it without, in one process at a time.";
    Error::new(Code::Config, message)
}

/// A store's part in a directory.
pub(super) struct Engine {
    shared: Arc<Shared>,
    number: u64,
}

impl Engine {
    /// Joins those who use the directory in this process, or begins to open it.
    pub(super) fn join(options: FileOptions, clock: Arc<dyn Clock>, upwards: Upwards) -> Result<Engine> {
        // Nothing is asked of the disk here, on the caller's thread.
        let dir = std::path::absolute(&options.dir).map_err(|error| database::unusable(&options.dir, &error))?;
        let options = FileOptions { dir, ..options };
        if options.read_only {
            return Ok(Engine::enter(&start(options, clock)?, upwards));
        }
        let mut engines = lock(&ENGINES);
        let engines = engines.get_or_insert_default();
        // One that could not be opened may be on its way out; this one tries again.
        let open = engines.get(&options.dir).filter(|shared| shared.queue().refusal.is_none());
        if let Some(shared) = open {
            return match shared.options.fsync == options.fsync {
                true => Ok(Engine::enter(shared, upwards)),
                false => Err(mixed(&options)),
            };
        }
        let shared = start(options, clock)?;
        engines.insert(shared.options.dir.clone(), shared.clone());
        Ok(Engine::enter(&shared, upwards))
    }

    fn enter(shared: &Arc<Shared>, upwards: Upwards) -> Engine {
        let number = shared.last_member.fetch_add(1, Ordering::Relaxed);
        lock(&shared.members).push(Member { number, upwards });
        Engine { shared: shared.clone(), number }
    }

    /// Leaves; the last one to go closes the directory.
    pub(super) fn leave(&self) {
        let mut engines = lock(&ENGINES);
        let mut members = lock(&self.shared.members);
        let before = members.len();
        members.retain(|member| member.number != self.number);
        if !members.is_empty() || before == 0 {
            return;
        }
        drop(members);
        if let Some(engines) = engines.as_mut() {
            let dir = &self.shared.options.dir;
            if engines.get(dir).is_some_and(|shared| Arc::ptr_eq(shared, &self.shared)) {
                engines.remove(dir);
            }
        }
        self.shared.close();
    }

    /// Leaves, and waits until the directory is closed if nobody else uses it.
    pub(super) async fn close(&self) {
        self.leave();
        if self.shared.queue().is_closed {
            // An error says that nobody is left to tell it.
            drop(self.shared.ended.subscribe().wait_for(|ended| *ended).await);
        }
    }

    /// Waits until the directory is open.
    pub(super) async fn opened(&self) -> Result<()> {
        let mut opened = self.shared.opened.subscribe();
        let outcome = opened.wait_for(Option::is_some).await.map_err(|_| Error::closed())?;
        outcome.clone().unwrap_or(Ok(()))
    }

    pub(super) fn hub(&self) -> &Arc<Hub> {
        &self.shared.hub
    }

    pub(super) fn is_read_only(&self) -> bool {
        self.shared.options.read_only
    }

    /// Whether nothing has expired that was not told.
    pub(super) fn has_told_all(&self, now_ms: u64) -> bool {
        now_ms < self.shared.next_expiry_ms.load(Ordering::SeqCst)
    }

    pub(super) fn groups(&self) -> u64 {
        self.shared.groups.load(Ordering::Relaxed)
    }

    /// Takes appends over; gives those back that can't be taken.
    pub(super) fn submit(&self, now_ms: u64, appends: Vec<Append>) -> Vec<Settled> {
        let mut queue = self.shared.queue();
        if let Some(error) = queue.refusal.clone() {
            return appends.into_iter().map(|append| append.settled(Err(error.clone()))).collect();
        }
        let order = |append| Order { from: self.number, now_ms, work: Work::Append(append) };
        queue.waiting.extend(appends.into_iter().map(order));
        let is_first = !std::mem::replace(&mut queue.is_watched, true);
        drop(queue);
        self.shared.arrived.notify_one();
        if is_first {
            self.shared.watch_deadlines();
        }
        Vec::new()
    }

    /// Has something changed behind everything that was submitted before.
    pub(super) fn change(&self, now_ms: u64, work: Work) {
        let order = Order { from: self.number, now_ms, work };
        let mut queue = self.shared.queue();
        if let Some(error) = queue.refusal.clone() {
            drop(queue);
            refused(order, &error);
            return;
        }
        queue.waiting.push_back(order);
        drop(queue);
        self.shared.arrived.notify_one();
    }

    /// Asks the database behind everything that was submitted before.
    pub(super) fn ask(&self, now_ms: u64, question: Question) -> Result<()> {
        let queue = self.shared.queue();
        match &queue.refusal {
            Some(error) if !self.is_read_only() || queue.is_closed => return Err(error.clone()),
            _ => {}
        }
        let waits = queue.is_busy || !queue.waiting.is_empty();
        drop(queue);
        match waits {
            true => self.change(now_ms, Work::Ask(question)),
            false => self.shared.ask(question),
        }
        Ok(())
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.leave();
    }
}

fn mixed(options: &FileOptions) -> Error {
    let message = format!(
        "The directory {} is open in this process with file.fsync: {}; all its stores need the same.",
        options.dir.display(),
        !options.fsync
    );
    Error::new(Code::Config, message)
}

/// Begins to open a directory, on threads of its own.
fn start(options: FileOptions, clock: Arc<dyn Clock>) -> Result<Arc<Shared>> {
    let (sender, questions) = channel();
    let shared = Shared::new(options, clock, sender);
    let theirs = shared.clone();
    let work = move || {
        let ending = Ending(theirs);
        match ending.0.options.read_only {
            true => read(&ending.0, &questions),
            false => write(&ending.0, questions),
        }
    };
    thread::Builder::new().name("nuxt-queue-file".into()).spawn(work).map_err(no_thread)?;
    Ok(shared)
}

/// However a thread ends, nobody waits for it any more.
struct Ending(Arc<Shared>);

impl Drop for Ending {
    fn drop(&mut self) {
        lock(&self.0.questions).take();
        self.0.refuse(Error::closed());
        self.0.ended.send_replace(true);
    }
}

fn no_thread(error: std::io::Error) -> Error {
    Error::new(Code::Internal, "The thread of the file backend can't be started.").caused_by(error)
}

/// The thread of the one who writes.
fn write(shared: &Arc<Shared>, questions: Receiver<Question>) {
    let opened = open(shared);
    let (lock, contents, connection) = match opened {
        Ok(opened) => opened,
        Err(error) => return fail(shared, error),
    };
    let reader = thread::Builder::new().name("nuxt-queue-read".into());
    let reader = match reader.spawn(move || questions.into_iter().for_each(|question| question(&connection))) {
        Ok(reader) => reader,
        Err(error) => return fail(shared, no_thread(error)),
    };
    tracing::debug!(dir = %shared.options.dir.display(), "directory opened");
    shared.opened.send_replace(Some(Ok(())));
    let mut writer = Writer::new(shared, contents);
    writer.run();
    self::lock(&shared.questions).take();
    drop(reader.join());
    drop(writer);
    drop(lock);
    tracing::debug!(dir = %shared.options.dir.display(), "directory closed");
}

fn open(shared: &Shared) -> Result<(DirectoryLock, Contents, Connection)> {
    let dir = &shared.options.dir;
    std::fs::create_dir_all(dir).map_err(|error| database::unusable(dir, &error))?;
    refuse_alias(dir)?;
    let lock = DirectoryLock::take(dir)?;
    let connection = database::open_to_write(&shared.options)?;
    let contents = Contents::new(connection).map_err(|error| database::failed(dir, &error))?;
    Ok((lock, contents, database::open_to_read(dir)?))
}

/// One directory has one path in a process: its stores share what is under that.
fn refuse_alias(dir: &Path) -> Result<()> {
    let open: Vec<PathBuf> = lock(&ENGINES).iter().flatten().map(|(dir, _)| dir.clone()).collect();
    let place = dir.canonicalize().ok();
    match open.iter().find(|open| *open != dir && open.canonicalize().ok() == place) {
        None => Ok(()),
        Some(open) => {
            let message = format!(
                "The directory {} is open in this process as {}; use one path for it.",
                dir.display(),
                open.display()
            );
            Err(Error::new(Code::Config, message))
        }
    }
}

/// It can't be opened: whoever asks hears why.
fn fail(shared: &Shared, error: Error) {
    lock(&shared.questions).take();
    shared.refuse(error.clone());
    shared.opened.send_replace(Some(Err(error)));
}

/// The thread of one who reads beside a process that writes.
fn read(shared: &Shared, questions: &Receiver<Question>) {
    let connection = match database::open_to_read(&shared.options.dir) {
        Ok(connection) => connection,
        Err(error) => return fail(shared, error),
    };
    shared.opened.send_replace(Some(Ok(())));
    let mut seen = version(&connection);
    loop {
        match questions.recv_timeout(NEWS) {
            Ok(question) => question(&connection),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
        let now = version(&connection);
        if now != seen {
            seen = now;
            shared.hub.announce_any();
        }
    }
}

/// A number that changes with everything that another process writes.
fn version(connection: &Connection) -> Option<i64> {
    connection.query_row("PRAGMA data_version", [], |row| row.get(0)).ok()
}
