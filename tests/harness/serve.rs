//! A TCP server on a thread of its own, for as long as it is held.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::{io, thread};

use anyhow::Context;
use socket2::{Domain, Socket, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;

/// An accept loop with its connections. Dropping it closes them all.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    clients: Arc<Mutex<Vec<SocketAddr>>>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// Listens on `address` (port 0: any) in the network namespace of the calling thread, and gives each connection to
    /// `serve`.
    ///
    /// # Errors
    /// If the address is taken.
    pub fn start<F, T>(address: SocketAddr, serve: F) -> anyhow::Result<Self>
    where
        F: Fn(TcpStream, SocketAddr) -> T + Send + 'static,
        T: Future<Output = ()> + Send + 'static,
    {
        let listener = listen(address).with_context(|| format!("listen on {address}"))?;
        let address = listener.local_addr()?;
        let clients = Arc::new(Mutex::new(Vec::new()));
        let (stop, stopped) = oneshot::channel();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let seen = Arc::clone(&clients);
        let thread = thread::spawn(move || {
            runtime.block_on(async move {
                tokio::select! {
                    // Ends with an answer or with the sender's end.
                    _ = stopped => {}
                    () = accept(listener, &seen, serve) => {}
                }
            });
        });
        Ok(Self { address, clients, stop: Some(stop), thread: Some(thread) })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Who connected, as `accept` told, in the order they came.
    #[must_use]
    pub fn clients(&self) -> Vec<SocketAddr> {
        self.clients.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A panic in it has been printed.
            let _ = thread.join();
        }
    }
}

/// A listening socket with room for a burst of connections.
fn listen(address: SocketAddr) -> io::Result<std::net::TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(4096)?;
    Ok(socket.into())
}

async fn accept<F, T>(listener: std::net::TcpListener, clients: &Mutex<Vec<SocketAddr>>, serve: F)
where
    F: Fn(TcpStream, SocketAddr) -> T,
    T: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::from_std(listener).expect("a listening socket, inside a runtime");
    loop {
        match listener.accept().await {
            Ok((stream, client)) => {
                clients.lock().unwrap_or_else(PoisonError::into_inner).push(client);
                // Fails only on a connection that is gone already.
                let _ = stream.set_nodelay(true);
                tokio::spawn(serve(stream, client));
            }
            // Out of descriptors: those who hold them may let go.
            Err(_) => tokio::time::sleep(std::time::Duration::from_millis(10)).await,
        }
    }
}
