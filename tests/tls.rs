//! An encrypted connection: only to the server whose certificate is trusted, and as good as any other.

#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test has no users, and fails by panicking"
)]

mod support {
    pub mod redis;
}

use std::fs;
use std::net::TcpListener;
use std::path::PathBuf;

use nuxt_queue_core::backend::Selector;
use nuxt_queue_core::backend::redis::{RedisOptions, TlsOptions};
use nuxt_queue_core::error::Code;
use nuxt_queue_core::store::Delivery;
use nuxt_queue_core::{AppendOptions, EventId, EventStore, NewEvent, Query, StoreOptions};

use support::redis::RedisServer;

struct TlsServer {
    _server: RedisServer,
    directory: PathBuf,
    port: u16,
    certificate: String,
}

impl TlsServer {
    fn start(name: &str) -> TlsServer {
        let directory = std::env::temp_dir().join(format!("nuxt-queue-tls-{name}-{}", std::process::id()));
        fs::create_dir_all(&directory).unwrap();
        let rcgen::CertifiedKey { cert, signing_key } =
            rcgen::generate_simple_self_signed(["localhost".to_string()]).unwrap();
        let (certificate, key) = (directory.join("certificate.pem"), directory.join("key.pem"));
        fs::write(&certificate, cert.pem()).unwrap();
        fs::write(&key, signing_key.serialize_pem()).unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let (port_text, certificate, key) = (port.to_string(), certificate.to_str().unwrap(), key.to_str().unwrap());
        let server = RedisServer::start_with(&[
            "--tls-port",
            &port_text,
            "--tls-cert-file",
            certificate,
            "--tls-key-file",
            key,
            "--tls-ca-cert-file",
            certificate,
            "--tls-auth-clients",
            "no",
        ]);
        TlsServer { _server: server.unwrap(), directory, port, certificate: cert.pem() }
    }

    fn options(&self, tls: TlsOptions) -> StoreOptions {
        let mut options = RedisOptions::from_url(&format!("rediss://localhost:{}", self.port)).unwrap();
        options.tls = Some(tls);
        StoreOptions::redis(options)
    }
}

impl Drop for TlsServer {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.directory);
    }
}

#[tokio::test]
async fn everything_works_over_an_encrypted_connection() {
    let server = TlsServer::start("works");
    let trusting = TlsOptions { ca: Some(server.certificate.clone()), server_name: None, identity: None };
    let store = EventStore::open(server.options(trusting)).await.unwrap();
    let mut subscription = store.subscribe(Selector::Stream("s".into()), Some(EventId::MIN)).await.unwrap();
    // Larger than a record of TLS and a read of the socket, and many of them at once.
    let data = format!("\"{}\"", "x".repeat(50_000));
    let event = || NewEvent::new("test.large").with_data(&data);
    let appends: Vec<_> = (0..100).map(|_| store.append("s", event(), AppendOptions::default())).collect();
    for append in appends {
        append.await.unwrap();
    }
    assert_eq!(store.query(Query::stream("s")).await.unwrap().len(), 100);
    let mut delivered = 0;
    while delivered < 100 {
        if let Delivery::Events(events) = subscription.next().await.unwrap() {
            delivered += events.len();
        }
    }
    store.close().await;
}

#[tokio::test]
async fn a_certificate_that_is_not_trusted_or_names_another_host_is_refused() {
    let server = TlsServer::start("refuses");
    let another = rcgen::generate_simple_self_signed(["localhost".to_string()]).unwrap().cert.pem();
    let ca = Some(server.certificate.clone());
    for (tls, code) in [
        (TlsOptions { ca: Some(another), server_name: None, identity: None }, Code::Unavailable),
        (TlsOptions { ca: ca.clone(), server_name: Some("example.org".into()), identity: None }, Code::Unavailable),
        (TlsOptions { ca: Some("no certificate".into()), server_name: None, identity: None }, Code::Config),
        (TlsOptions { ca, server_name: Some("not a name".into()), identity: None }, Code::Config),
    ] {
        let error = EventStore::open(server.options(tls)).await.map(drop).unwrap_err();
        assert_eq!(error.code(), code, "{error}");
    }
}
