//! The listener loop under draining, and when its listener goes.

use std::rc::Rc;
use std::sync::Arc;

use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::LocalSet;
use tokio::time::Instant;

use crate::drain;
use crate::proxy::accept::{Entry, accept};
use crate::proxy::worker::{Tools, Worker};
use crate::snapshot::Publisher;
use crate::telemetry::Telemetry;

#[tokio::test]
async fn draining_waits_for_the_socket_to_close() {
    let (trigger, watcher) = drain::pair();
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("bound");
    let tasks = LocalSet::new();
    let (_retire, retired) = oneshot::channel();
    tasks.spawn_local(accept(worker(watcher), Entry::Bound("l".into()), listener, retired));
    tasks.run_until(tokio::task::yield_now()).await;
    assert_eq!(trigger.active(), 1, "what is accepted next would not be waited for");
    trigger.start();
    tasks.await;
    assert_eq!(trigger.active(), 0);
    std::net::TcpStream::connect(address).expect_err("the socket is closed");
}

#[tokio::test]
async fn a_listener_that_is_retired_closes_its_socket_at_once() {
    let (trigger, watcher) = drain::pair();
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("bound");
    let tasks = LocalSet::new();
    let (retire, retired) = oneshot::channel();
    tasks.spawn_local(accept(worker(watcher), Entry::Bound("l".into()), listener, retired));
    tasks.run_until(tokio::task::yield_now()).await;
    retire.send(Instant::now() + Duration::from_secs(60)).expect("it listens");
    // Nothing is open, so nothing is waited for.
    tasks.await;
    assert_eq!(trigger.active(), 0);
    std::net::TcpStream::connect(address).expect_err("the socket is closed");
}

#[tokio::test]
async fn a_listener_is_not_retired_by_whoever_is_gone() {
    let (trigger, watcher) = drain::pair();
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("bound");
    let tasks = LocalSet::new();
    let (_, retired) = oneshot::channel();
    tasks.spawn_local(accept(worker(watcher), Entry::Bound("l".into()), listener, retired));
    tasks
        .run_until(async {
            for _ in 0..2 {
                let mut client = tokio::net::TcpStream::connect(address).await.expect("it listens");
                // There is no such listener in the snapshot: the connection is taken and closed.
                assert_eq!(client.read(&mut [0]).await.expect("the end"), 0);
            }
        })
        .await;
    drop(trigger);
}

fn worker(watcher: drain::Watcher) -> Rc<Worker> {
    let tools = Tools {
        snapshots: Publisher::default().reader(),
        steering: None,
        telemetry: Telemetry::new(1).worker(0),
        drain: watcher,
        server_first: Arc::default(),
        asker: None,
    };
    Rc::new(Worker::new(tools, 1))
}
