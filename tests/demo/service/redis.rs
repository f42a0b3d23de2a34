//! As much of Redis's protocol as ratings need: two commands on a connection of their own.

use anyhow::{Context, bail, ensure};
use serde_json::{Map, Value};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

/// The stars each reviewer gave a product. The first to ask puts them there.
pub(super) async fn ratings(id: u32) -> anyhow::Result<Map<String, Value>> {
    let mut redis = BufReader::new(TcpStream::connect("redis:6379").await?);
    let key = format!("ratings:{id}");
    let mut fields = command(&mut redis, &["HGETALL", &key]).await?;
    if fields.is_empty() {
        command(&mut redis, &["HSET", &key, "Reviewer1", "5", "Reviewer2", "4"]).await?;
        fields = command(&mut redis, &["HGETALL", &key]).await?;
    }
    let stars = |pair: &[String]| Some((pair.first()?.clone(), Value::from(pair.get(1)?.parse::<u8>().ok()?)));
    Ok(fields.chunks(2).filter_map(stars).collect())
}

/// Sends a command; the strings of an array that answers it, or nothing for a number.
async fn command(redis: &mut BufReader<TcpStream>, words: &[&str]) -> anyhow::Result<Vec<String>> {
    let mut bytes = format!("*{}\r\n", words.len());
    for word in words {
        bytes.push_str(&format!("${}\r\n{word}\r\n", word.len()));
    }
    redis.write_all(bytes.as_bytes()).await?;
    let head = line(redis).await?;
    let Some(count) = head.strip_prefix('*') else {
        ensure!(head.starts_with(':'), "Redis says {head:?}");
        return Ok(Vec::new());
    };
    let mut strings = Vec::new();
    for _ in 0..count.parse::<usize>().context("length of an array")? {
        let head = line(redis).await?;
        let Some(length) = head.strip_prefix('$') else { bail!("Redis says {head:?}") };
        let mut bytes = vec![0; length.parse::<usize>().context("length of a string")? + 2];
        redis.read_exact(&mut bytes).await?;
        bytes.truncate(bytes.len() - 2);
        strings.push(String::from_utf8(bytes)?);
    }
    Ok(strings)
}

async fn line(redis: &mut BufReader<TcpStream>) -> anyhow::Result<String> {
    let mut line = String::new();
    ensure!(redis.read_line(&mut line).await? > 0, "Redis closed the connection");
    Ok(line.trim_end().to_owned())
}
