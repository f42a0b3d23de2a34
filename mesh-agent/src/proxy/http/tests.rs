//! Whole exchanges over loopback: clients, endpoints and what is between them in one thread.

mod h1;
mod h2;
mod world;
