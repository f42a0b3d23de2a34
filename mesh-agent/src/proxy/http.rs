//! HTTP: one downstream connection, whatever it speaks, to whatever the upstreams speak.
