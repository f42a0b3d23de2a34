//! The listener loop under draining.

use std::rc::Rc;
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::task::LocalSet;

use crate::drain;
use crate::proxy::accept::{Entry, accept};
use crate::proxy::worker::{Tools, Worker};
use crate::snapshot::Publisher;
use crate::telemetry::Telemetry;

#[tokio::test]
async fn draining_waits_for_the_socket_to_close() {
    let (trigger, watcher) = drain::pair();
    let tools = Tools {
        snapshots: Publisher::default().reader(),
        steering: None,
        telemetry: Telemetry::new(1).worker(0),
        drain: watcher,
        server_first: Arc::default(),
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("bound");
    let tasks = LocalSet::new();
    tasks.spawn_local(accept(Rc::new(Worker::new(tools, 1)), Entry::Bound("l".into()), listener));
    tasks.run_until(tokio::task::yield_now()).await;
    assert_eq!(trigger.active(), 1, "what is accepted next would not be waited for");
    trigger.start();
    tasks.await;
    assert_eq!(trigger.active(), 0);
    std::net::TcpStream::connect(address).expect_err("the socket is closed");
}
