//! Workloads while they run on this node: their namespaces, cgroups and the sockets the agent holds inside them.
