//! A real redis-server for tests: on a free port, in a directory of its own, gone when the value goes.

#![allow(dead_code, reason = "each test uses the part that it needs")]

use std::fs::{self, File};
use std::io::Write;
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use redis::{Cmd, FromRedisValue, InfoDict};

static STARTED: AtomicU32 = AtomicU32::new(0);

/// How long one question may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// A server that was started for a test.
pub struct RedisServer {
    process: Child,
    port: u16,
    directory: PathBuf,
    arguments: Vec<String>,
}

impl RedisServer {
    /// Starts a server that keeps nothing on disk, and waits until it answers.
    pub fn start() -> Result<RedisServer, String> {
        RedisServer::start_with(&["--appendonly", "no"])
    }

    /// Starts a server that has on disk what it has acknowledged.
    pub fn start_durable() -> Result<RedisServer, String> {
        RedisServer::start_with(&["--appendonly", "yes", "--appendfsync", "always"])
    }

    /// Starts a Sentinel that watches nobody yet.
    pub fn start_sentinel() -> Result<RedisServer, String> {
        RedisServer::start_with(&["--sentinel"])
    }

    /// Starts a server with these options, and waits until it answers.
    pub fn start_with(options: &[&str]) -> Result<RedisServer, String> {
        let name = format!("nuxt-queue-test-{}-{}", std::process::id(), STARTED.fetch_add(1, Ordering::Relaxed));
        let directory = std::env::temp_dir().join(name);
        fs::create_dir_all(&directory).map_err(|error| error.to_string())?;
        // Someone else may take the port between the look and the start; a node of a cluster takes another one above it.
        for _ in 0..20 {
            let port = free_port()?;
            let port_text = port.to_string();
            let fixed = ["--port", &port_text, "--bind", "127.0.0.1", "--save", ""];
            let mut arguments: Vec<String> = fixed.iter().chain(options).map(|word| (*word).to_owned()).collect();
            if options.contains(&"--sentinel") {
                // It keeps what it learns in a file.
                fs::write(directory.join("sentinel.conf"), "").map_err(|error| error.to_string())?;
                arguments = ["sentinel.conf", "--port", &port_text, "--bind", "127.0.0.1", "--sentinel"]
                    .map(str::to_owned)
                    .to_vec();
            }
            let process = spawn(&arguments, &directory)?;
            let mut server = RedisServer { process, port, directory: directory.clone(), arguments };
            if server.wait_until_ready() {
                return Ok(server);
            }
        }
        Err(format!("redis-server does not start; see {}", directory.join("log").display()))
    }

    /// Where it is, as `redis://127.0.0.1:port`.
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// The port it listens on.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Ends the process in the middle of whatever it does (`kill -9`).
    pub fn kill(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }

    /// Starts it again after [`RedisServer::kill`], on the same port and directory.
    pub fn restart(&mut self) -> Result<(), String> {
        self.repair();
        self.process = spawn(&self.arguments, &self.directory)?;
        match self.wait_until_ready() {
            true => Ok(()),
            false => Err(format!("redis-server does not come back; see {}", self.directory.join("log").display())),
        }
    }

    /// Stops the process where it stands; its sockets stay open.
    pub fn pause(&self) {
        self.signal("STOP");
    }

    /// Lets it go on after [`RedisServer::pause`].
    pub fn resume(&self) {
        self.signal("CONT");
    }

    /// Asks the server something, on a connection of its own.
    pub fn ask<T: FromRedisValue>(&self, command: &Cmd) -> Result<T, String> {
        let client = redis::Client::open(self.url()).map_err(|error| error.to_string())?;
        let mut connection = client.get_connection_with_timeout(PATIENCE).map_err(|error| error.to_string())?;
        connection.set_read_timeout(Some(PATIENCE)).map_err(|error| error.to_string())?;
        command.query(&mut connection).map_err(|error| error.to_string())
    }

    /// Asks with a command of words, such as `CLIENT KILL TYPE normal`.
    pub fn say<T: FromRedisValue>(&self, words: &str) -> Result<T, String> {
        let mut words = words.split(' ');
        let mut command = redis::cmd(words.next().unwrap_or_default());
        for word in words {
            command.arg(word);
        }
        self.ask(&command)
    }

    /// A server that died while it wrote a script's changes leaves a transaction without an end.
    /// Redis 7.0 drops it when it starts, leaves its beginning in the file, and completes it with
    /// what was written behind it when it starts the next time: events that were never
    /// acknowledged come back. Redis' own tool cuts it off.
    fn repair(&self) {
        for file in ["appendonlydir/appendonly.aof.manifest", "appendonly.aof"] {
            if self.directory.join(file).exists() {
                let mut command = Command::new("redis-check-aof");
                command.args(["--fix", file]).current_dir(&self.directory).stdin(Stdio::piped());
                command.stdout(Stdio::null()).stderr(Stdio::null());
                // Not every system has it, and hardly a server dies at such a moment twice.
                let Ok(mut tool) = command.spawn() else { return };
                let _ = tool.stdin.take().map(|mut answer| answer.write_all(b"y\n"));
                let _ = tool.wait();
            }
        }
    }

    fn signal(&self, name: &str) {
        let command = format!("kill -{name} {}", self.process.id());
        let _ = Command::new("sh").args(["-c", &command]).status();
    }

    /// False: the process has ended, or another one answers on its port.
    fn wait_until_ready(&mut self) -> bool {
        for _ in 0..1500 {
            if !matches!(self.process.try_wait(), Ok(None)) {
                return false;
            }
            // A server that still loads its data says who it is, and refuses the PING.
            if let Ok(info) = self.say::<InfoDict>("INFO server")
                && self.say::<String>("PING").is_ok()
            {
                return info.get::<u32>("process_id") == Some(self.process.id());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        false
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        self.kill();
        let _ = fs::remove_dir_all(&self.directory);
    }
}

fn spawn(arguments: &[String], directory: &PathBuf) -> Result<Child, String> {
    let log =
        File::options().create(true).append(true).open(directory.join("log")).map_err(|error| error.to_string())?;
    let errors = log.try_clone().map_err(|error| error.to_string())?;
    let mut command = Command::new("redis-server");
    command.args(arguments).current_dir(directory).stdin(Stdio::null()).stdout(log).stderr(errors);
    command.spawn().map_err(|error| format!("redis-server can't be started: {error}"))
}

/// A port nobody listens on at the moment.
fn free_port() -> Result<u16, String> {
    let probe = TcpListener::bind(("127.0.0.1", 0)).map_err(|error| error.to_string())?;
    Ok(probe.local_addr().map_err(|error| error.to_string())?.port())
}
