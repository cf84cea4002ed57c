//! The thread that does all input and output.
//!
//! One single-threaded runtime a process: it is faster here than a pool (no task ever moves
//! between processors), and stores in worker threads of Node share it.

use std::future::Future;
use std::sync::OnceLock;
use std::task::{Context, Waker};

use tokio::runtime::{Builder, Handle};
use tokio::task::JoinHandle;

use crate::error::{Code, Error, Result};

static IO: OnceLock<Result<Handle>> = OnceLock::new();

/// The runtime of the I/O thread, started at the first call.
pub(crate) fn handle() -> Result<&'static Handle> {
    IO.get_or_init(start).as_ref().map_err(Clone::clone)
}

/// Does what can be done of a task now, on the calling thread, and the rest in the background.
pub(crate) fn begin(task: impl Future<Output = ()> + Send + 'static) {
    let Ok(io) = handle() else { return };
    let mut task = Box::pin(task);
    let entered = io.enter();
    let done = task.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready();
    drop(entered);
    if !done {
        io.spawn(task);
    }
}

fn start() -> Result<Handle> {
    let failed =
        |error: std::io::Error| Error::new(Code::Internal, "The I/O thread can't be started.").caused_by(error);
    let runtime = Builder::new_current_thread().enable_all().build().map_err(failed)?;
    let handle = runtime.handle().clone();
    std::thread::Builder::new()
        .name("nuxt-queue-io".into())
        .spawn(move || runtime.block_on(std::future::pending::<()>()))
        .map_err(failed)?;
    Ok(handle)
}

/// A background task that ends when its owner is dropped.
#[derive(Debug)]
pub(crate) struct Task(JoinHandle<()>);

impl Task {
    pub(crate) fn spawn(future: impl Future<Output = ()> + Send + 'static) -> Result<Task> {
        Ok(Task(handle()?.spawn(future)))
    }
}

impl Task {
    /// Ends the task; what it owns is dropped.
    pub(crate) fn end(&self) {
        self.0.abort();
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        self.end();
    }
}
