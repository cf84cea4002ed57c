//! One authenticated socket.

use std::future::Future;
use std::sync::Arc;
use std::time::Instant;

use redis::{FromRedisValue, Value};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore, crypto::ring};

use super::options::{Address, RedisOptions, TlsIdentity, TlsOptions};
use super::wire::{FrameScanner, command, value};
use crate::clock::monotonic;
use crate::error::{Code, Error, Result};

/// The oldest server whose commands are used here (exclusive ranges, `ZRANGE REV`).
const OLDEST_VERSION: (u32, u32) = (6, 2);

/// How much is read at once.
pub(super) const READ_SIZE: usize = 64 * 1024;
/// A buffer that grew over this for one big message is given back.
pub(super) const KEPT_CAPACITY: usize = 1024 * 1024;

/// Bytes in both directions, encrypted or not.
pub(super) trait Socket: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Socket for T {}

/// A connection that is logged in and ready.
pub(super) struct Connection {
    pub(super) socket: Box<dyn Socket>,
    /// Bytes that came in and are not consumed.
    pub(super) input: Vec<u8>,
    pub(super) scanner: FrameScanner,
    pub(super) identity: Identity,
    /// Where it leads to.
    pub(super) address: Address,
    /// What kind of server it is, as far as it says so: `standalone`, `cluster`, `sentinel`.
    pub(super) mode: Option<String>,
    /// The server's clock at the moment of connecting, and the moment.
    pub(super) server_ms: u64,
    pub(super) since: Instant,
}

/// Which client of which server process this is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Identity {
    pub(super) server_process: Option<String>,
    pub(super) client_id: u64,
}

impl Connection {
    /// Connects, logs in, and asks the server who it is.
    pub(super) async fn open(options: &RedisOptions) -> Result<Connection> {
        Connection::open_as(options, async |mut connection| {
            connection.introduce(options).await?;
            Ok(connection)
        })
        .await
    }

    /// Connects, logs in, and does something more within the same time.
    pub(super) async fn open_as(
        options: &RedisOptions,
        then: impl AsyncFnOnce(Connection) -> Result<Connection>,
    ) -> Result<Connection> {
        let opened = timeout(options.connect_timeout, async { then(Connection::connect(options).await?).await }).await;
        let opened = opened.unwrap_or_else(|_| Err(unreachable(options, "no answer in time")));
        // What went wrong underneath does not know where.
        opened.map_err(|error| match error.code() {
            Code::Unavailable if !error.message().contains(&options.to_string()) => {
                unreachable(options, error.cause().unwrap_or(error.message()))
            }
            _ => error,
        })
        // Some servers say back what they were sent.
        .map_err(|error| match &options.password {
            Some(password) if !password.is_empty() => error.without(password),
            _ => error,
        })
    }

    async fn connect(options: &RedisOptions) -> Result<Connection> {
        let socket = open_socket(options).await?;
        let identity = Identity { server_process: None, client_id: 0 };
        let (input, scanner) = (Vec::with_capacity(READ_SIZE), FrameScanner::default());
        let (address, mode) = (options.address.clone(), None);
        let mut connection =
            Connection { socket, input, scanner, identity, address, mode, server_ms: 0, since: monotonic() };
        connection.log_in(options).await?;
        Ok(connection)
    }

    async fn log_in(&mut self, options: &RedisOptions) -> Result<()> {
        let refused = |error: Error| match error.code() {
            Code::Backend if error.message().contains("NOAUTH") => wants_password(options),
            Code::Backend => {
                Error::new(Code::Config, format!("Redis at {options} refused the log-in.")).caused_by(error.message())
            }
            _ => error,
        };
        let mut hello = redis::cmd("HELLO");
        hello.arg(3);
        if options.password.is_some() || options.username.is_some() {
            let username = options.username.as_deref().unwrap_or("default");
            hello.arg("AUTH").arg(username).arg(options.password.as_deref().unwrap_or_default());
        }
        match self.call(&hello.get_packed_command()).await {
            // A proxy that speaks RESP2 only.
            Err(error) if error.code() == Code::Backend && is_unknown_command(&error) => {
                self.log_in_resp2(options).await.map_err(refused)?
            }
            answer => drop(answer.map_err(refused)?),
        }
        if options.db != 0 {
            self.call(redis::cmd("SELECT").arg(options.db).get_packed_command().as_slice()).await.map_err(refused)?;
        }
        Ok(())
    }

    async fn log_in_resp2(&mut self, options: &RedisOptions) -> Result<()> {
        let Some(password) = &options.password else { return Ok(()) };
        let mut auth = redis::cmd("AUTH");
        auth.arg(&options.username).arg(password);
        self.call(&auth.get_packed_command()).await.map(drop)
    }

    pub(super) async fn introduce(&mut self, options: &RedisOptions) -> Result<()> {
        // While a restarted server loads its data it refuses this: connecting is tried again later.
        self.call(&command([b"PING"])).await.map_err(|error| match error.message().contains("LOADING") {
            true => unreachable(options, "it is still loading its data"),
            false if error.message().contains("NOAUTH") => wants_password(options),
            false => error,
        })?;
        let id: Value = self.call(&command([b"CLIENT", b"ID"])).await.unwrap_or_default();
        self.identity.client_id = u64::from_redis_value(id).unwrap_or_default();
        let info = self.call(&command([b"INFO", b"server"])).await.unwrap_or_default();
        let info = String::from_redis_value(info).unwrap_or_default();
        self.identity.server_process = info_field(&info, "run_id").map(str::to_owned);
        self.mode = info_field(&info, "redis_mode").map(str::to_owned);
        // It has no clock to show.
        if self.mode.as_deref() == Some("sentinel") {
            return Ok(());
        }
        if let Some(version) = info_field(&info, "redis_version") {
            check_version(version, options)?;
        }
        let time = self.call(&command([b"TIME"])).await?;
        let (seconds, micros): (u64, u64) =
            FromRedisValue::from_redis_value(time).map_err(|_| super::wire::not_redis())?;
        self.server_ms = seconds * 1000 + micros / 1000;
        self.since = monotonic();
        Ok(())
    }

    /// Sends one command and waits for its answer; only while nothing else is under way.
    pub(super) async fn call(&mut self, command: &[u8]) -> Result<Value> {
        value(&self.call_raw(command).await?)
    }

    /// The same, with the answer as its bytes.
    pub(super) async fn call_raw(&mut self, command: &[u8]) -> Result<Vec<u8>> {
        self.socket.write_all(command).await.map_err(lost)?;
        self.socket.flush().await.map_err(lost)?;
        self.next_frame().await
    }

    /// Waits for the next reply or push.
    pub(super) async fn next_frame(&mut self) -> Result<Vec<u8>> {
        loop {
            if let Some(length) = self.scanner.frame_length(&self.input)? {
                return Ok(self.input.drain(..length).collect());
            }
            self.fill().await?;
        }
    }

    /// Waits until something has come.
    pub(super) async fn fill(&mut self) -> Result<()> {
        self.input.reserve(READ_SIZE);
        match self.socket.read_buf(&mut self.input).await.map_err(lost)? {
            0 => Err(lost("the server closed it")),
            _ => Ok(()),
        }
    }

    /// Takes the replies and pushes that have come as a whole.
    pub(super) fn take_frames(&mut self, mut take: impl FnMut(&[u8]) -> Result<()>) -> Result<()> {
        let mut consumed = 0;
        while let Some(length) = self.scanner.frame_length(&self.input[consumed..])? {
            take(&self.input[consumed..consumed + length])?;
            consumed += length;
        }
        self.input.drain(..consumed);
        if self.input.is_empty() {
            self.input.shrink_to(KEPT_CAPACITY);
        }
        Ok(())
    }

    /// The server's clock at `moment`, as far as it can be told from here.
    pub(super) fn server_ms_at(&self, moment: Instant) -> u64 {
        self.server_ms + moment.saturating_duration_since(self.since).as_millis() as u64
    }
}

impl Connection {
    /// Whether it is a master. A server that does not say counts as one: it refuses what it may not take.
    pub(super) async fn check_master(&mut self, options: &RedisOptions) -> Result<()> {
        match self.call(&command([b"ROLE"])).await {
            Ok(Value::Array(role)) => match role.into_iter().next().map(String::from_redis_value) {
                Some(Ok(role)) if role == "master" => Ok(()),
                _ => Err(unreachable(options, "it is a replica, not a master")),
            },
            Err(error) if error.code() != Code::Backend => Err(error),
            _ => Ok(()),
        }
    }
}

fn wants_password(options: &RedisOptions) -> Error {
    Error::new(Code::Config, format!("Redis at {options} asks for a password."))
}

fn is_unknown_command(error: &Error) -> bool {
    let text = error.message().to_ascii_lowercase();
    text.contains("unknown command") || text.contains("noproto") || text.contains("unsupported")
}

fn info_field<'a>(info: &'a str, name: &str) -> Option<&'a str> {
    info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
}

fn check_version(version: &str, options: &RedisOptions) -> Result<()> {
    let mut numbers = version.split('.').map(|number| number.parse::<u32>().unwrap_or(0));
    let found = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    if found < OLDEST_VERSION {
        let message = format!("Redis at {options} is version {version}; version 6.2 or later is needed.");
        return Err(Error::new(Code::Config, message));
    }
    Ok(())
}

/// The error of a connection that broke.
pub(super) fn lost(cause: impl std::fmt::Display) -> Error {
    Error::new(Code::Unavailable, "The connection to Redis was lost.").caused_by(cause)
}

pub(super) fn unreachable(options: &RedisOptions, cause: impl std::fmt::Display) -> Error {
    let cause = cause.to_string();
    let reason = cause.trim_end_matches(['.', '?']);
    Error::new(Code::Unavailable, format!("Redis at {options} can't be reached: {reason}.")).caused_by(&cause)
}

async fn open_socket(options: &RedisOptions) -> Result<Box<dyn Socket>> {
    let failed = |error: std::io::Error| unreachable(options, error);
    match (&options.address, &options.tls) {
        (Address::Tcp(host, port), tls) => {
            let tcp = TcpStream::connect((host.as_str(), *port)).await.map_err(failed)?;
            tcp.set_nodelay(true).map_err(failed)?;
            match tls {
                None => Ok(Box::new(tcp)),
                Some(tls) => Ok(Box::new(encrypt(tcp, host, tls, options).await?)),
            }
        }
        #[cfg(unix)]
        (Address::Unix(path), _) => Ok(Box::new(tokio::net::UnixStream::connect(path).await.map_err(failed)?)),
        #[cfg(not(unix))]
        (Address::Unix(_), _) => {
            Err(Error::new(Code::Config, "Unix sockets don't exist on this system; use host and port."))
        }
    }
}

async fn encrypt(tcp: TcpStream, host: &str, tls: &TlsOptions, options: &RedisOptions) -> Result<impl Socket + use<>> {
    let name = tls.server_name.as_deref().unwrap_or(host).to_owned();
    let name = ServerName::try_from(name).map_err(|error| config("The TLS server name is malformed", error))?;
    let provider = Arc::new(ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| config("TLS can't be set up", error))?
        .with_root_certificates(trusted_roots(tls)?);
    let settings = match &tls.identity {
        None => builder.with_no_client_auth(),
        Some(identity) => {
            let (chain, key) = read_identity(identity)?;
            let unfit = |error| config("redis.tls.key does not fit redis.tls.cert", error);
            builder.with_client_auth_cert(chain, key).map_err(unfit)?
        }
    };
    let connector = TlsConnector::from(Arc::new(settings));
    connector.connect(name, tcp).await.map_err(|error| unreachable(options, error))
}

fn trusted_roots(tls: &TlsOptions) -> Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    match &tls.ca {
        Some(pem) => {
            for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
                let certificate = certificate.map_err(|error| config("redis.tls.ca is not PEM", error))?;
                roots.add(certificate).map_err(|error| config("redis.tls.ca holds no usable certificate", error))?;
            }
        }
        None => drop(roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs)),
    }
    match roots.is_empty() {
        true => {
            Err(Error::new(Code::Config, "There is no certificate authority to check Redis against; set redis.tls.ca."))
        }
        false => Ok(roots),
    }
}

fn read_identity(identity: &TlsIdentity) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)> {
    let chain = CertificateDer::pem_slice_iter(identity.certificate.as_bytes()).collect::<Result<Vec<_>, _>>();
    let chain = chain.map_err(|error| config("redis.tls.cert is not PEM", error))?;
    if chain.is_empty() {
        return Err(Error::new(Code::Config, "redis.tls.cert holds no certificate."));
    }
    // What is wrong with a key is said without the key.
    let key = PrivateKeyDer::from_pem_slice(identity.key.as_bytes()).map_err(|_| {
        Error::new(Code::Config, "redis.tls.key is not a private key in PEM form without a passphrase.")
    })?;
    Ok((chain, key))
}

fn config(what: &str, cause: impl std::fmt::Display) -> Error {
    Error::new(Code::Config, format!("{what}.")).caused_by(cause)
}

/// Runs a step of setting up again what was lost, for so long as an attempt to connect may take.
pub(super) async fn within<T>(options: &RedisOptions, step: impl Future<Output = Result<T>>) -> Result<T> {
    timeout(options.connect_timeout, step).await.unwrap_or_else(|_| Err(unreachable(options, "no answer in time")))
}
