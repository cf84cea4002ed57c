//! Why a request is rejected.

use std::fmt;

/// Why a request is rejected: for the record, never for the sender.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reason {
    /// The header of the signature is not there, or has none of the version that is checked.
    MissingSignature,
    /// The signature is not written as it should be.
    MalformedSignature,
    /// No secret gives this signature: it is forged, the request was changed, or the secret is another.
    WrongSignature,
    /// There is no timestamp.
    MissingTimestamp,
    /// The timestamp is not a number of seconds, or there are several.
    MalformedTimestamp,
    /// It was signed too long ago.
    TooOld,
    /// It was signed too far in the future.
    TooNew,
    /// There is no id where one is signed.
    MissingId,
    /// The id has characters that would make what was signed ambiguous.
    MalformedId,
    /// There is no body, and the provider always sends one.
    MissingBody,
    /// There are no credentials of the kind that is asked for.
    MissingCredentials,
    /// The credentials are not written as they should be.
    MalformedCredentials,
    /// The credentials are others.
    WrongCredentials,
    /// It came from an address that is not allowed, or from one that can't be told.
    AddressNotAllowed,
    /// There is no secret to check it with.
    NoSecret,
    /// A header that decides comes twice.
    AmbiguousHeader,
    /// A query parameter that decides comes twice.
    AmbiguousQuery,
    /// The endpoint's own settings can't work.
    UnusableAuth,
}

impl Reason {
    /// A text that stays the same, such as `wrong-signature`.
    pub fn as_str(self) -> &'static str {
        match self {
            Reason::MissingSignature => "missing-signature",
            Reason::MalformedSignature => "malformed-signature",
            Reason::WrongSignature => "wrong-signature",
            Reason::MissingTimestamp => "missing-timestamp",
            Reason::MalformedTimestamp => "malformed-timestamp",
            Reason::TooOld => "too-old",
            Reason::TooNew => "too-new",
            Reason::MissingId => "missing-id",
            Reason::MalformedId => "malformed-id",
            Reason::MissingBody => "missing-body",
            Reason::MissingCredentials => "missing-credentials",
            Reason::MalformedCredentials => "malformed-credentials",
            Reason::WrongCredentials => "wrong-credentials",
            Reason::AddressNotAllowed => "address-not-allowed",
            Reason::NoSecret => "no-secret",
            Reason::AmbiguousHeader => "ambiguous-header",
            Reason::AmbiguousQuery => "ambiguous-query",
            Reason::UnusableAuth => "unusable-auth",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
