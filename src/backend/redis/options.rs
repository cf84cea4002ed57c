//! Where the Redis server is and how to log in.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use redis::{ConnectionAddr, IntoConnectionInfo};

use crate::error::{Code, Error, Result};

/// How to reach a Redis server.
#[derive(Clone)]
pub struct RedisOptions {
    /// The server's address, unless `topology` says otherwise.
    pub address: Address,
    /// Whether there are several servers, and how to find the right one.
    pub topology: Topology,
    /// The user to log in as; the server's default user if there is only a password.
    pub username: Option<String>,
    /// The password; never shown.
    pub password: Option<String>,
    /// The number of the database.
    pub db: u32,
    /// Encrypt the connection.
    pub tls: Option<TlsOptions>,
    /// How long one attempt to connect may take.
    pub connect_timeout: Duration,
    /// A connection that owes an answer and stays silent for so long is given up.
    pub silence_timeout: Duration,
}

/// How servers belong together.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Topology {
    /// One server, which has everything.
    #[default]
    Standalone,
    /// A master that Sentinels know.
    Sentinel(SentinelOptions),
    /// A cluster; these of its nodes are asked for the others.
    Cluster(Vec<Address>),
}

/// Where the Sentinels are, and which master is meant.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct SentinelOptions {
    /// The Sentinels, asked one after the other.
    pub addresses: Vec<Address>,
    /// The master's name in their configuration.
    pub name: String,
    /// The user to log in as at the Sentinels.
    pub username: Option<String>,
    /// The password for the Sentinels; never shown.
    pub password: Option<String>,
}

impl fmt::Debug for SentinelOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SentinelOptions")
            .field("addresses", &self.addresses)
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// A server's address.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Address {
    /// Host name or IP, and port.
    Tcp(String, u16),
    /// The path of a Unix socket.
    Unix(PathBuf),
}

/// How to check the server's certificate, and what to show it.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct TlsOptions {
    /// Certificate authorities in PEM form, instead of the system's.
    pub ca: Option<String>,
    /// The name that the certificate has to carry, instead of the host's.
    pub server_name: Option<String>,
    /// The certificate to show, and its key.
    pub identity: Option<TlsIdentity>,
}

/// Who the client is.
#[derive(Clone, PartialEq, Eq)]
pub struct TlsIdentity {
    /// Its certificate in PEM form, followed by those that lead to the authority.
    pub certificate: String,
    /// The key of the certificate in PEM form, not encrypted; never shown.
    pub key: String,
}

impl fmt::Debug for TlsOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsOptions").field("server_name", &self.server_name).finish_non_exhaustive()
    }
}

impl fmt::Debug for TlsIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TlsIdentity")
    }
}

impl Default for RedisOptions {
    fn default() -> Self {
        RedisOptions {
            address: Address::Tcp("127.0.0.1".into(), 6379),
            topology: Topology::Standalone,
            username: None,
            password: None,
            db: 0,
            tls: None,
            connect_timeout: Duration::from_secs(5),
            silence_timeout: Duration::from_secs(10),
        }
    }
}

impl RedisOptions {
    /// Reads `redis://[user[:password]@]host[:port][/db]`, `rediss://…` (TLS) or `unix:///path`.
    ///
    /// ```
    /// use nuxt_queue_core::backend::redis::RedisOptions;
    /// let options = RedisOptions::from_url("redis://:secret@localhost:6380/2").unwrap();
    /// assert_eq!(options.to_string(), "localhost:6380");
    /// ```
    pub fn from_url(url: &str) -> Result<Self> {
        // The crate's message is left out: it may hold the URL, and so the password.
        let info = url.into_connection_info().map_err(|_| {
            Error::new(Code::Config, "redis.url is malformed; expected redis://[user:password@]host[:port][/db], rediss://… for TLS, or unix:///path.")
        })?;
        let login = info.redis_settings();
        let mut options = RedisOptions {
            username: login.username().map(str::to_owned),
            password: login.password().map(str::to_owned),
            db: u32::try_from(login.db())
                .map_err(|_| Error::new(Code::Config, "The database number in redis.url is negative."))?,
            ..RedisOptions::default()
        };
        match info.addr() {
            ConnectionAddr::Tcp(host, port) => options.address = Address::Tcp(host.clone(), *port),
            ConnectionAddr::TcpTls { host, port, insecure: false, .. } => {
                options.address = Address::Tcp(host.clone(), *port);
                options.tls = Some(TlsOptions::default());
            }
            ConnectionAddr::Unix(path) => options.address = Address::Unix(path.clone()),
            _ => return Err(Error::new(Code::Config, "redis.url asks for a connection without certificate checks.")),
        }
        Ok(options)
    }
}

impl RedisOptions {
    /// The same for one server among several.
    pub(super) fn at(&self, address: Address) -> RedisOptions {
        RedisOptions { address, topology: Topology::Standalone, ..self.clone() }
    }

    /// What can't work, whatever the servers say.
    pub(super) fn check(&self) -> Result<()> {
        let wrong = |message: &str| Err(Error::new(Code::Config, message));
        match &self.topology {
            Topology::Standalone => Ok(()),
            Topology::Cluster(nodes) if nodes.is_empty() => {
                wrong("redis.cluster is empty; name at least one node of the cluster, as host:port.")
            }
            Topology::Cluster(_) if self.db != 0 => {
                wrong("A Redis Cluster has database 0 only; leave redis.db out, or set it to 0.")
            }
            Topology::Sentinel(sentinel) if sentinel.addresses.is_empty() => {
                wrong("redis.sentinel.hosts is empty; name at least one Sentinel, as host:port.")
            }
            Topology::Sentinel(sentinel) if sentinel.name.is_empty() => {
                wrong("redis.sentinel.name is missing; it is the name of the master in the Sentinels' configuration.")
            }
            Topology::Cluster(_) | Topology::Sentinel(_) => Ok(()),
        }
    }
}

impl Address {
    /// Reads `host`, `host:port`, `[::1]:port`, or the same behind `redis://` or `rediss://`; whether it is to be
    /// encrypted comes with it. What is refused is not shown: it may hold a password.
    pub fn parse(text: &str, default_port: u16) -> Result<(Address, bool)> {
        let malformed = || Error::new(Code::Config, "it is not host:port");
        let encrypted = text.starts_with("rediss://");
        let rest = text.strip_prefix("redis://").or_else(|| text.strip_prefix("rediss://")).unwrap_or(text);
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        if rest.contains('@') {
            let message = "it holds a login, which belongs into username and password beside it";
            return Err(Error::new(Code::Config, message));
        }
        let (host, port) = match rest.rsplit_once(':') {
            Some((host, port)) if !host.contains(':') || host.ends_with(']') => (host, Some(port)),
            _ => (rest, None),
        };
        let port = port.map_or(Ok(default_port), str::parse).map_err(|_| malformed())?;
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        let is_strange = |character: char| character.is_whitespace() || "/?#[]".contains(character);
        match host.is_empty() || port == 0 || host.contains(is_strange) {
            true => Err(malformed()),
            false => Ok((Address::Tcp(host.to_owned(), port), encrypted)),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Tcp(host, port) if host.contains(':') => write!(f, "[{host}]:{port}"),
            Address::Tcp(host, port) => write!(f, "{host}:{port}"),
            Address::Unix(path) => write!(f, "{}", path.display()),
        }
    }
}

/// The addresses alone: what messages may show.
impl fmt::Display for RedisOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.topology {
            Topology::Standalone => self.address.fmt(f),
            Topology::Sentinel(sentinel) => {
                write!(f, "{} (named by the Sentinels {})", sentinel.name, list(&sentinel.addresses))
            }
            Topology::Cluster(nodes) => write!(f, "the cluster of {}", list(nodes)),
        }
    }
}

fn list(addresses: &[Address]) -> String {
    addresses.iter().map(Address::to_string).collect::<Vec<_>>().join(", ")
}

impl fmt::Debug for RedisOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisOptions")
            .field("address", &self.address)
            .field("topology", &self.topology)
            .field("db", &self.db)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_every_part_of_a_url() {
        let options = RedisOptions::from_url("rediss://me:p%40ss@example.org:7000/3").unwrap();
        assert_eq!(options.address, Address::Tcp("example.org".into(), 7000));
        assert_eq!((options.username.as_deref(), options.password.as_deref()), (Some("me"), Some("p@ss")));
        assert_eq!((options.db, options.tls.is_some()), (3, true));
    }

    #[test]
    fn reads_the_addresses_of_nodes() {
        let tcp = |host: &str, port| Address::Tcp(host.into(), port);
        for (text, address, encrypted) in [
            ("localhost", tcp("localhost", 6379), false),
            ("localhost:7000", tcp("localhost", 7000), false),
            ("redis://10.0.0.1:7000/", tcp("10.0.0.1", 7000), false),
            ("rediss://example.org", tcp("example.org", 6379), true),
            ("[::1]:7000", tcp("::1", 7000), false),
            ("::1", tcp("::1", 6379), false),
        ] {
            assert_eq!(Address::parse(text, 6379).unwrap(), (address, encrypted), "{text}");
        }
        for text in
            ["", ":7000", "host:0", "host:70000", "host:port", "a b:1", "http://host:1", "redis://me:hunter2@host"]
        {
            let error = Address::parse(text, 6379).unwrap_err();
            assert!(!error.message().contains("hunter2"), "{error}");
        }
    }

    #[test]
    fn p8_no_text_shows_the_password() {
        let options = RedisOptions::from_url("redis://me:hunter2@localhost").unwrap();
        assert!(!format!("{options} {options:?}").contains("hunter2"));
        let error = RedisOptions::from_url("redis://me:hunter2@local host:notaport").unwrap_err();
        assert!(!format!("{error} {error:?}").contains("hunter2"));
    }
}
