//! What a connection does: both ends know it from the seed and the connection's number alone.

use std::time::Duration;

/// Numbers that look random and are the same for the same seed (SplitMix64).
#[derive(Clone, Debug)]
pub(crate) struct Random(u64);

/// How a scenario is run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scale {
    pub(crate) seed: u64,
    pub(crate) connections: u64,
    /// In both directions together, roughly.
    pub(crate) bytes: u64,
}

/// What one connection does.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    /// The largest piece that is written at once.
    pub(crate) piece: usize,
    /// The largest that is read at once.
    pub(crate) read: usize,
    /// Pauses, in thousandths of the reads and writes.
    pub(crate) pauses: u64,
    /// Connects without waiting, and sends before it is connected.
    pub(crate) hasty: bool,
    pub(crate) talk: Talk,
}

/// Who sends what when.
#[derive(Clone, Debug)]
pub(crate) enum Talk {
    /// Both at once; each ends its direction when it has sent all.
    Streams { up: u64, down: u64 },
    /// In turns: so much, and so much back. The client ends it.
    Turns(Vec<(u64, u64)>),
    /// The client sends, and closes at once.
    Leave { up: u64 },
    /// The client resets the connection after so much.
    Abort { up: u64 },
}

impl Random {
    pub(crate) fn new(seed: u64, stream: u64) -> Self {
        let mut random = Self(seed ^ stream.wrapping_mul(0xd6e8_feb8_6659_fd93));
        random.next();
        random
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// From 1 to `most`.
    pub(crate) fn up_to(&mut self, most: usize) -> usize {
        (self.next() % most as u64) as usize + 1
    }

    pub(crate) fn chance(&mut self, thousandths: u64) -> bool {
        self.next() % 1000 < thousandths
    }

    /// Now and then waits a little.
    pub(crate) fn pause(&mut self, thousandths: u64) {
        if self.chance(thousandths) {
            std::thread::sleep(Duration::from_micros(self.next() % 3000));
        }
    }
}

impl Plan {
    /// Connection `id` of this scenario.
    pub(crate) fn of(scale: Scale, id: u64) -> Self {
        let mut random = Random::new(scale.seed, id);
        let piece = [1, 64, 1500, 16 << 10, 64 << 10, 1 << 20, 4 << 20][random.up_to(7) - 1];
        let mean = scale.bytes / scale.connections.max(1);
        // Some connections carry most of the bytes; what goes in small pieces is little.
        let most = (piece as u64 * 2000).min(mean * 8).max(1);
        let large = random.chance(250);
        let mut size = |large: bool| {
            let most = if large { most } else { most.min(4096) };
            random.next() % (most + 1)
        };
        let (up, down) = (size(large), size(large));
        let mut turn = || (size(false).max(1), size(large).max(1) / 8 + 1);
        let turns = vec![turn(), turn(), turn(), turn(), turn(), turn(), turn(), turn()];
        let talk = match random.next() % 10 {
            0..4 => Talk::Streams { up, down },
            4..7 => Talk::Turns(turns),
            7..9 => Talk::Leave { up },
            _ => Talk::Abort { up },
        };
        Self {
            piece,
            read: [64, 4096, 64 << 10, 1 << 20][random.up_to(4) - 1],
            pauses: [0, 0, 5, 50][random.up_to(4) - 1],
            hasty: random.chance(250),
            talk,
        }
    }

    /// Whether all that the client sends must arrive.
    pub(crate) const fn is_whole(&self) -> bool {
        !matches!(self.talk, Talk::Abort { .. })
    }

    /// The same where HTTP is spoken, which knows requests and answers.
    pub(crate) fn turns(&self) -> Vec<(u64, u64)> {
        match &self.talk {
            Talk::Turns(turns) => turns.clone(),
            &Talk::Streams { up, down } => vec![(up, down), (down, up)],
            &(Talk::Leave { up } | Talk::Abort { up }) => vec![(up, 0)],
        }
    }
}
