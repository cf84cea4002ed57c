//! Forms and queries: `application/x-www-form-urlencoded`.

use percent_encoding::percent_decode;

/// The names and values of a form, in their order. `None` if they are not UTF-8.
///
/// ```
/// let pairs = nuxt_queue_core::webhook::parse_form(b"text=two+words&text=%C3%A9").unwrap();
/// assert_eq!(pairs, [("text".into(), "two words".into()), ("text".into(), "é".into())]);
/// assert_eq!(nuxt_queue_core::webhook::parse_form(b"text=%FF"), None);
/// ```
pub fn parse_form(body: &[u8]) -> Option<Vec<(String, String)>> {
    // The parser replaces what is no UTF-8 without a word. Separators are ASCII, so the whole is UTF-8 exactly if
    // each part is.
    String::from_utf8(percent_decode(body).collect()).ok()?;
    Some(form_urlencoded::parse(body).into_owned().collect())
}

/// The names and values of a query, in their order, with or without its `?`. `None` if they are not UTF-8.
///
/// ```
/// let pairs = nuxt_queue_core::webhook::parse_query("a=1&b").unwrap();
/// assert_eq!(pairs, [("a".into(), "1".into()), ("b".into(), String::new())]);
/// ```
pub fn parse_query(query: &str) -> Option<Vec<(String, String)>> {
    parse_form(query.strip_prefix('?').unwrap_or(query).as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decodes_each_part_once() {
        let pairs = |body: &str| {
            let pairs = parse_form(body.as_bytes()).unwrap();
            pairs.into_iter().map(|(name, value)| format!("{name}>{value}")).collect::<Vec<_>>().join(" ")
        };
        for (body, expected) in [
            ("", ""),
            ("a=1&a=2", "a>1 a>2"),
            ("a=b=c", "a>b=c"),
            ("&&a&", "a>"),
            ("=1", ">1"),
            ("a%3Db=%26", "a=b>&"),
            ("a=%252B+%2B", "a>%2B +"),
            ("a=%zz%2", "a>%zz%2"),
        ] {
            assert_eq!(pairs(body), expected, "{body}");
        }
        assert_eq!(parse_query("?a=1"), parse_query("a=1"));
    }

    #[test]
    fn what_is_no_utf_8_is_no_form() {
        for body in [b"a=\xff".as_slice(), b"%ff=1", b"a=%C3&b=%A9", b"a=\xc3%"] {
            assert_eq!(parse_form(body), None, "{body:?}");
        }
    }
}
