//! Where the Redis server is and how to log in.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use redis::{ConnectionAddr, IntoConnectionInfo};

use crate::error::{Code, Error, Result};

/// How to reach a Redis server.
#[derive(Clone)]
pub struct RedisOptions {
    /// The server's address.
    pub address: Address,
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

/// A server's address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// Host name or IP, and port.
    Tcp(String, u16),
    /// The path of a Unix socket.
    Unix(PathBuf),
}

/// How to check the server's certificate.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TlsOptions {
    /// Certificate authorities in PEM form, instead of the system's.
    pub ca: Option<String>,
    /// The name that the certificate has to carry, instead of the host's.
    pub server_name: Option<String>,
}

impl Default for RedisOptions {
    fn default() -> Self {
        RedisOptions {
            address: Address::Tcp("127.0.0.1".into(), 6379),
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

/// The address alone: what messages may show.
impl fmt::Display for RedisOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.address {
            Address::Tcp(host, port) => write!(f, "{host}:{port}"),
            Address::Unix(path) => write!(f, "{}", path.display()),
        }
    }
}

impl fmt::Debug for RedisOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisOptions").field("address", &self.address).field("db", &self.db).finish_non_exhaustive()
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
    fn p8_no_text_shows_the_password() {
        let options = RedisOptions::from_url("redis://me:hunter2@localhost").unwrap();
        assert!(!format!("{options} {options:?}").contains("hunter2"));
        let error = RedisOptions::from_url("redis://me:hunter2@local host:notaport").unwrap_err();
        assert!(!format!("{error} {error:?}").contains("hunter2"));
    }
}
