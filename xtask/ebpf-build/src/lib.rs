//! Finds a toolchain that can build the kernel programs, and builds them.
