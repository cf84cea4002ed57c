//! Versions, and which of them go together.

use semver::Version;
use serde::{Deserialize, Serialize};

use crate::error::{Code, Error, Result};

/// Which versions of a flow's steps go together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Strategy {
    /// Only the very same version.
    Strict,
    /// The newest version of those that are compatible.
    #[default]
    Latest,
    /// Any version; the one that is asked for goes first.
    Mixed,
}

/// A version of code; a step without one is older than all that have one.
///
/// ```
/// use nuxt_queue_core::version::{Strategy, StepVersion};
/// let version = |text| StepVersion::parse(Some(text)).unwrap();
/// assert!(version("1.10.0") > version("1.9.0"));
/// assert!(version("1.0.0") > version("1.0.0-rc.1"));
/// assert!(version("1.9.0").goes_with(&version("1.2.0"), Strategy::Latest));
/// assert!(!version("2.0.0").goes_with(&version("1.2.0"), Strategy::Latest));
/// assert!(!version("1.9.0").goes_with(&version("1.2.0"), Strategy::Strict));
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StepVersion(Option<Version>);

impl StepVersion {
    /// Reads a semantic version.
    ///
    /// # Errors
    /// `Validation` for a text that is none.
    pub fn parse(text: Option<&str>) -> Result<Self> {
        let parsed = text.map(Version::parse).transpose();
        parsed.map(StepVersion).map_err(|error| {
            let shown: String = text.unwrap_or_default().chars().take(60).collect();
            let message = format!("{shown:?} is no version ({error}); expected a semantic version such as \"1.4.0\".");
            Error::new(Code::Validation, message)
        })
    }

    /// The same, where a text that is none counts as no version: others wrote it.
    pub fn read(text: Option<&str>) -> Self {
        StepVersion::parse(text).unwrap_or_default()
    }

    /// Whether code of this version may do what was begun under another one.
    ///
    /// * `Strict`: if they are the same, build metadata included.
    /// * `Latest`: if a change from one to the other breaks nothing by the rules of semantic versions: the first number
    ///   that is not 0 is the same. A pre-release goes with itself alone. Where one of them has no version, nothing was
    ///   promised, and nothing is broken.
    /// * `Mixed`: always.
    pub fn goes_with(&self, other: &StepVersion, strategy: Strategy) -> bool {
        match (strategy, &self.0, &other.0) {
            (Strategy::Strict, own, other) => own == other,
            (Strategy::Latest, Some(own), Some(other)) => own == other || is_compatible(own, other),
            (Strategy::Latest | Strategy::Mixed, ..) => true,
        }
    }

    /// The text, if there is a version.
    pub fn to_text(&self) -> Option<String> {
        self.0.as_ref().map(Version::to_string)
    }
}

fn is_compatible(a: &Version, b: &Version) -> bool {
    if !a.pre.is_empty() || !b.pre.is_empty() {
        return false;
    }
    let breaking = |version: &Version| match (version.major, version.minor) {
        (0, 0) => (0, 0, version.patch),
        (0, minor) => (0, minor, 0),
        (major, _) => (major, 0, 0),
    };
    breaking(a) == breaking(b)
}
