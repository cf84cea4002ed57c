//! Which trigger a request is for.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::path::{PathPattern, Segment, decode, is_reserved};

/// Endpoints by method and path. Finding one takes as long as its path is, however many there are.
///
/// ```
/// use nuxt_queue_core::webhook::{Found, PathPattern, Routes};
/// let mut routes = Routes::default();
/// routes.insert("POST", &PathPattern::parse("/hooks/:tenant").unwrap(), "orders").unwrap();
/// let Found::Route { name, params } = routes.find("POST", "/hooks/acme") else { panic!() };
/// assert_eq!((name.as_str(), params), ("orders", vec![("tenant".to_string(), "acme".to_string())]));
/// assert_eq!(routes.find("GET", "/hooks/acme"), Found::OtherMethod(vec!["POST".into()]));
/// assert_eq!(routes.find("POST", "/hooks"), Found::None);
/// ```
#[derive(Debug, Clone, Default)]
pub struct Routes {
    root: Node,
}

/// Where a path can go on from one of its parts.
#[derive(Debug, Clone, Default)]
struct Node {
    exact: HashMap<String, Node>,
    parameter: Option<Box<Node>>,
    /// What ends here, by method.
    ends: BTreeMap<String, End>,
}

#[derive(Debug, Clone)]
struct End {
    name: String,
    pattern: PathPattern,
}

/// What is found under a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// The endpoint.
    Route {
        /// The name that it was put in under.
        name: String,
        /// Its parameters, decoded, in the order of the path.
        params: Vec<(String, String)>,
    },
    /// None for this method, but for these.
    OtherMethod(Vec<String>),
    /// Nothing.
    None,
}

impl Routes {
    /// Puts an endpoint in.
    ///
    /// # Errors
    /// The sentence that names the other endpoint, if the same requests are for one already. What parameters are
    /// called makes no difference.
    pub fn insert(&mut self, method: &str, pattern: &PathPattern, name: &str) -> Result<(), String> {
        let mut node = &mut self.root;
        for segment in &pattern.segments {
            node = match segment {
                Segment::Exact(text) => node.exact.entry(text.clone()).or_default(),
                Segment::Parameter(_) => node.parameter.get_or_insert_default(),
            };
        }
        let method = method.to_ascii_uppercase();
        if let Some(other) = node.ends.get(&method) {
            return Err(format!(
                "{method} {pattern} belongs to the trigger {:?} already, as {}; give one of the two another path.",
                other.name, other.pattern
            ));
        }
        node.ends.insert(method, End { name: name.to_owned(), pattern: pattern.clone() });
        Ok(())
    }

    /// The endpoint of a request. A path as it is written goes before a parameter, part by part from the left. A
    /// slash at the end says nothing. Parts are compared decoded; a slash that is encoded separates nothing.
    pub fn find(&self, method: &str, path: &str) -> Found {
        let Some(segments) = split(path) else { return Found::None };
        let mut search = Search {
            segments: &segments,
            method: method.to_ascii_uppercase(),
            taken: Vec::new(),
            others: BTreeSet::new(),
        };
        match search.below(&self.root, 0) {
            Some(end) => {
                let values = search.taken.into_iter().map(|at| segments[at].clone());
                let params = end.pattern.parameters().map(str::to_owned).zip(values).collect();
                Found::Route { name: end.name.clone(), params }
            }
            None if search.others.is_empty() => Found::None,
            None => Found::OtherMethod(search.others.into_iter().collect()),
        }
    }
}

/// The parts of a path, decoded. `None` if no endpoint can have it.
fn split(path: &str) -> Option<Vec<String>> {
    let rest = path.strip_prefix('/')?;
    let segments: Vec<String> = match rest.is_empty() {
        true => Vec::new(),
        false => rest.strip_suffix('/').unwrap_or(rest).split('/').map(decode).collect::<Option<_>>()?,
    };
    (!is_reserved(segments.iter().map(String::as_str))).then_some(segments)
}

struct Search<'a> {
    segments: &'a [String],
    method: String,
    /// The parts that are parameters on the way to here.
    taken: Vec<usize>,
    /// The methods that this path has.
    others: BTreeSet<String>,
}

impl Search<'_> {
    /// As deep as the deepest pattern at most, which is bounded by how long one may be.
    fn below<'n>(&mut self, node: &'n Node, at: usize) -> Option<&'n End> {
        let Some(segment) = self.segments.get(at) else {
            self.others.extend(node.ends.keys().cloned());
            return node.ends.get(&self.method);
        };
        if let Some(end) = node.exact.get(segment).and_then(|next| self.below(next, at + 1)) {
            return Some(end);
        }
        let next = node.parameter.as_deref()?;
        self.taken.push(at);
        let end = self.below(next, at + 1);
        if end.is_none() {
            self.taken.pop();
        }
        end
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn routes(all: &[(&str, &str)]) -> Routes {
        let mut routes = Routes::default();
        for (method, path) in all {
            routes.insert(method, &PathPattern::parse(path).unwrap(), &format!("{method} {path}")).unwrap();
        }
        routes
    }

    /// `name param=value …`, the methods in brackets, or nothing.
    fn found(routes: &Routes, method: &str, path: &str) -> String {
        match routes.find(method, path) {
            Found::Route { name, params } => {
                params.iter().fold(name, |text, (name, value)| format!("{text} {name}={value}"))
            }
            Found::OtherMethod(methods) => format!("{methods:?}"),
            Found::None => String::new(),
        }
    }

    #[test]
    fn finds_what_fits_best() {
        let routes = routes(&[
            ("POST", "/"),
            ("POST", "/a/b"),
            ("POST", "/:x/c"),
            ("POST", "/a/:y"),
            ("PUT", "/a/:z"),
            ("POST", "/a/b/:c/d"),
            ("POST", "/:x/:y/e/:z"),
            ("POST", "/caf%C3%A9"),
        ]);
        for (path, expected) in [
            ("/", "POST /"),
            ("/a/b", "POST /a/b"),
            ("/a/b/", "POST /a/b"),
            ("/%61/b", "POST /a/b"),
            ("/a/c", "POST /a/:y y=c"),
            ("/q/c", "POST /:x/c x=q"),
            ("/a/b/1/d", "POST /a/b/:c/d c=1"),
            ("/a/b/e/d", "POST /a/b/:c/d c=e"),
            ("/a/b/e/f", "POST /:x/:y/e/:z x=a y=b z=f"),
            ("/a/x%2Fy%20z", "POST /a/:y y=x/y z"),
            ("/café", "POST /caf%C3%A9"),
            ("/caf%c3%a9", "POST /caf%C3%A9"),
        ] {
            assert_eq!(found(&routes, "POST", path), expected, "{path}");
            assert_eq!(found(&routes, "post", path), expected, "{path}");
        }
        for path in
            ["", "a/b", "//", "/a//b", "/a/b//", "/a/b%", "/a/%ff", "/a/..", "/a/%2e%2e", "/a/%00", "/A/b/x", "*"]
        {
            assert_eq!(found(&routes, "POST", path), "", "{path}");
        }
    }

    #[test]
    fn a_method_finds_its_own() {
        let routes = routes(&[("GET", "/a/b"), ("POST", "/a/:x"), ("PUT", "/a/:y")]);
        assert_eq!(found(&routes, "POST", "/a/b"), "POST /a/:x x=b");
        assert_eq!(found(&routes, "PUT", "/a/b"), "PUT /a/:y y=b");
        assert_eq!(found(&routes, "DELETE", "/a/b"), r#"["GET", "POST", "PUT"]"#);
        assert_eq!(found(&routes, "GET", "/a/c"), r#"["POST", "PUT"]"#);
    }

    #[test]
    fn two_of_the_same_shape_clash() {
        let mut routes = routes(&[("POST", "/hooks/:a/x"), ("GET", "/hooks/:b/x"), ("POST", "/%61")]);
        for (path, other) in [("/hooks/:b/x", "POST /hooks/:a/x"), ("/a", "POST /%61")] {
            let clash = routes.insert("post", &PathPattern::parse(path).unwrap(), "new").unwrap_err();
            assert!(clash.contains(&format!("{other:?}")), "{clash}");
        }
        assert_eq!(found(&routes, "POST", "/hooks/1/x"), "POST /hooks/:a/x a=1");
    }

    #[test]
    fn no_parameter_reaches_the_paths_of_the_package() {
        let routes = routes(&[("POST", "/:a/:b"), ("POST", "/:a/:b/await/:c")]);
        for path in ["/api/_triggers", "/api/_triggers/await/x", "/api/%5ftriggers/await/x"] {
            assert_eq!(found(&routes, "POST", path), "", "{path}");
        }
    }

    #[test]
    fn many_and_deep_ones_are_found() {
        let deep = |last: &str| format!("/:p{}{}", "/a".repeat(500), last);
        let mut many: Vec<String> = (0..10_000).map(|n| format!("/hooks/{n}/:x")).collect();
        many.extend([deep("/b"), deep("/c").replacen(":p", "q", 1)]);
        let all: Vec<(&str, &str)> = many.iter().map(|path| ("POST", path.as_str())).collect();
        let routes = routes(&all);
        assert_eq!(found(&routes, "POST", "/hooks/9999/1"), "POST /hooks/9999/:x x=1");
        assert_eq!(found(&routes, "POST", &deep("/b").replacen(":p", "q", 1)), format!("POST {} p=q", deep("/b")));
        assert_eq!(found(&routes, "POST", &"/a".repeat(1_000_000)), "");
    }
}
