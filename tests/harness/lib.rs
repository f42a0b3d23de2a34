//! The test world: pods made of namespaces, real servers, and the agent as a child process.
