//! A hash map that is read and written many entries at a time: a hundred thousand endpoints are not worth as many system calls.
//!
//! aya has no batch operations. The kernel has them for hash maps since 5.6.
#![allow(unsafe_code, reason = "batch operations on maps have no safe wrapper in aya")]

use std::io;
use std::marker::PhantomData;
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::ptr;

use aya::maps::{Map, MapError};
use aya::{Ebpf, Pod};

use crate::kernel::maps::TableError;

/// A hash map of the loaded object.
#[derive(Debug)]
pub(crate) struct BatchMap<K, V> {
    name: &'static str,
    fd: OwnedFd,
    types: PhantomData<(K, V)>,
}

impl<K: Pod, V: Pod> BatchMap<K, V> {
    /// The map of that name, out of the loaded object.
    pub(crate) fn take(ebpf: &mut Ebpf, name: &'static str) -> Result<Self, TableError> {
        let found = ebpf.take_map(name).ok_or(TableError::Missing { map: name })?;
        let Map::HashMap(data) = found else { return Err(TableError::Missing { map: name }) };
        let fd = data.fd().as_fd().try_clone_to_owned();
        let fd = fd.map_err(|error| refused(name, error))?;
        Ok(Self { name, fd, types: PhantomData })
    }

    /// Writes all entries, or says why it could not write all; some are written then.
    pub(crate) fn put(&self, keys: &[K], values: &[V]) -> Result<(), TableError> {
        for (keys, values) in keys.chunks(BATCH).zip(values.chunks(BATCH)) {
            let mut batch = self.batch(keys.as_ptr().cast(), values.as_ptr().cast(), keys.len().min(values.len()));
            self.call(UPDATE_BATCH, &mut batch).map_err(|error| refused(self.name, error))?;
        }
        Ok(())
    }

    /// Removes all entries; what is not there is no error.
    pub(crate) fn remove(&self, keys: &[K]) -> Result<(), TableError> {
        for mut keys in keys.chunks(BATCH) {
            while !keys.is_empty() {
                let mut batch = self.batch(keys.as_ptr().cast(), ptr::null(), keys.len());
                match self.call(DELETE_BATCH, &mut batch) {
                    Ok(()) => break,
                    // It stops at what is not there, and tells how many it has removed until then.
                    Err(error) if error.raw_os_error() == Some(libc::ENOENT) => {
                        keys = keys.get(batch.count as usize + 1..).unwrap_or_default();
                    }
                    Err(error) => return Err(refused(self.name, error)),
                }
            }
        }
        Ok(())
    }

    /// All entries, in no order. What changes meanwhile may be missing.
    pub(crate) fn read(&self) -> Result<Vec<(K, V)>, TableError> {
        let mut found = Vec::new();
        let mut room = BATCH;
        let (mut from, mut to) = (0_u32, 0_u32);
        let mut first = true;
        loop {
            let (mut keys, mut values) = (Vec::<K>::with_capacity(room), Vec::<V>::with_capacity(room));
            let mut batch = self.batch(keys.as_mut_ptr().cast(), values.as_mut_ptr().cast(), room);
            batch.from = if first { 0 } else { (&raw mut from) as u64 };
            batch.to = (&raw mut to) as u64;
            let done = self.call(LOOKUP_BATCH, &mut batch);
            let code = done.as_ref().err().and_then(io::Error::raw_os_error);
            match (&done, code) {
                // A bucket did not fit.
                (Err(_), Some(libc::ENOSPC)) => {
                    room *= 2;
                    continue;
                }
                (Ok(()), _) | (Err(_), Some(libc::ENOENT)) => {}
                (Err(_), _) => return done.map_err(|error| refused(self.name, error)).map(|()| found),
            }
            let count = (batch.count as usize).min(room);
            // SAFETY: the kernel has written `count` keys, for which there is room.
            unsafe { keys.set_len(count) };
            // SAFETY: and as many values.
            unsafe { values.set_len(count) };
            found.extend(keys.into_iter().zip(values));
            if code.is_some() {
                return Ok(found);
            }
            (from, first) = (to, false);
        }
    }

    /// How many entries there are, of `most` at most. What changes meanwhile may be missing or counted twice.
    pub(crate) fn count(&self, most: usize) -> Result<usize, TableError> {
        let mut room = BATCH;
        let (mut keys, mut values) = (Vec::<K>::with_capacity(room), Vec::<V>::with_capacity(room));
        let (mut from, mut to) = (0_u32, 0_u32);
        let (mut first, mut found) = (true, 0);
        while found < most {
            let mut batch = self.batch(keys.as_mut_ptr().cast(), values.as_mut_ptr().cast(), room);
            batch.from = if first { 0 } else { (&raw mut from) as u64 };
            batch.to = (&raw mut to) as u64;
            let code = match self.call(LOOKUP_BATCH, &mut batch) {
                Ok(()) => None,
                Err(error) if matches!(error.raw_os_error(), Some(libc::ENOSPC | libc::ENOENT)) => error.raw_os_error(),
                Err(error) => return Err(refused(self.name, error)),
            };
            if code == Some(libc::ENOSPC) {
                // A bucket did not fit.
                room *= 2;
                (keys, values) = (Vec::with_capacity(room), Vec::with_capacity(room));
                continue;
            }
            found += batch.count as usize;
            if code.is_some() {
                break;
            }
            (from, first) = (to, false);
        }
        Ok(found.min(most))
    }

    /// One entry.
    pub(crate) fn get(&self, key: &K) -> Result<Option<V>, TableError> {
        let mut value = std::mem::MaybeUninit::<V>::uninit();
        let mut single = Single {
            fd: self.fd.as_raw_fd().cast_unsigned(),
            pad: 0,
            key: ptr::from_ref(key) as u64,
            value: value.as_mut_ptr() as u64,
            flags: 0,
        };
        let size = size_of::<Single>();
        // SAFETY: the kernel reads a key and writes a value of the map's sizes, which are those of the types.
        let done = unsafe { libc::syscall(libc::SYS_bpf, LOOKUP, &raw mut single, size) };
        if done == 0 {
            // SAFETY: the kernel has written it.
            return Ok(Some(unsafe { value.assume_init() }));
        }
        match io::Error::last_os_error() {
            error if error.raw_os_error() == Some(libc::ENOENT) => Ok(None),
            error => Err(refused(self.name, error)),
        }
    }

    fn batch(&self, keys: *const u8, values: *const u8, count: usize) -> Batch {
        Batch {
            from: 0,
            to: 0,
            keys: keys as u64,
            values: values as u64,
            count: u32::try_from(count).unwrap_or(u32::MAX),
            fd: self.fd.as_raw_fd().cast_unsigned(),
            element_flags: 0,
            flags: 0,
        }
    }

    fn call(&self, command: libc::c_long, batch: &mut Batch) -> io::Result<()> {
        let size = size_of::<Batch>();
        // SAFETY: keys and values are arrays of `count` elements of the map's sizes, which are those of the types; the kernel
        // writes to them only for a look-up, for which they were made.
        let done = unsafe { libc::syscall(libc::SYS_bpf, command, ptr::from_mut(batch), size) };
        if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    }
}

/// The part of `union bpf_attr` for operations on many entries.
#[repr(C)]
struct Batch {
    from: u64,
    to: u64,
    keys: u64,
    values: u64,
    count: u32,
    fd: u32,
    element_flags: u64,
    flags: u64,
}

/// And on one.
#[repr(C)]
struct Single {
    fd: u32,
    pad: u32,
    key: u64,
    value: u64,
    flags: u64,
}

fn refused(map: &'static str, error: io::Error) -> TableError {
    match error.raw_os_error() {
        Some(libc::E2BIG) => TableError::Full { map },
        _ => TableError::Refused { map, source: Box::new(MapError::IoError(error)) },
    }
}

/// Entries for each system call.
const BATCH: usize = 4096;

const LOOKUP: libc::c_long = 1;
const LOOKUP_BATCH: libc::c_long = 24;
const UPDATE_BATCH: libc::c_long = 26;
const DELETE_BATCH: libc::c_long = 27;

const _: () = assert!(size_of::<Batch>() == 56);
const _: () = assert!(size_of::<Single>() == 32);
