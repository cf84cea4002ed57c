//! A real redis-server for tests: on a free port, with nothing on disk, gone when the value goes.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// A server that was started for a test.
pub struct RedisServer {
    process: Child,
    port: u16,
}

impl RedisServer {
    /// Starts a server and waits until it answers.
    pub fn start() -> Result<RedisServer, String> {
        let port = free_port()?;
        let port_text = port.to_string();
        let arguments = ["--port", &port_text, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"];
        let mut command = Command::new("redis-server");
        command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let process = command.spawn().map_err(|error| format!("redis-server can't be started: {error}"))?;
        let server = RedisServer { process, port };
        for _ in 0..1000 {
            if server.answers() {
                return Ok(server);
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Err(format!("redis-server on port {port} does not answer"))
    }

    /// Where it is, as `redis://127.0.0.1:port`.
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    fn answers(&self) -> bool {
        let ping = || {
            let mut socket = TcpStream::connect(("127.0.0.1", self.port))?;
            socket.set_read_timeout(Some(Duration::from_secs(1)))?;
            socket.write_all(b"PING\r\n")?;
            let mut answer = [0; 5];
            socket.read_exact(&mut answer)?;
            std::io::Result::Ok(answer)
        };
        ping().is_ok_and(|answer| &answer == b"+PONG")
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A port nobody listens on at the moment.
fn free_port() -> Result<u16, String> {
    let probe = TcpListener::bind(("127.0.0.1", 0)).map_err(|error| error.to_string())?;
    Ok(probe.local_addr().map_err(|error| error.to_string())?.port())
}
