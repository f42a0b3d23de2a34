//! An archive as the kernel unpacks it at start: `cpio` of the new ASCII form, uncompressed.
//!
//! Archives may follow one another in one file, so what all kernels share is packed once.

use std::collections::BTreeSet;

/// One archive in the making.
#[derive(Debug, Default)]
pub(crate) struct Archive {
    bytes: Vec<u8>,
    folders: BTreeSet<String>,
    count: u32,
}

impl Archive {
    /// Adds a file that may be run, and the folders above it.
    pub(crate) fn file(&mut self, path: &str, content: &[u8]) {
        let path = path.trim_start_matches('/');
        self.folders_above(path);
        self.entry(path, 0o100_755, (0, 0), content);
    }

    /// Adds a character device.
    pub(crate) fn device(&mut self, path: &str, major: u32, minor: u32) {
        let path = path.trim_start_matches('/');
        self.folders_above(path);
        self.entry(path, 0o020_600, (major, minor), &[]);
    }

    /// The archive.
    pub(crate) fn finish(mut self) -> Vec<u8> {
        self.entry("TRAILER!!!", 0, (0, 0), &[]);
        self.bytes
    }

    fn folders_above(&mut self, path: &str) {
        let ends: Vec<_> = path.match_indices('/').map(|(at, _)| at).collect();
        for end in ends {
            if self.folders.insert(path[..end].to_owned()) {
                self.entry(&path[..end], 0o040_755, (0, 0), &[]);
            }
        }
    }

    fn entry(&mut self, path: &str, mode: u32, device: (u32, u32), content: &[u8]) {
        self.count += 1;
        let size = u32::try_from(content.len()).expect("no file of a test machine has 4 GB");
        let name = u32::try_from(path.len() + 1).expect("no path is that long");
        // Inode, mode, owner, group, links, time, size, the device it is on, the device it is, length of the name, no sum.
        let fields = [self.count, mode, 0, 0, 1, 0, size, 0, 0, device.0, device.1, name, 0];
        self.bytes.extend(b"070701");
        for field in fields {
            self.bytes.extend(format!("{field:08x}").bytes());
        }
        self.bytes.extend(path.bytes());
        self.bytes.push(0);
        self.pad();
        self.bytes.extend(content);
        self.pad();
    }

    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_aligned_and_folders_come_once_and_first() {
        let mut archive = Archive::default();
        archive.file("/bin/a", b"12345");
        archive.file("/bin/b", b"");
        let bytes = archive.finish();
        assert_eq!(bytes.len() % 4, 0);
        let text = String::from_utf8(bytes).unwrap();
        let places: Vec<_> = text.match_indices("070701").map(|(at, _)| at).collect();
        assert_eq!(places.len(), 4, "bin, bin/a, bin/b and the end");
        assert!(places.iter().all(|at| at % 4 == 0));
        assert!(text[places[0]..].contains("bin\0") && text[places[1]..].contains("bin/a\0"));
        assert!(text.contains(concat!("12345\0\0\0", "070701")));
    }
}
