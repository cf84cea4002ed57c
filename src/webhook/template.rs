//! What a provider signs, as a template such as `{timestamp}.{body}`.

use super::Reason;

/// A part of what is signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part<'a> {
    Text(&'a str),
    Body,
    Timestamp,
    Id,
    Method,
    Path,
}

const NAMES: [(&str, Part<'_>); 5] = [
    ("body", Part::Body),
    ("timestamp", Part::Timestamp),
    ("id", Part::Id),
    ("method", Part::Method),
    ("path", Part::Path),
];

/// The parts of a template, or what is wrong with it.
pub(super) fn parse(template: &str) -> Result<Vec<Part<'_>>, String> {
    let mut parts = Vec::new();
    let mut rest = template;
    while !rest.is_empty() {
        let at = rest.find(['{', '}']).unwrap_or(rest.len());
        let (text, behind) = rest.split_at(at);
        if !text.is_empty() {
            parts.push(Part::Text(text));
        }
        if behind.is_empty() {
            break;
        }
        let Some((name, after)) = behind.strip_prefix('{').and_then(|inside| inside.split_once('}')) else {
            return Err("has a brace that is alone".into());
        };
        let Some((_, part)) = NAMES.iter().find(|(known, _)| *known == name) else {
            return Err(format!("has the part {:?}; known are {}", shorten(name), known()));
        };
        if parts.contains(part) {
            return Err(format!("has {{{name}}} twice"));
        }
        parts.push(*part);
        rest = after;
    }
    check(&parts)?;
    Ok(parts)
}

fn known() -> String {
    NAMES.map(|(name, _)| format!("{{{name}}}")).join(", ")
}

fn shorten(text: &str) -> String {
    text.chars().take(60).collect()
}

/// The body has to be signed. And where a signed id ends has to be clear: otherwise a byte could move from there
/// to what stands beside it, and a repeated request would look like another one. A timestamp beside it is all
/// right, as it has digits alone, and one digit more or less makes it years older or newer.
fn check(parts: &[Part<'_>]) -> Result<(), String> {
    if !parts.contains(&Part::Body) {
        return Err("has no {body}; what isn't signed can be changed".into());
    }
    let is_near = |part: &Part<'_>| !matches!(part, Part::Text(_) | Part::Timestamp | Part::Id);
    let touches = |pair: &[Part<'_>]| match pair {
        [Part::Id, other] | [other, Part::Id] => is_near(other),
        _ => false,
    };
    match parts.windows(2).any(touches) {
        true => Err("has {id} beside another part, so that nobody can tell where it ends".into()),
        false => Ok(()),
    }
}

/// Whether an id can be told from what stands beside it.
pub(super) fn check_id(id: &str, parts: &[Part<'_>]) -> Result<(), Reason> {
    let mut beside = parts.windows(2).filter_map(|pair| match pair {
        [Part::Id, Part::Text(text)] | [Part::Text(text), Part::Id] => Some(*text),
        _ => None,
    });
    match id.bytes().all(|byte| byte.is_ascii_graphic()) && !beside.any(|text| id.contains(text)) {
        true => Ok(()),
        false => Err(Reason::MalformedId),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_parts_in_their_order() {
        let text = Part::Text;
        assert_eq!(parse("{body}").unwrap(), [Part::Body]);
        assert_eq!(parse("v0:{timestamp}:{body}").unwrap(), [text("v0:"), Part::Timestamp, text(":"), Part::Body]);
        assert_eq!(
            parse("{method} {path}\n{id}{timestamp}{body}é").unwrap(),
            [Part::Method, text(" "), Part::Path, text("\n"), Part::Id, Part::Timestamp, Part::Body, text("é")]
        );
    }

    #[test]
    fn says_what_is_wrong() {
        for (template, word) in [
            ("", "no {body}"),
            ("{timestamp}", "no {body}"),
            ("{body", "brace"),
            ("body}", "brace"),
            ("{{body}}", "known are"),
            ("{query}{body}", "known are {body}, {timestamp}, {id}, {method}, {path}"),
            ("{}{body}", "known are"),
            ("{body}{body}", "twice"),
            ("{id}{body}", "beside"),
            ("{path}{id}.{body}", "beside"),
        ] {
            let wrong = parse(template).unwrap_err();
            assert!(wrong.contains(word), "{template}: {wrong}");
        }
    }

    #[test]
    fn an_id_has_none_of_what_separates_it() {
        let parts = parse("{id}.{timestamp}.{body}").unwrap();
        assert_eq!(check_id("msg_1", &parts), Ok(()));
        for id in ["msg.1", "msg 1", "m\u{e9}", "m\n"] {
            assert_eq!(check_id(id, &parts), Err(Reason::MalformedId), "{id}");
        }
        assert_eq!(check_id("msg.1", &parse("{body}:{id}").unwrap()), Ok(()));
        assert_eq!(check_id("msg:1", &parse("{body}:{id}").unwrap()), Err(Reason::MalformedId));
    }
}
