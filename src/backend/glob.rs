//! Patterns over names, exactly as Redis matches keys and channels.
//! Source: <https://redis.io/docs/latest/commands/keys/> ("Supported glob-style patterns").

/// A glob pattern: `*`, `?`, `[abc]`, `[a-z]`, `[^a]`, and `\` before a character that is meant
/// as itself. Matched on bytes.
///
/// ```
/// use nuxt_queue_core::backend::Glob;
/// assert!(Glob::new("nq:flow:*").matches("nq:flow:abc"));
/// assert!(!Glob::new("nq:flow:?").matches("nq:flow:abc"));
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Glob {
    pattern: Box<str>,
}

impl Glob {
    /// A pattern; every text is one.
    pub fn new(pattern: impl Into<Box<str>>) -> Self {
        Glob { pattern: pattern.into() }
    }

    /// The pattern's text.
    pub fn as_str(&self) -> &str {
        &self.pattern
    }

    /// How every name begins that matches.
    pub(crate) fn prefix(&self) -> &str {
        let end = self.pattern.find(['*', '?', '[', '\\']).unwrap_or(self.pattern.len());
        &self.pattern[..end]
    }

    /// Whether the whole name matches.
    pub fn matches(&self, name: &str) -> bool {
        matches(self.pattern.as_bytes(), name.as_bytes())
    }
}

/// Goes back to the last `*` only, so the time is bounded by the product of the lengths.
fn matches(pattern: &[u8], name: &[u8]) -> bool {
    let (mut p, mut n) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while n < name.len() {
        if p < pattern.len() && pattern[p] == b'*' {
            star = Some((p + 1, n));
            p += 1;
        } else if let Some(length) = match_one(&pattern[p..], name[n]) {
            p += length;
            n += 1;
        } else if let Some((after_star, from)) = star {
            p = after_star;
            n = from + 1;
            star = Some((after_star, n));
        } else {
            return false;
        }
    }
    pattern[p..].iter().all(|byte| *byte == b'*')
}

/// How long the element at the pattern's start is, if it matches the byte.
fn match_one(pattern: &[u8], byte: u8) -> Option<usize> {
    match *pattern.first()? {
        b'?' => Some(1),
        b'[' => match_class(pattern, byte),
        b'\\' if pattern.len() >= 2 => (pattern[1] == byte).then_some(2),
        literal => (literal == byte).then_some(1),
    }
}

fn match_class(pattern: &[u8], byte: u8) -> Option<usize> {
    let negated = pattern.get(1) == Some(&b'^');
    let mut at = if negated { 2 } else { 1 };
    let mut found = false;
    loop {
        match pattern.get(at) {
            // An unclosed class ends with the pattern, as on Redis.
            None => break,
            Some(b']') => {
                at += 1;
                break;
            }
            Some(b'\\') if at + 1 < pattern.len() => {
                found |= pattern[at + 1] == byte;
                at += 2;
            }
            Some(&low) if pattern.get(at + 1) == Some(&b'-') && at + 2 < pattern.len() => {
                let high = pattern[at + 2];
                found |= (low.min(high)..=low.max(high)).contains(&byte);
                at += 3;
            }
            Some(&literal) => {
                found |= literal == byte;
                at += 1;
            }
        }
    }
    (found != negated).then_some(at)
}

#[cfg(test)]
mod tests {
    use super::Glob;

    #[test]
    fn matches_as_redis_does() {
        for (pattern, name, expected) in [
            ("*", "", true),
            ("", "", true),
            ("", "a", false),
            ("a*", "a", true),
            ("a*b*c", "aXbYbZc", true),
            ("a*b*c", "aXbYbZ", false),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("[abc]x", "bx", true),
            ("[^abc]x", "bx", false),
            ("[^abc]x", "dx", true),
            ("[a-c]", "b", true),
            ("[c-a]", "b", true),
            ("[\\]]", "]", true),
            ("\\*", "*", true),
            ("\\*", "a", false),
            ("[ab", "b", true),
            ("h[ae]llo*", "hallo welt", true),
        ] {
            assert_eq!(Glob::new(pattern).matches(name), expected, "{pattern:?} on {name:?}");
        }
    }

    #[test]
    fn many_stars_take_no_exponential_time() {
        let pattern = "*a".repeat(200);
        assert!(!Glob::new(pattern).matches(&"a".repeat(199)));
    }
}
