//! JSON for scenarios: any depth, halves of surrogate pairs, numbers as they are written.
//!
//! A Rust text can't hold half a surrogate pair. Here such a half is a character of a private
//! plane, and an escape again when it is written.

use std::fmt::Write;

/// A JSON value.
#[derive(Debug, Clone, PartialEq)]
pub enum Json {
    Null,
    Bool(bool),
    /// The number's text.
    Number(String),
    Text(String),
    List(Vec<Json>),
    Object(Vec<(String, Json)>),
    /// JSON text that is too deep to be held as a value.
    Raw(String),
    /// In a list of parts: this one isn't there.
    Missing,
}

/// Where the 2,048 halves of surrogate pairs are kept.
const PRIVATE: u32 = 0x0010_f000;
const SURROGATES: std::ops::RangeInclusive<u32> = 0xd800..=0xdfff;

impl Json {
    pub fn text(text: impl Into<String>) -> Json {
        Json::Text(text.into())
    }

    pub fn number(number: impl ToString) -> Json {
        Json::Number(number.to_string())
    }

    pub fn object<const N: usize>(members: [(&str, Json); N]) -> Json {
        Json::Object(members.into_iter().map(|(key, value)| (key.to_owned(), value)).collect())
    }

    /// The member of this name, or of this number in a list.
    pub fn get(&self, key: &str) -> Option<&Json> {
        match self {
            Json::Object(members) => members.iter().rev().find(|(name, _)| name == key).map(|(_, value)| value),
            Json::List(items) => items.get(key.parse::<usize>().ok()?),
            _ => None,
        }
    }

    pub fn as_str(&self) -> Option<&str> {
        match self {
            Json::Text(text) => Some(text),
            _ => None,
        }
    }

    pub fn as_f64(&self) -> Option<f64> {
        match self {
            Json::Number(text) => text.parse().ok(),
            _ => None,
        }
    }

    pub fn as_list(&self) -> Option<&[Json]> {
        match self {
            Json::List(items) => Some(items),
            _ => None,
        }
    }

    pub fn members(&self) -> &[(String, Json)] {
        match self {
            Json::Object(members) => members,
            _ => &[],
        }
    }

    /// The text, as `JSON.stringify` would write it.
    pub fn to_json(&self) -> String {
        let mut out = String::new();
        self.write(&mut out);
        out
    }

    fn write(&self, out: &mut String) {
        match self {
            Json::Null | Json::Missing => out.push_str("null"),
            Json::Bool(value) => out.push_str(if *value { "true" } else { "false" }),
            Json::Number(text) | Json::Raw(text) => out.push_str(text),
            Json::Text(text) => quote(out, text),
            Json::List(items) => {
                let items = items.iter().map(|item| move |out: &mut String| item.write(out));
                enclose(out, ['[', ']'], items);
            }
            Json::Object(members) => {
                let members = members.iter().map(|(key, value)| {
                    move |out: &mut String| {
                        quote(out, key);
                        out.push(':');
                        value.write(out);
                    }
                });
                enclose(out, ['{', '}'], members);
            }
        }
    }

    /// Reads JSON text.
    pub fn parse(text: &str) -> Result<Json, String> {
        let mut parser = Parser { text, at: 0 };
        let value = parser.value()?;
        parser.space();
        if parser.at < text.len() { Err(parser.wrong("the end")) } else { Ok(value) }
    }
}

fn enclose<W: FnOnce(&mut String)>(out: &mut String, [open, close]: [char; 2], parts: impl Iterator<Item = W>) {
    out.push(open);
    for (n, part) in parts.enumerate() {
        if n > 0 {
            out.push(',');
        }
        part(out);
    }
    out.push(close);
}

fn quote(out: &mut String, text: &str) {
    out.push('"');
    for character in text.chars() {
        let code = character as u32;
        match character {
            '"' | '\\' => out.extend(['\\', character]),
            _ if code < 0x20 => escape(out, code),
            _ if (PRIVATE..PRIVATE + 0x800).contains(&code) => escape(out, code - PRIVATE + SURROGATES.start()),
            _ => out.push(character),
        }
    }
    out.push('"');
}

fn escape(out: &mut String, unit: u32) {
    let _ = write!(out, "\\u{unit:04x}");
}

struct Parser<'a> {
    text: &'a str,
    at: usize,
}

impl Parser<'_> {
    fn value(&mut self) -> Result<Json, String> {
        self.space();
        match self.peek() {
            Some(b'{') => self.items(b'}', Parser::member).map(Json::Object),
            Some(b'[') => self.items(b']', Parser::value).map(Json::List),
            Some(b'"') => self.string().map(Json::Text),
            Some(b'-' | b'0'..=b'9') => {
                Ok(Json::Number(self.take_while(|byte| b"+-.0123456789eE".contains(&byte)).to_owned()))
            }
            _ => match self.take_while(|byte| byte.is_ascii_lowercase()) {
                "null" => Ok(Json::Null),
                "true" => Ok(Json::Bool(true)),
                "false" => Ok(Json::Bool(false)),
                _ => Err(self.wrong("a value")),
            },
        }
    }

    fn member(&mut self) -> Result<(String, Json), String> {
        self.space();
        let key = self.string()?;
        self.space();
        self.expect(b':')?;
        Ok((key, self.value()?))
    }

    fn items<T>(&mut self, close: u8, item: fn(&mut Self) -> Result<T, String>) -> Result<Vec<T>, String> {
        self.at += 1;
        let mut items = Vec::new();
        self.space();
        if self.peek() == Some(close) {
            self.at += 1;
            return Ok(items);
        }
        loop {
            items.push(item(self)?);
            self.space();
            if self.peek() != Some(b',') {
                self.expect(close)?;
                return Ok(items);
            }
            self.at += 1;
        }
    }

    fn string(&mut self) -> Result<String, String> {
        self.expect(b'"')?;
        let mut string = String::new();
        loop {
            string.push_str(self.take_while(|byte| byte != b'"' && byte != b'\\'));
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(string);
                }
                Some(b'\\') => string.push(self.escape()?),
                _ => return Err(self.wrong("the end of a text")),
            }
        }
    }

    fn escape(&mut self) -> Result<char, String> {
        let escape = self.text.as_bytes().get(self.at + 1).copied();
        self.at += 2;
        Ok(match escape {
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(plain @ (b'"' | b'\\' | b'/')) => plain.into(),
            Some(b'u') => self.unit()?,
            _ => return Err(self.wrong("an escape")),
        })
    }

    /// A character from one or two UTF-16 units in hexadecimal digits.
    fn unit(&mut self) -> Result<char, String> {
        let high = self.hexadecimal(self.at)?;
        self.at += 4;
        let low = match self.text.get(self.at..self.at + 2) {
            Some("\\u") if (0xd800..0xdc00).contains(&high) => self.hexadecimal(self.at + 2).ok(),
            _ => None,
        };
        let code = match low {
            Some(low @ 0xdc00..=0xdfff) => {
                self.at += 6;
                0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00)
            }
            _ if SURROGATES.contains(&high) => PRIVATE + high - SURROGATES.start(),
            _ => high,
        };
        char::from_u32(code).ok_or_else(|| self.wrong("a character"))
    }

    fn hexadecimal(&self, at: usize) -> Result<u32, String> {
        let digits = self.text.get(at..at + 4).ok_or_else(|| self.wrong("four digits"))?;
        u32::from_str_radix(digits, 16).map_err(|_| self.wrong("hexadecimal digits"))
    }

    fn take_while(&mut self, belongs: impl Fn(u8) -> bool) -> &str {
        let rest = &self.text[self.at..];
        let length = rest.bytes().position(|byte| !belongs(byte)).unwrap_or(rest.len());
        self.at += length;
        &rest[..length]
    }

    fn space(&mut self) {
        self.take_while(|byte| byte.is_ascii_whitespace());
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn expect(&mut self, byte: u8) -> Result<(), String> {
        if self.peek() != Some(byte) {
            return Err(self.wrong(&format!("{:?}", byte as char)));
        }
        self.at += 1;
        Ok(())
    }

    fn wrong(&self, wanted: &str) -> String {
        let around: String = self.text[self.at.min(self.text.len())..].chars().take(30).collect();
        format!("expected {wanted} at byte {}: {around:?}", self.at)
    }
}
