//! TLS with servers that know nothing of us: nginx for HTTP, OpenSSL for bytes.

use std::net::TcpListener;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::ensure;
use harness::agent::Options;
use harness::ca::Authority;
use harness::config::{all_to, bootstrap, cluster, http, http2_cluster, listener, own_address, secured, tcp};
use harness::process::Process;
use harness::scratch::Scratch;
use harness::wire::Wire;
use serde_json::{Value, json};

const NAME: &str = "shop.test";

/// Whether a program is here; says so if not.
fn installed(program: &str) -> bool {
    let is_there = Path::new(program).exists();
    if !is_there {
        println!("skipped: {program} is not installed");
    }
    is_there
}

/// By files, as an operator would write it, and as the client that `identity` is.
fn context(scratch: &Scratch, authority: &Authority) -> anyhow::Result<Value> {
    let client = authority.issue(&["client"])?;
    let file = |name: &str, text: &str| anyhow::Ok(json!({ "filename": scratch.write(name, text)? }));
    Ok(json!({
        "tls_certificates": [{ "certificate_chain": file("client.pem", &client.chain)?, "private_key": file("client.key", &client.key)? }],
        "validation_context": { "trusted_ca": file("ca.pem", &authority.certificate)? },
    }))
}

#[test]
fn nginx_is_reached_over_http1_and_http2() -> anyhow::Result<()> {
    let program = "/usr/sbin/nginx";
    if !installed(program) {
        return Ok(());
    }
    let (scratch, authority) = (Scratch::new()?, Authority::new()?);
    let server = authority.issue(&[NAME])?;
    scratch.write("server.pem", &server.chain)?;
    scratch.write("server.key", &server.key)?;
    scratch.write("large", &"0123456789".repeat(300_000))?;
    let common = context(&scratch, &authority)?;
    let (address, folder) = (own_address(8443), scratch.path().display().to_string());
    let config = scratch.write(
        "nginx.conf",
        &format!(
            "daemon off; master_process off; pid {folder}/pid; error_log stderr; user root;\nevents {{}}\nhttp {{ access_log off; \
             server {{ listen {address} ssl http2; root {folder}; ssl_certificate server.pem; ssl_certificate_key server.key; \
             ssl_protocols TLSv1.2 TLSv1.3; ssl_client_certificate ca.pem; ssl_verify_client on; keepalive_requests 3; \
             add_header x-spoken \"$server_protocol $ssl_protocol $ssl_server_name $ssl_client_verify\"; }} }}\n"
        ),
    )?;
    let mut command = Command::new(program);
    command.arg("-c").arg(config).arg("-p").arg(&folder);
    let nginx = Process::spawn("nginx", command)?;
    for (plain, spoken) in [(cluster("web", &[address]), "HTTP/1.1"), (http2_cluster("web", &[address]), "HTTP/2.0")] {
        let own = own_address(10000);
        let secure = secured(plain, json!({ "sni": NAME }), common.clone());
        let agent = Options::no_kernel().start(bootstrap(&[listener(own, http(all_to("web")))], &[secure]))?;
        let begun = Instant::now();
        // More than one connection takes, so that nginx closes some in between.
        let mut answered = 0;
        while answered < 10 {
            let mut wire = Wire::connect(own)?;
            wire.send("GET /large HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")?;
            let response = wire.response()?;
            // nginx may still be starting.
            let early = answered == 0 && begun.elapsed() < Duration::from_secs(10);
            if response.status == 503 && early {
                continue;
            }
            ensure!(response.status == 200, "{} {}\n{}", response.status, response.text(), agent.log());
            ensure!(response.body.len() == 3_000_000);
            let expected = format!("{spoken} TLSv1.3 {NAME} SUCCESS");
            ensure!(response.header("x-spoken") == Some(&expected), "{:?}", response.headers);
            answered += 1;
        }
    }
    drop(nginx);
    // A worker of its own would outlive the process that is killed.
    TcpListener::bind(address)?;
    Ok(())
}

#[test]
fn openssl_is_reached_with_either_version() -> anyhow::Result<()> {
    let program = "/usr/bin/openssl";
    if !installed(program) {
        return Ok(());
    }
    let (scratch, authority) = (Scratch::new()?, Authority::new()?);
    let server = authority.issue(&[NAME])?;
    let (chain, key) = (scratch.write("server.pem", &server.chain)?, scratch.write("server.key", &server.key)?);
    let common = context(&scratch, &authority)?;
    for version in ["-tls1_2", "-tls1_3"] {
        let (address, own) = (own_address(8443), own_address(10000));
        let mut command = Command::new(program);
        command.args([
            "s_server",
            "-quiet",
            "-rev",
            version,
            "-accept",
            &address.to_string(),
            "-Verify",
            "1",
            "-CAfile",
        ]);
        command.arg(scratch.path().join("ca.pem")).arg("-cert").arg(&chain).arg("-key").arg(&key);
        let _server = Process::spawn("openssl", command)?;
        let secure = secured(cluster("rev", &[address]), json!({ "sni": NAME }), common.clone());
        let agent = Options::no_kernel().start(bootstrap(&[listener(own, tcp("rev"))], &[secure]))?;
        let begun = Instant::now();
        loop {
            let mut wire = Wire::connect(own)?;
            wire.send("bowline\n")?;
            match wire.read_until(b"\n") {
                Ok(answer) => {
                    ensure!(answer == b"enilwob\n", "{:?}", String::from_utf8_lossy(&answer));
                    break;
                }
                // It may still be starting.
                Err(error) if begun.elapsed() > Duration::from_secs(10) => return Err(error.context(agent.log())),
                Err(_) => std::thread::sleep(Duration::from_millis(20)),
            }
        }
    }
    Ok(())
}
