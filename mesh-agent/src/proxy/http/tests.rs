//! Whole exchanges over loopback: clients, endpoints and what is between them in one thread.

mod h1;
mod h2;
mod h2_frames;
mod world;

/// A connection that waits must cost little: ten thousand of them do.
#[test]
fn a_connection_is_small() {
    world::run(async {
        let world = world::World::new(([127, 0, 0, 1], 1).into(), crate::model::cluster::UpstreamProtocol::Http1);
        let size = world.serve_size().await;
        assert!(size <= 4096, "{size} bytes");
    });
}
