//! Every map, program and pin name, spelled once. The programs' functions and statics bear the same names; the loader's test
//! loads each by the name written here.

/// Namespace cookie to workload.
pub const NETNS: &str = "NETNS";
/// cgroup id to workload, for namespaces that several workloads share.
pub const CGROUPS: &str = "CGROUPS";
/// The agent's knobs.
pub const KNOBS: &str = "KNOBS";
/// Bitmap of excluded destination ports.
pub const EXCLUDED_PORTS: &str = "EXCLUDED_PORTS";
/// Excluded destination networks.
pub const EXCLUDED_CIDRS: &str = "EXCLUDED_CIDRS";
/// What lies with a socket: the end it hides, and what is kept while it is watched.
pub const KEPT: &str = "KEPT";
/// Hidden ends on their way from a connecting to an accepted socket.
pub const HANDSHAKES: &str = "HANDSHAKES";
/// Services that the kernel serves by itself, by address.
pub const SERVICES: &str = "SERVICES";
/// Their endpoints, as choices by set and index.
pub const CHOICES: &str = "CHOICES";
/// Tables of slots, in parts, of services whose client decides.
pub const SLOTS: &str = "SLOTS";
/// Sockets whose connection has both its ends here, by [`crate::flow::FlowKey`] as each end sees it.
pub const SOCKETS: &str = "SOCKETS";
/// What is known of each of these sockets, with the socket.
pub const LEGS: &str = "LEGS";
/// What is known of each such connection.
pub const PAIRS: &str = "PAIRS";
/// Namespaces of the workloads by their addresses.
pub const LOCALS: &str = "LOCALS";
/// What is counted.
pub const COUNTERS: &str = "COUNTERS";
/// The agent's outbound listeners of all pods: the kernel takes out what is closed.
pub const OUTBOUND: &str = "OUTBOUND";
/// The agent's signs of life.
pub const PULSE: &str = "PULSE";
/// The agent's inbound listeners of one pod: 0 for IPv4, 1 for IPv6.
pub const LISTENERS: &str = "LISTENERS";
/// Ring of what happens to connections that go past the agent.
pub const EVENTS: &str = "EVENTS";
/// Which endpoints stand for the services a UDP socket talks to, with the socket.
pub const FLOWS: &str = "FLOWS";
/// Bitmap of one pod's ports at which the agent has something to do with what comes in.
pub const CLAIMED: &str = "CLAIMED";
/// Destination to number of its set of rules.
pub const RULED: &str = "RULED";
/// Number to set of rules.
pub const RULE_SETS: &str = "RULE_SETS";
/// Networks that rules tell apart.
pub const RULE_NETS: &str = "RULE_NETS";
/// Blocks of ports that rules tell apart.
pub const RULE_PORTS: &str = "RULE_PORTS";
/// Workloads that rules tell apart.
pub const RULE_WHO: &str = "RULE_WHO";
/// The addresses of workloads.
pub const POD_ADDRS: &str = "POD_ADDRS";
/// Ring of the programs' log lines; the name is aya-log's.
pub const LOG: &str = "AYA_LOGS";

/// Constant: the workload for which `inbound` was loaded.
pub const POD: &str = "POD";
/// Constant: the most verbose log level; zero is silence. The name is aya-log's.
pub const LOG_LEVEL: &str = "AYA_LOG_LEVEL";

/// IPv4 connect.
pub const CONNECT4: &str = "connect4";
/// IPv6 connect.
pub const CONNECT6: &str = "connect6";
/// IPv4 datagrams sent without a connection.
pub const SEND4: &str = "send4";
/// IPv6 datagrams sent without a connection.
pub const SEND6: &str = "send6";
/// Datagrams received by an IPv4 socket.
pub const RECEIVE4: &str = "receive4";
/// Datagrams received by an IPv6 socket.
pub const RECEIVE6: &str = "receive6";
/// IPv4 getpeername and accept.
pub const PEERNAME4: &str = "peername4";
/// IPv6 getpeername and accept.
pub const PEERNAME6: &str = "peername6";
/// Carries hidden ends through handshakes.
pub const HANDSHAKE: &str = "handshake";
/// Enters sockets for acceleration.
pub const PAIRING: &str = "pairing";
/// Sends bytes from socket to socket.
pub const REDIRECT: &str = "redirect";
/// Keeps kernel TLS off accelerated sockets.
pub const NO_TLS: &str = "no_tls";
/// What comes in to a pod; loaded once per pod.
pub const INBOUND: &str = "inbound";

/// The programs that are attached once, at the root of the cgroups. The last first: what shows addresses, then what hides them.
pub const CGROUP_PROGRAMS: [&str; 9] =
    [CONNECT4, CONNECT6, SEND4, SEND6, RECEIVE4, RECEIVE6, PEERNAME4, PEERNAME6, HANDSHAKE];
/// The programs of acceleration, attached if it is on.
pub const ACCELERATION_PROGRAMS: [&str; 3] = [NO_TLS, REDIRECT, PAIRING];
/// All programs.
pub const PROGRAMS: [&str; 13] = [
    CONNECT4, CONNECT6, SEND4, SEND6, RECEIVE4, RECEIVE6, PEERNAME4, PEERNAME6, HANDSHAKE, NO_TLS, REDIRECT, PAIRING,
    INBOUND,
];
/// The maps that are pinned under `maps/` of the pin path. What is not here goes with the programs that use it.
pub const MAPS: [&str; 23] = [
    NETNS,
    CGROUPS,
    KNOBS,
    EXCLUDED_PORTS,
    EXCLUDED_CIDRS,
    KEPT,
    HANDSHAKES,
    SERVICES,
    CHOICES,
    SLOTS,
    FLOWS,
    COUNTERS,
    LEGS,
    LOCALS,
    EVENTS,
    OUTBOUND,
    PULSE,
    RULED,
    RULE_SETS,
    RULE_NETS,
    RULE_PORTS,
    RULE_WHO,
    POD_ADDRS,
];
/// Those of them that the inbound programs use as well; of the others each has its own, or none.
pub const SHARED: [&str; 4] = [EXCLUDED_PORTS, EXCLUDED_CIDRS, COUNTERS, PULSE];
/// Pinned as well if acceleration is on, or was: a connection between two apps must not lose its socket's map with the agent. Without
/// acceleration they have no room, and are not.
pub const ACCELERATION_MAPS: [&str; 2] = [SOCKETS, PAIRS];
/// Those that go with the programs that use them: what each pod has of its own.
pub const UNPINNED: [&str; 2] = [LISTENERS, CLAIMED];
/// Folder of the pinned maps.
pub const MAPS_FOLDER: &str = "maps";
/// Folder of the pinned links, each named after its program; those of [`INBOUND`] bear their namespace's cookie too.
pub const LINKS_FOLDER: &str = "links";
/// Folder of programs pinned by themselves, attached to nothing.
pub const PROGRAMS_FOLDER: &str = "programs";

/// What an agent of this version does with the maps of an older one, by that one's version: those named have kept layout and
/// meaning, and are kept with what they hold; the others are made anew. A version that is not here is refused.
pub const KEPT_OF: [(u32, &[&str]); 5] =
    [(8, KEPT_TO_9), (9, KEPT_TO_9), (10, KEPT_OF_10), (11, KEPT_FROM_11), (12, KEPT_FROM_11)];
/// Until then the kernel knew no policies: a service that had one was the agent's.
const KEPT_TO_9: &[&str] = &[NETNS, CGROUPS, LOCALS, SERVICES, CHOICES, FLOWS, SOCKETS, LEGS, PAIRS];
/// Services and their policies are kept together, or neither: a service without its policy is open to everybody.
const KEPT_OF_10: &[&str] = &[
    NETNS, CGROUPS, LOCALS, SERVICES, CHOICES, FLOWS, SOCKETS, LEGS, PAIRS, RULED, RULE_SETS, RULE_NETS, RULE_PORTS,
    RULE_WHO, POD_ADDRS,
];
const KEPT_FROM_11: &[&str] = &[
    NETNS, CGROUPS, LOCALS, KEPT, HANDSHAKES, SERVICES, CHOICES, FLOWS, SOCKETS, LEGS, PAIRS, EVENTS, RULED, RULE_SETS,
    RULE_NETS, RULE_PORTS, RULE_WHO, POD_ADDRS,
];
