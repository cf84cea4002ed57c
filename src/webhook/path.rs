//! Paths of endpoints, some of them with parameters.

use std::fmt;

use percent_encoding::percent_decode_str;

/// The longest pattern, in bytes.
const LONGEST: usize = 1024;

/// Where the paths of this package begin that are no trigger's.
const RESERVED: [&str; 2] = ["api", "_triggers"];

/// The path of an endpoint, such as `/webhooks/stripe` or `/hooks/:tenant/orders`.
///
/// ```
/// use nuxt_queue_core::webhook::PathPattern;
/// assert!(PathPattern::parse("/hooks/:tenant/orders").is_ok());
/// assert!(PathPattern::parse("hooks").is_err());
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathPattern {
    text: String,
    pub(super) segments: Vec<Segment>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Segment {
    /// Decoded.
    Exact(String),
    /// The name of a parameter.
    Parameter(String),
}

impl PathPattern {
    /// Reads a pattern.
    ///
    /// # Errors
    /// What is wrong with it, as a sentence.
    pub fn parse(text: &str) -> Result<PathPattern, String> {
        let wrong = |what: &str| Err(format!("The path {} {what}.", shown(text)));
        if text.len() > LONGEST {
            return wrong(&format!("has {} bytes; at most {LONGEST} are possible", text.len()));
        }
        let Some(rest) = text.strip_prefix('/') else { return wrong("does not begin with \"/\"") };
        if text.contains(['?', '#']) {
            return wrong("has a query or a fragment, which belong to no path");
        }
        let mut segments = Vec::new();
        for segment in rest.split('/').filter(|_| !rest.is_empty()) {
            match read(segment) {
                Ok(Segment::Parameter(name)) if segments.contains(&Segment::Parameter(name.clone())) => {
                    return wrong(&format!("has the parameter \":{name}\" twice; name each once"));
                }
                Ok(segment) => segments.push(segment),
                Err(what) => return wrong(&what),
            }
        }
        if is_reserved(segments.iter().map(|segment| match segment {
            Segment::Exact(text) => text.as_str(),
            Segment::Parameter(_) => "",
        })) {
            return wrong("lies below \"/api/_triggers/\", where this package has paths of its own");
        }
        Ok(PathPattern { text: text.to_owned(), segments })
    }

    /// The pattern as it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The names of its parameters, in their order.
    pub fn parameters(&self) -> impl Iterator<Item = &str> {
        self.segments.iter().filter_map(|segment| match segment {
            Segment::Parameter(name) => Some(name.as_str()),
            Segment::Exact(_) => None,
        })
    }
}

impl fmt::Display for PathPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

fn read(segment: &str) -> Result<Segment, String> {
    if segment.is_empty() {
        return Err("has an empty part; write single slashes, and none at the end".into());
    }
    if let Some(name) = segment.strip_prefix(':') {
        let is_name = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        return match name.bytes().all(is_name) && !name.is_empty() && !name.starts_with(|c: char| c.is_ascii_digit()) {
            true => Ok(Segment::Parameter(name.to_owned())),
            false => {
                Err(format!("has the parameter {}; expected letters, digits and \"_\", no digit first", shown(segment)))
            }
        };
    }
    if segment.starts_with('*') {
        return Err("has a wildcard; write a parameter such as \":rest\" for each part, or \"%2A\" for a star".into());
    }
    match decode(segment) {
        Some(text) => Ok(Segment::Exact(text)),
        None => Err(format!(
            "has the part {}; dots alone, control characters and wrong percent-encoding are not possible",
            shown(segment)
        )),
    }
}

/// A part of a path as it is meant. `None` if it is not UTF-8, if its encoding is broken, and if it is nothing that
/// an endpoint's path may have: nothing at all, dots that lead elsewhere, control characters.
pub(super) fn decode(segment: &str) -> Option<String> {
    let mut escapes = segment.split('%').skip(1);
    if !escapes.all(|escape| escape.bytes().take(2).filter(u8::is_ascii_hexdigit).count() == 2) {
        return None;
    }
    let text = percent_decode_str(segment).decode_utf8().ok()?.into_owned();
    (!matches!(&*text, "" | "." | "..") && !text.contains(char::is_control)).then_some(text)
}

/// Whether a path with these parts is none that a trigger may have.
pub(super) fn is_reserved<'a>(mut segments: impl Iterator<Item = &'a str>) -> bool {
    RESERVED.iter().all(|part| segments.next() == Some(part))
}

fn shown(text: &str) -> String {
    format!("{:?}", text.chars().take(60).collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_patterns() {
        for (text, parameters) in [
            ("/", ""),
            ("/webhooks/stripe", ""),
            ("/hooks/:tenant/orders", "tenant"),
            ("/:a/:_b2", "a,_b2"),
            ("/caf%C3%A9/a:b/%2A", ""),
            ("/api/triggers", ""),
            ("/api/:name/x", "name"),
            ("/...", ""),
        ] {
            let pattern = PathPattern::parse(text).unwrap();
            assert_eq!(pattern.parameters().collect::<Vec<_>>().join(","), parameters, "{text}");
            assert_eq!((pattern.as_str(), pattern.to_string()), (text, text.to_owned()));
        }
    }

    #[test]
    fn says_what_is_wrong() {
        for (text, word) in [
            ("", "begin with"),
            ("hooks", "begin with"),
            ("//", "empty part"),
            ("/hooks/", "empty part"),
            ("/a//b", "empty part"),
            ("/a/../b", "dots"),
            ("/a/%2e", "dots"),
            ("/a%", "percent"),
            ("/a%4", "percent"),
            ("/a%zz", "percent"),
            ("/%ff", "percent"),
            ("/a\n", "control"),
            ("/a%00", "control"),
            ("/a?b=1", "query"),
            ("/a#b", "fragment"),
            ("/:", "parameter"),
            ("/:1a", "parameter"),
            ("/:a-b", "parameter"),
            ("/:a/:a", "twice"),
            ("/*", "wildcard"),
            ("/api/_triggers", "of its own"),
            ("/api/%5Ftriggers/await/x", "of its own"),
        ] {
            let wrong = PathPattern::parse(text).unwrap_err();
            assert!(wrong.contains(word), "{text}: {wrong}");
        }
        assert!(PathPattern::parse(&format!("/{}", "a".repeat(1023))).is_ok());
        assert!(PathPattern::parse(&format!("/{}", "a".repeat(1024))).unwrap_err().contains("1025 bytes"));
    }
}
