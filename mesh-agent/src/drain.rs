//! Graceful end: a signal every task can wait for, and a hard deadline.
