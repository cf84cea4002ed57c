//! Finding the master that Sentinels know, at each attempt to connect anew.
//! Source: <https://redis.io/docs/latest/develop/reference/sentinel-clients/>

use redis::{FromRedisValue, Value};

use super::connection::Connection;
use super::options::{Address, RedisOptions, SentinelOptions};
use super::wire::command;
use crate::error::{Code, Error, Result};

/// Connects to the master that the first Sentinel names whose answer is true.
pub(super) async fn open_master(options: &RedisOptions, sentinel: &SentinelOptions) -> Result<Connection> {
    let mut failures = Vec::new();
    for address in &sentinel.addresses {
        match open_by(options, sentinel, address).await {
            Ok(connection) => return Ok(connection),
            Err(error) => failures.push(error),
        }
    }
    // Only where every one of them says that it can't work there is nothing to wait for.
    let code = match failures.iter().all(|error| error.code() == Code::Config) {
        true => Code::Config,
        false => Code::Unavailable,
    };
    let reasons: Vec<&str> = failures.iter().map(Error::message).collect();
    let message = format!("No Sentinel leads to the master {:?}: {}", sentinel.name, reasons.join(" "));
    Err(Error::new(code, message))
}

async fn open_by(options: &RedisOptions, sentinel: &SentinelOptions, address: &Address) -> Result<Connection> {
    let master = master_of(options, sentinel, address).await?;
    let options = options.at(master);
    Connection::open_as(&options, async |mut connection| {
        connection.introduce(&options).await?;
        connection.check_master(&options).await?;
        Ok(connection)
    })
    .await
}

/// Asks a Sentinel for the master's address.
async fn master_of(options: &RedisOptions, sentinel: &SentinelOptions, address: &Address) -> Result<Address> {
    let SentinelOptions { username, password, name, .. } = sentinel;
    let login = RedisOptions { username: username.clone(), password: password.clone(), db: 0, ..options.clone() };
    let asked = login.at(address.clone());
    let mut answer = Value::Nil;
    let question = command([b"SENTINEL", b"GET-MASTER-ADDR-BY-NAME", name.as_bytes()]);
    Connection::open_as(&asked, async |mut connection| {
        answer = connection.call(&question).await.map_err(|error| no_sentinel(&asked, error))?;
        Ok(connection)
    })
    .await?;
    match Option::<(String, u16)>::from_redis_value(answer) {
        Ok(Some((host, port))) => Ok(Address::Tcp(host, port)),
        Ok(None) => {
            let message = format!(
                "The Sentinel at {asked} knows no master {name:?}; set redis.sentinel.name to the one in its configuration."
            );
            Err(Error::new(Code::Config, message))
        }
        Err(_) => Err(super::wire::not_redis()),
    }
}

fn no_sentinel(asked: &RedisOptions, error: Error) -> Error {
    match error.code() {
        Code::Backend if error.message().contains("NOAUTH") => {
            let message = format!("The Sentinel at {asked} asks for a password; set redis.sentinel.password.");
            Error::new(Code::Config, message)
        }
        Code::Backend if error.message().contains("unknown command") => {
            let message = format!("{asked} is no Sentinel; a server of its own belongs into redis.url or redis.host.");
            Error::new(Code::Config, message)
        }
        Code::Backend => {
            let message = format!("The Sentinel at {asked} refused to name its master.");
            Error::new(Code::Config, message).caused_by(error.message())
        }
        _ => error,
    }
}
