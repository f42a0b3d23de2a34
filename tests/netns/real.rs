//! Servers and clients that know nothing of us: nginx, Redis, curl.

use std::path::Path;
use std::time::Duration;

use harness::config::{all_to, cluster, http, service, tcp};
use harness::scratch::Scratch;

use crate::mesh::{mesh, vips};
use crate::world_or_skip;

#[test]
fn curl_reaches_nginx_by_a_name_of_the_mesh() -> anyhow::Result<()> {
    if !installed(&["/usr/bin/curl", "/usr/sbin/nginx"]) {
        return Ok(());
    }
    let world = world_or_skip!("client", "server");
    let (client, server) = (world.pod("client"), world.pod("server"));
    let files = Scratch::new()?;
    files.write("index.html", "served by nginx\n")?;
    files.write("large", &"0123456789".repeat(500_000))?;
    let folder = files.path().display();
    let config = files.write(
        "nginx.conf",
        &format!(
            "daemon off; master_process off; pid {folder}/pid; error_log stderr; user root;\nevents {{}}\nhttp {{ access_log off; \
             server {{ listen 8080; listen [::]:8080; root {folder}; client_body_temp_path {folder}/body; }} }}\n"
        ),
    )?;
    let _nginx = server.spawn("nginx", &["-c", &config.display().to_string()])?;
    let listeners = vips(80).map(|vip| service(vip, http(all_to("server"))));
    let agent = mesh(&world, &["client", "server"], &listeners, &[cluster("server", &server.at(8080))])?;
    client.set_hosts(&format!("{} web\n{} web\n", vips(80)[0].ip(), vips(80)[1].ip()))?;
    for family in ["-4", "-6"] {
        // nginx may still be starting.
        let retry = ["--retry", "20", "--retry-delay", "0", "--retry-all-errors", "--max-time", "10"];
        let page = client.run("curl", &[&["-sS", family, "http://web/"][..], &retry].concat())?;
        assert_eq!(page.text(), "served by nginx", "{}", agent.log());
        let size = ["-sS", family, "-o", "/dev/null", "-w", "%{http_code} %{size_download}", "http://web/large"];
        assert_eq!(client.run("curl", &size)?.text(), "200 5000000");
        let missing =
            client.run("curl", &["-sS", family, "-o", "/dev/null", "-w", "%{http_code}", "http://web/none"])?;
        assert_eq!(missing.text(), "404");
    }
    let upload = ["-sS", "-o", "/dev/null", "-w", "%{http_code}", "-T", "/proc/version", "http://web/x"];
    assert_eq!(client.run("curl", &upload)?.text(), "405", "nginx refuses a PUT itself");
    Ok(())
}

#[test]
fn redis_works_through_bytes() -> anyhow::Result<()> {
    if !installed(&["/usr/bin/redis-server", "/usr/bin/redis-cli"]) {
        return Ok(());
    }
    let world = world_or_skip!("client", "server");
    let (client, server) = (world.pod("client"), world.pod("server"));
    let files = Scratch::new()?;
    let folder = files.path().display().to_string();
    let redis = server.spawn("redis-server", &["--protected-mode", "no", "--save", "", "--dir", &folder])?;
    redis.wait_line(|line| line.contains("Ready to accept"), Duration::from_secs(10))?;
    let listeners = vips(6379).map(|vip| service(vip, tcp("redis")));
    let agent = mesh(&world, &["client", "server"], &listeners, &[cluster("redis", &server.at(6379))])?;
    for vip in vips(6379) {
        let host = vip.ip().to_string();
        let ask = |words: &[&str]| client.run("redis-cli", &[&["-h", &host][..], words].concat());
        assert_eq!(ask(&["set", "key", "value"])?.text(), "OK", "{}", agent.log());
        assert_eq!(ask(&["get", "key"])?.text(), "value");
        // A thousand commands at once on one connection.
        let many = ask(&["eval", "for i = 1, 1000 do redis.call('rpush', KEYS[1], i) end return 'done'", "1", &host])?;
        assert_eq!(many.text(), "done");
        assert_eq!(ask(&["lrange", &host, "0", "-1"])?.lines.len(), 1000);
    }
    Ok(())
}

fn installed(programs: &[&str]) -> bool {
    let missing = programs.iter().find(|program| !Path::new(program).exists());
    if let Some(program) = missing {
        eprintln!("skipped: {program} is not installed");
    }
    missing.is_none()
}
