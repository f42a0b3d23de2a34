//! Where log lines go: standard error, as text or JSON.

use std::io::{self, IsTerminal, Write};

use tracing_subscriber::EnvFilter;

use crate::settings::{Log, LogFormat};

/// Starts logging. Only the first call in a process counts.
pub(super) fn start(log: &Log) {
    let filter = EnvFilter::new(&log.filter);
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(|| StandardError);
    // Only fails if there is a logger already, which is then as good as ours.
    let _ = match log.format {
        LogFormat::Text => builder.with_ansi(io::stderr().is_terminal()).try_init(),
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
    };
}

/// Standard error, which reports no error: when its reader is gone or its disk is full, lines are lost and traffic goes on.
/// `eprintln`, and with it the logger's complaint about a line it could not write, would panic.
#[derive(Debug)]
pub(super) struct StandardError;

impl Write for StandardError {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let _ = io::stderr().write_all(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
