//! The kernel side: load, attach and feed the programs of mesh-ebpf.
