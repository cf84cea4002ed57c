//! The one error type of the crate.

use std::fmt;

/// A result with this crate's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What kind of failure it is. One exists only where a caller acts differently.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Code {
    /// The event, its stream name or its type can't be stored. Mend the event.
    InvalidEvent,
    /// An argument (query, id, time, key, point) is malformed. Mend the call.
    Validation,
    /// The event is over `maxEventBytes`. Store a reference instead of the payload.
    TooLarge,
    /// `expectedLastId` no longer holds. Read again and decide again.
    Conflict,
    /// The backend can't be reached. Try later; what was accepted is retried by itself.
    Unavailable,
    /// The deadline passed. The message says whether the event may have been stored.
    Timeout,
    /// The store was closed.
    Closed,
    /// The options can't work. Mend the configuration.
    Config,
    /// The backend answered, and refused. The message carries its words.
    Backend,
    /// Stored data can't be read as what it should be.
    Corrupt,
    /// What was asked for was trimmed. Begin with what is kept.
    Trimmed,
    /// The run, step, await or flow is not known. Mend the name.
    NotFound,
    /// A step that runs again does not do what its record says it did. Let the record's version of the code finish its runs.
    Nondeterministic,
    /// A defect of this crate.
    Internal,
}

impl Code {
    /// The code as callers see it, such as `NQ_CONFLICT`.
    pub fn as_str(self) -> &'static str {
        match self {
            Code::InvalidEvent => "NQ_INVALID_EVENT",
            Code::Validation => "NQ_VALIDATION",
            Code::TooLarge => "NQ_TOO_LARGE",
            Code::Conflict => "NQ_CONFLICT",
            Code::Unavailable => "NQ_UNAVAILABLE",
            Code::Timeout => "NQ_TIMEOUT",
            Code::Closed => "NQ_CLOSED",
            Code::Config => "NQ_CONFIG",
            Code::Backend => "NQ_BACKEND",
            Code::Corrupt => "NQ_CORRUPT",
            Code::Trimmed => "NQ_TRIMMED",
            Code::NotFound => "NQ_NOT_FOUND",
            Code::Nondeterministic => "NQ_NONDETERMINISTIC",
            Code::Internal => "NQ_INTERNAL",
        }
    }
}

/// What went wrong, with a stable [`Code`], a message that says what to do, and the cause.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    code: Code,
    message: String,
    cause: Option<String>,
}

impl Error {
    /// An error of this kind with this message.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Error { code, message: message.into(), cause: None }
    }

    /// The same error with the text of what caused it.
    pub fn caused_by(mut self, cause: impl fmt::Display) -> Self {
        self.cause = Some(cause.to_string());
        self
    }

    /// The same error without a secret that a text of others may hold.
    pub(crate) fn without(mut self, secret: &str) -> Self {
        for text in std::iter::once(&mut self.message).chain(&mut self.cause) {
            *text = text.replace(secret, "(hidden)");
        }
        self
    }

    /// The kind of failure.
    pub fn code(&self) -> Code {
        self.code
    }

    /// What was wrong and what to do about it.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// The text of the failure underneath, if there was one.
    pub fn cause(&self) -> Option<&str> {
        self.cause.as_deref()
    }

    /// The answer to any call on a closed store.
    pub fn closed() -> Self {
        Error::new(Code::Closed, "The event store is closed; open a new one to go on.")
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code.as_str(), self.message)?;
        match &self.cause {
            Some(cause) => write!(f, " ({cause})"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Error {}
