//! The test itself is tested in both directions: what is the same is found the same, and what differs is found. What it finds out
//! about acceleration needs privilege, and is tried in the test world.

use std::io;
use std::os::fd::BorrowedFd;
use std::sync::Arc;

use super::checks::{ALL, compare};
use super::ends::{Network, Ordinary};
use super::{Check, Tried};

#[test]
fn ordinary_sockets_are_like_ordinary_sockets() {
    let mut never_same: Vec<_> = ALL.iter().map(|(name, _)| *name).collect();
    // The test gives up on what takes long, and a machine that is busy takes long for anything: now for one check, now for another. One
    // that finds a difference where there is none finds it each time.
    let mut differed = Vec::new();
    for _ in 0..5 {
        let checks = compare(&(Arc::new(Ordinary) as _), &(Arc::new(Ordinary) as _));
        assert_eq!(checks.len(), ALL.len());
        never_same.retain(|name| checks.iter().any(|check| check.name == *name && !check.same));
        if never_same.is_empty() {
            return;
        }
        differed.push(Tried::All(checks).objections());
    }
    panic!("{never_same:?} in all of {differed:?}");
}

/// Does to a socket what an app can see.
struct LowWater;

impl Network for LowWater {
    fn prepare(&self, _: BorrowedFd<'_>) -> io::Result<()> {
        Ok(())
    }

    fn is_ready(&self, socket: BorrowedFd<'_>) -> bool {
        super::sys::set_low_water(socket, 6).is_ok()
    }
}

#[test]
fn what_an_app_would_notice_is_found() {
    let checks = compare(&(Arc::new(Ordinary) as _), &(Arc::new(LowWater) as _));
    let peek = checks.iter().find(|check| check.name == "MSG_PEEK").expect("is tried");
    assert!(!peek.same, "{peek:?}");
}

#[test]
fn what_was_not_tried_is_an_objection() {
    assert_eq!(Tried::Not("no cgroup".to_owned()).objections(), ["the self-test could not be made: no cgroup"]);
    let check = |same| Check {
        name: "MSG_PEEK".to_owned(),
        ordinary: "4 bytes".to_owned(),
        accelerated: "the end".to_owned(),
        same,
    };
    assert_eq!(Tried::All(vec![check(true)]).objections(), Vec::<String>::new());
    assert_eq!(Tried::All(vec![check(true), check(false)]).objections(), ["MSG_PEEK: the end, instead of 4 bytes"]);
}
