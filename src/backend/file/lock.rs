//! One process at a time writes into a directory.
//!
//! The system holds the lock and drops it with the process, however that ends: what a dead one
//! leaves is in nobody's way. The file also says which process it is.

use std::fs::File;
use std::io::{ErrorKind, Read, Seek, Write};
use std::path::Path;
use std::time::Duration;

use fs4::{FileExt, TryLockError};

use super::database;
use crate::error::{Code, Error, Result};

/// How long a store of this very process may take to let go of the directory.
const PATIENCE: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(5);

/// A directory that is ours while the value is there.
#[derive(Debug)]
pub(super) struct DirectoryLock(#[allow(dead_code, reason = "held, never looked at")] File);

impl DirectoryLock {
    pub(super) fn take(dir: &Path) -> Result<DirectoryLock> {
        let path = dir.join("lock");
        let file = File::options().create(true).truncate(false).read(true).write(true).open(&path);
        let mut file = file.map_err(|error| database::unusable(dir, &error))?;
        let mut patience = PATIENCE.as_millis() / PAUSE.as_millis();
        while let Err(error) = FileExt::try_lock(&file) {
            match error {
                TryLockError::WouldBlock => {}
                // On Windows, of a lock that was let go of this moment.
                TryLockError::Error(error) if error.kind() == ErrorKind::WouldBlock => {}
                TryLockError::Error(error) => return Err(database::unusable(dir, &error)),
            }
            let owner = owner(&mut file);
            if owner.as_deref() != Some(&*std::process::id().to_string()) || patience == 0 {
                return Err(in_use(dir, owner.as_deref()));
            }
            patience -= 1;
            std::thread::sleep(PAUSE);
        }
        sign(&mut file).map_err(|error| database::unusable(dir, &error))?;
        Ok(DirectoryLock(file))
    }
}

/// The number of the process that wrote into the file last.
fn owner(file: &mut File) -> Option<String> {
    let mut text = String::new();
    file.rewind().ok()?;
    file.take(20).read_to_string(&mut text).ok()?;
    Some(text.trim().to_owned()).filter(|owner| !owner.is_empty())
}

fn sign(file: &mut File) -> std::io::Result<()> {
    file.rewind()?;
    file.set_len(0)?;
    file.write_all(std::process::id().to_string().as_bytes())
}

/// The directory belongs to someone else.
fn in_use(dir: &Path, owner: Option<&str>) -> Error {
    let owner = match owner {
        Some(owner) if owner == std::process::id().to_string() => "this process".to_owned(),
        Some(owner) => format!("process {owner}"),
        None => "another process".to_owned(),
    };
    let message = format!(
        "The directory {} is in use by {owner}; one process at a time may write. End it, or open the store with file.readOnly to read beside it.",
        dir.display()
    );
    Error::new(Code::Unavailable, message)
}
