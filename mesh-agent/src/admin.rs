//! Operator interface: Unix socket and, if configured, loopback TCP.
