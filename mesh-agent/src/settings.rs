//! Command line and environment, parsed into one struct per module. What is here has been checked; nobody checks it again.

mod value;

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::thread::available_parallelism;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};

/// Bowline's agent: steers the sockets of this host's workloads through one proxy, without sidecars.
#[derive(Clone, Debug, Parser)]
#[command(name = "mesh-agent", version, max_term_width = 100, after_help = EXAMPLES)]
pub struct Settings {
    /// What is logged.
    #[command(flatten)]
    pub log: Log,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

const EXAMPLES: &str = "\
Examples:
  mesh-agent check                                       what this kernel and host can do
  mesh-agent validate --config agent.yaml                every mistake, with line and field
  mesh-agent run --config agent.yaml --no-kernel         a plain proxy; needs no privilege
  mesh-agent run --config agent.yaml                     with kernel programs; as root
  mesh-agent connections                                 what a running agent carries
  mesh-agent config                                      what its management server has sent, and what was refused
  mesh-agent uninstall                                   what an ended agent left in the kernel
  curl --unix-socket /run/bowline/agent.sock http://agent/metrics

Exit status: 0 all is well; 1 it cannot be done; 2 the command line or the configuration is wrong.
`check`: 0 everything is there; 1 something is degraded; 2 something is missing.";

/// What to do.
#[derive(Clone, Debug, Subcommand)]
pub enum Command {
    /// Run the agent until SIGTERM or SIGINT; a second signal does not wait for what still runs
    Run(Run),
    /// Read a configuration and name every mistake in it; nothing is loaded or bound
    Validate(Source),
    /// Show what this kernel and host can do for the mesh, and what to do about the rest
    Check(Format),
    /// List the workloads of the running agent
    Workloads(Query),
    /// Show what the management server has sent to the running agent, and what was refused
    Config(Query),
    /// List the open connections of the running agent
    Connections(Query),
    /// Load every kernel program and pin it, to see what this kernel makes of them
    Load(Pins),
    /// Remove every trace of an agent that ended or was killed: programs, maps, folders
    #[command(visible_alias = "unload")]
    Uninstall(Pins),
    /// The process of the self-test, which the agent starts
    #[command(hide = true)]
    TryAcceleration {
        /// Where it is to move.
        cgroup: PathBuf,
    },
}

/// `mesh-agent run`.
#[derive(Clone, Debug, Args)]
pub struct Run {
    /// The configuration.
    #[command(flatten)]
    pub source: Source,
    /// The data path.
    #[command(flatten)]
    pub data: Data,
    /// The kernel side.
    #[command(flatten)]
    pub kernel: Kernel,
    /// The admin interface.
    #[command(flatten)]
    pub admin: Admin,
    /// The end.
    #[command(flatten)]
    pub drain: Drain,
}

/// Where the configuration comes from.
#[derive(Clone, Debug, Args)]
pub struct Source {
    /// Envoy v3 bootstrap with an optional `mesh:` key, YAML or JSON
    #[arg(long = "config", short = 'c', value_name = "FILE", env = "MESH_CONFIG")]
    pub file: PathBuf,
}

/// The data path.
#[derive(Clone, Debug, Args)]
pub struct Data {
    /// Data threads [default: one per core this process may use]
    #[arg(long, value_name = "N", env = "MESH_WORKERS", value_parser = value::workers)]
    workers: Option<usize>,
}

/// The kernel side.
#[derive(Clone, Debug, Args)]
pub struct Kernel {
    /// Load no kernel programs: only listeners that are bound to a port serve
    #[arg(long = "no-kernel", env = "MESH_NO_KERNEL")]
    pub disabled: bool,
    /// Log what the kernel programs report, one line per steered connection
    #[arg(long = "kernel-log", env = "MESH_KERNEL_LOG", conflicts_with = "disabled")]
    pub log: bool,
}

/// The admin interface.
#[derive(Clone, Debug, Args)]
pub struct Admin {
    /// Unix socket of the admin interface
    #[arg(long = "admin-socket", value_name = "PATH", env = "MESH_ADMIN_SOCKET",
          default_value_os_t = value::admin_socket())]
    pub socket: PathBuf,
}

/// The end of the agent.
#[derive(Clone, Debug, Args)]
pub struct Drain {
    /// How long what runs may go on after the first SIGTERM: `30s`, `2m`, `500ms`, or seconds
    #[arg(long = "drain-timeout", value_name = "TIME", env = "MESH_DRAIN_TIMEOUT", default_value = "30s",
          value_parser = value::duration)]
    pub timeout: Duration,
}

/// A question to the running agent.
#[derive(Clone, Debug, Args)]
pub struct Query {
    /// Whom to ask.
    #[command(flatten)]
    pub admin: Admin,
    /// How to answer.
    #[command(flatten)]
    pub format: Format,
}

/// How an answer is printed.
#[derive(Clone, Copy, Debug, Args)]
pub struct Format {
    /// Print JSON instead of a table
    #[arg(long)]
    pub json: bool,
}

/// Where the kernel programs' pins are.
#[derive(Clone, Debug, Args)]
pub struct Pins {
    /// Folder of the pins, under a bpffs
    #[arg(long, value_name = "FOLDER", env = "MESH_PIN_PATH", default_value = "/sys/fs/bpf/bowline")]
    pub pin_path: PathBuf,
}

/// Groups the options that every command has, apart from its own.
const LOGGING: &str = "Logging";

/// What is logged, on standard error.
#[derive(Clone, Debug, Args)]
pub struct Log {
    /// Level, or levels by module: `debug`, `info,mesh_agent::proxy=debug`
    #[arg(long = "log", value_name = "FILTER", env = "MESH_LOG", default_value = "info", global = true,
          help_heading = LOGGING, value_parser = value::filter)]
    pub filter: String,
    /// Form of the lines
    #[arg(long = "log-format", value_name = "FORMAT", env = "MESH_LOG_FORMAT", default_value = "text", global = true,
          help_heading = LOGGING)]
    pub format: LogFormat,
}

/// Form of log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object per line.
    Json,
}

impl Data {
    /// Data threads to start.
    #[must_use]
    pub fn workers(&self) -> usize {
        self.workers.unwrap_or_else(|| available_parallelism().map_or(1, NonZeroUsize::get).min(value::MAX_WORKERS))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use clap::{CommandFactory, Parser};

    use super::{Command, LogFormat, Settings};

    fn parse(line: &str) -> Result<Settings, String> {
        Settings::try_parse_from(line.split_whitespace()).map_err(|error| error.to_string())
    }

    #[test]
    fn definition_is_sound() {
        Settings::command().debug_assert();
    }

    #[test]
    fn run_has_sensible_defaults() {
        let Command::Run(run) = parse("mesh-agent run --config a.yaml").expect("valid").command else {
            panic!("not run")
        };
        assert!(!run.kernel.disabled && !run.kernel.log);
        assert!(run.data.workers() >= 1);
        assert_eq!(run.admin.socket, super::value::admin_socket());
        assert_eq!(run.drain.timeout, Duration::from_secs(30));
    }

    #[test]
    fn everything_can_be_said() {
        let line = "mesh-agent run --log-format json -c a.yaml --no-kernel --workers 3 --admin-socket /tmp/s \
                    --drain-timeout 500ms --log warn,mesh_agent::proxy=debug";
        let settings = parse(line).expect("valid");
        assert_eq!(
            (settings.log.format, settings.log.filter.as_str()),
            (LogFormat::Json, "warn,mesh_agent::proxy=debug")
        );
        let Command::Run(run) = settings.command else { panic!("not run") };
        assert!(run.kernel.disabled);
        assert_eq!((run.data.workers(), run.drain.timeout), (3, Duration::from_millis(500)));
    }

    #[test]
    fn mistakes_are_named() {
        for (line, expected) in [
            ("run", "--config"),
            ("run -c a --workers 0", "between 1 and 256"),
            ("run -c a --workers many", "between 1 and 256"),
            ("run -c a --drain-timeout soon", "30s"),
            ("run -c a --no-kernel --kernel-log", "cannot be used with"),
            ("run -c a --log mesh=loud", "filter"),
            ("connections --admin-sock /x", "--admin-socket"),
        ] {
            let error = parse(&format!("mesh-agent {line}")).expect_err(line);
            assert!(error.contains(expected), "{line}: {error}");
        }
    }
}
