//! Where the files are and how carefully they are written.

use std::path::PathBuf;

/// How to keep events in a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileOptions {
    /// The directory. It is made if it is not there, and belongs to one process that writes.
    pub dir: PathBuf,
    /// Whether an append is acknowledged only when it is on the disk. Without it, events survive the
    /// end of the process, but not that of the machine.
    pub fsync: bool,
    /// Only read, beside a process that may write. The directory has to be there.
    pub read_only: bool,
}

impl FileOptions {
    /// Events in this directory, acknowledged when they are on the disk.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        FileOptions { dir: dir.into(), fsync: true, read_only: false }
    }

    /// The same directory, beside the process that writes.
    pub fn reading(mut self) -> Self {
        self.read_only = true;
        self
    }
}
