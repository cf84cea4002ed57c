//! The values of scenarios: what stands in a step becomes arguments ([`Names::resolve`]), and what
//! a call gave back is held against what a step expects ([`mismatch`]).
//! The format is described in `tests/conformance/README.md`.

use std::collections::HashMap;

use nuxt_queue_core::EventId;
use nuxt_queue_core::event::{format_time, parse_time};

use super::json::Json;

/// What a play knows by name.
#[derive(Debug, Clone, Default)]
pub struct Names {
    /// `{s}`, the stream of this play.
    pub stream: String,
    /// `{run}`, the run of this play.
    pub run: String,
    /// `{i}`, the number of the call.
    pub i: usize,
    /// Results of earlier steps; `None` where a result was nothing.
    pub results: HashMap<String, Option<Json>>,
}

/// How closely a result has to be what was expected.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Mode {
    /// Objects have the same members.
    Exact,
    /// Members that aren't mentioned don't matter.
    Like,
}

impl Names {
    /// Replaces names, references and operators that make a value. `None` stands for nothing.
    pub fn resolve(&self, value: &Json) -> Result<Option<Json>, String> {
        Ok(Some(match value {
            Json::Text(text) => return self.resolve_text(text),
            Json::List(items) => {
                let items = items.iter().map(|item| Ok(self.resolve(item)?.unwrap_or(Json::Null)));
                Json::List(items.collect::<Result<_, String>>()?)
            }
            Json::Object(_) => self.resolve_object(value)?,
            plain => plain.clone(),
        }))
    }

    fn resolve_object(&self, object: &Json) -> Result<Json, String> {
        if let Some(Json::List(arguments)) = object.get("$times") {
            return self.times(arguments);
        }
        let mut members = Vec::new();
        for (key, member) in object.members() {
            members.extend(self.resolve(member)?.map(|member| (key.clone(), member)));
        }
        let resolved = Json::Object(members);
        let maker = resolved.members().iter().find_map(|(key, argument)| make(key, argument, &resolved));
        maker.unwrap_or(Ok(resolved))
    }

    fn resolve_text(&self, text: &str) -> Result<Option<Json>, String> {
        if let Some(plain) = text.strip_prefix("$$") {
            return Ok(Some(Json::text(format!("${plain}"))));
        }
        if let Some(path) = reference(text) {
            let (name, path) = path.split_once('.').unwrap_or((path, ""));
            let result =
                self.results.get(name).ok_or_else(|| format!("no step before this one has the name {name:?}"))?;
            return Ok(result.as_ref().and_then(|result| at(result, path)).cloned());
        }
        if text == "{i}" {
            return Ok(Some(Json::number(self.i)));
        }
        let text = text.replace("{s}", &self.stream).replace("{run}", &self.run).replace("{i}", &self.i.to_string());
        Ok(Some(Json::Text(text)))
    }

    fn times(&self, arguments: &[Json]) -> Result<Json, String> {
        let [count, template] = arguments else { return Err("$times takes a count and a value".into()) };
        let items = (0..whole(count)?).map(|i| {
            let names = Names { i, ..self.clone() };
            Ok(names.resolve(template)?.unwrap_or(Json::Null))
        });
        Ok(Json::List(items.collect::<Result<_, String>>()?))
    }
}

/// `name.path` of a text `$name.path`.
fn reference(text: &str) -> Option<&str> {
    let path = text.strip_prefix('$')?;
    let name = path.split('.').next()?;
    let named = name.starts_with(|first: char| first.is_ascii_lowercase())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric());
    named.then_some(path)
}

/// The value that an operator makes; `None` if the key is none.
fn make(key: &str, argument: &Json, beside: &Json) -> Option<Result<Json, String>> {
    let plus = beside.get("plus").and_then(Json::as_f64).unwrap_or(0.0) as i64;
    let instant = || milliseconds(argument).map(|ms| ms.saturating_add_signed(plus));
    Some(match key {
        "$repeat" => pair(argument).and_then(|(text, count)| Ok(Json::text(words_of(text)?.repeat(whole(count)?)))),
        "$pad" => pad(argument),
        "$nest" => whole(argument).map(|depth| Json::Raw("[".repeat(depth) + &"]".repeat(depth))),
        "$range" => pair(argument)
            .and_then(|(first, last)| Ok(Json::List((whole(first)?..=whole(last)?).map(Json::number).collect()))),
        "$ms" | "$date" => instant().map(Json::number),
        "$iso" => instant().map(|ms| Json::text(format_time(ms))),
        "$timeline" => {
            argument.as_list().unwrap_or_default().iter().map(record).collect::<Result<_, _>>().map(Json::List)
        }
        _ => return None,
    })
}

fn pad(argument: &Json) -> Result<Json, String> {
    let Some([start, filler, bytes]) = argument.as_list() else {
        return Err("$pad takes a start, a filler and a length".into());
    };
    let (start, filler) = (words_of(start)?, words_of(filler)?);
    let count = (whole(bytes)? - start.len()) / filler.len();
    Ok(Json::text(start.to_owned() + &filler.repeat(count)))
}

/// A record of run `r1`, flow `train`, so many seconds after the beginning of 2025.
fn record(event: &Json) -> Result<Json, String> {
    let seconds = event.get("at").map_or(Ok(0), whole)?;
    let ms = 1_735_689_600_000 + seconds as u64 * 1000;
    let head = Json::object([
        ("id", Json::text(format!("{ms}-0"))),
        ("stream", Json::text("nq:flow:r1")),
        ("timestamp", Json::text(format_time(ms))),
        ("runId", Json::text("r1")),
        ("flowName", Json::text("train")),
    ]);
    let rest = event.members().iter().filter(|(key, _)| key != "at");
    Ok(Json::Object(head.members().iter().chain(rest).cloned().collect()))
}

fn milliseconds(point: &Json) -> Result<u64, String> {
    match point {
        Json::Number(_) => whole(point).map(|ms| ms as u64),
        _ => {
            let text = words_of(point)?;
            let ms = text.parse::<EventId>().ok().map(|id| id.ms).or_else(|| parse_time(text));
            ms.ok_or_else(|| format!("{text:?} is no instant"))
        }
    }
}

fn pair(argument: &Json) -> Result<(&Json, &Json), String> {
    match argument.as_list() {
        Some([first, second]) => Ok((first, second)),
        _ => Err(format!("expected two arguments, not {}", show(Some(argument)))),
    }
}

fn whole(number: &Json) -> Result<usize, String> {
    let value = number.as_f64().filter(|value| *value >= 0.0 && value.fract() == 0.0);
    value.map(|value| value as usize).ok_or_else(|| format!("{} is no whole number", show(Some(number))))
}

fn words_of(text: &Json) -> Result<&str, String> {
    text.as_str().ok_or_else(|| format!("{} is no text", show(Some(text))))
}

/// The part of a value at a path such as `data.steps.0`.
pub fn at<'a>(value: &'a Json, path: &str) -> Option<&'a Json> {
    path.split('.').filter(|key| !key.is_empty()).try_fold(value, |inner, key| inner.get(key))
}

/// Says where `actual` is not what was expected; `None` if it is.
pub fn mismatch(expected: &Json, actual: Option<&Json>, mode: Mode, path: &str) -> Option<String> {
    let actual = actual.filter(|actual| **actual != Json::Missing);
    if let Some(fits) = matches_pattern(expected, actual) {
        return (!fits).then(|| wrong(path, expected, actual));
    }
    match (expected, actual) {
        (Json::List(expected), Some(Json::List(actual))) if expected.len() == actual.len() => {
            let mut pairs = expected.iter().zip(actual).enumerate();
            pairs.find_map(|(n, (expected, actual))| mismatch(expected, Some(actual), mode, &format!("{path}[{n}]")))
        }
        (Json::List(expected), Some(Json::List(actual))) => {
            Some(format!("at result{path}.length: expected {}, got {}", expected.len(), actual.len()))
        }
        (Json::Object(members), Some(Json::Object(others))) => {
            let mut members = members.iter();
            let different =
                members.find_map(|(key, member)| mismatch(member, actual?.get(key), mode, &format!("{path}.{key}")));
            let mut others = others.iter().filter(|(key, _)| mode == Mode::Exact && expected.get(key).is_none());
            different.or_else(|| {
                others
                    .next()
                    .map(|(key, value)| format!("at result{path}.{key}: expected nothing, got {}", show(Some(value))))
            })
        }
        _ if same(expected, actual) => None,
        _ => Some(wrong(path, expected, actual)),
    }
}

/// Whether words such as `<id>` and operators that stand for many values fit; `None`: it is neither.
fn matches_pattern(expected: &Json, actual: Option<&Json>) -> Option<bool> {
    let text = actual.and_then(Json::as_str);
    Some(match expected {
        Json::Text(word) => match word.as_str() {
            "<any>" => actual.is_some(),
            "<missing>" => actual.is_none(),
            "<id>" => text.is_some_and(|text| text.parse::<EventId>().is_ok()),
            "<timestamp>" => text.and_then(parse_time).is_some_and(|ms| Some(format_time(ms).as_str()) == text),
            _ => return None,
        },
        Json::Object(members) => match members.as_slice() {
            [(key, other)] if key == "$not" => mismatch(other, actual, Mode::Exact, "").is_some(),
            [(key, other)] if key == "$after" => id(actual) > id(Some(other)),
            _ => return None,
        },
        _ => return None,
    })
}

/// The id that a value is the text of.
pub fn id(value: Option<&Json>) -> Option<EventId> {
    value?.as_str()?.parse().ok()
}

fn same(expected: &Json, actual: Option<&Json>) -> bool {
    match (expected, actual) {
        (Json::Number(_), Some(actual)) => expected.as_f64() == actual.as_f64(),
        (Json::Raw(text), Some(actual)) => *text == actual.to_json(),
        (_, actual) => Some(expected) == actual,
    }
}

fn wrong(path: &str, expected: &Json, actual: Option<&Json>) -> String {
    format!("at result{path}: expected {}, got {}", show(Some(expected)), show(actual))
}

/// A short text of any value, for messages.
pub fn show(value: Option<&Json>) -> String {
    let text = value.map_or_else(|| "nothing".into(), Json::to_json);
    match text.char_indices().nth(400) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}
