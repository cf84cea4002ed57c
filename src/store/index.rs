//! Sorted indexes. Those of a flow's runs, and that of the runs of chains, lose the runs that have expired.

use super::{EventStore, check};
use crate::error::{Code, Error, Result};
use crate::io;

impl EventStore {
    /// Adds a member to a sorted index, or gives it a new score.
    pub async fn index_add(&self, key: &str, id: &str, score: f64) -> Result<()> {
        check::argument("The key of the index", key)?;
        check::argument("The id", id)?;
        if !score.is_finite() {
            return Err(Error::new(Code::Validation, "The score is not a finite number."));
        }
        let backend = self.backend().await?;
        let added = backend.index_add(key, id, score);
        // Beside it stands when to see whether the run is still there, once it is there.
        if let (Some(expiring), Some(due_ms)) = (self.shared.expiring(key), self.shared.looked_at_ms()) {
            let stream = format!("{}:flow:{id}", self.prefix());
            if backend.remaining(&stream).await?.is_some() {
                backend.index_add(&expiring, id, due_ms).await?;
            }
        }
        added.await
    }

    /// The same without waiting: it goes behind what was appended before, and ahead of what comes. A failure
    /// is a diagnostic.
    pub(crate) fn index_add_ahead(&self, key: String, id: String, score: f64) {
        let store = self.clone();
        io::begin(async move {
            if let Err(error) = store.index_add(&key, &id, score).await {
                tracing::warn!(key, id, %error, "a run is not in its index");
            }
        });
    }

    /// Members of a sorted index, highest score first, equal scores by descending id. Runs that have
    /// expired are no members any more.
    pub async fn index_read(&self, key: &str, offset: usize, limit: Option<usize>) -> Result<Vec<(String, f64)>> {
        check::argument("The key of the index", key)?;
        check::limit(limit)?;
        let backend = self.backend().await?;
        let members = backend.index_read(key, offset, limit);
        if let Some(expiring) = self.shared.expiring(key)
            && !backend.index_due(&expiring, self.now_ms() as f64, 1).await?.is_empty()
            && self.shared.sweep(key, &expiring).await?
        {
            return backend.index_read(key, offset, limit).await;
        }
        members.await
    }

    /// Members of a sorted index up to a score, lowest first.
    pub async fn index_due(&self, key: &str, up_to: f64, limit: usize) -> Result<Vec<String>> {
        check::argument("The key of the index", key)?;
        self.backend().await?.index_due(key, up_to, limit).await
    }

    /// Members of a sorted index with exactly this score, by ascending id.
    pub async fn index_at(&self, key: &str, score: f64) -> Result<Vec<String>> {
        check::argument("The key of the index", key)?;
        self.backend().await?.index_at(key, score).await
    }

    /// Removes a member of a sorted index.
    pub async fn index_remove(&self, key: &str, id: &str) -> Result<()> {
        check::argument("The key of the index", key)?;
        self.backend().await?.index_remove(key, &[id]).await
    }

    /// Deletes a sorted index.
    pub async fn index_delete(&self, key: &str) -> Result<()> {
        check::argument("The key of the index", key)?;
        let backend = self.backend().await?;
        let deleted = backend.index_delete(key);
        if let Some(expiring) = self.shared.expiring(key) {
            backend.index_delete(&expiring).await?;
        }
        deleted.await
    }
}
