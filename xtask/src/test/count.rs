//! Adding up the result lines of test programs.

use std::{fmt, ops::AddAssign};

/// How many tests went which way.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Count {
    pub(crate) passed: u64,
    pub(crate) failed: u64,
    pub(crate) skipped: u64,
}

impl Count {
    /// What a line of output adds: nothing, unless it is a test program's last.
    pub(crate) fn of_line(line: &str) -> Self {
        let Some(rest) = line.trim().strip_prefix("test result: ") else { return Self::default() };
        let number = |word: &str| {
            let before = rest.split(';').find_map(|part| part.trim().strip_suffix(word));
            before.and_then(|before| before.split_whitespace().last()?.parse().ok()).unwrap_or(0)
        };
        Self { passed: number("passed"), failed: number("failed"), skipped: number("ignored") }
    }
}

impl AddAssign for Count {
    fn add_assign(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
    }
}

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} passed, {} failed", self.passed, self.failed)?;
        if self.skipped > 0 {
            write!(f, ", {} skipped", self.skipped)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn result_lines_add_up_and_others_do_not_count() {
        let output = "running 3 tests\ntest a ... ok\n\
            test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.00s\n\
            test result: FAILED. 10 passed; 2 failed; 0 ignored; 0 measured; 4 filtered out; finished in 1.20s\n";
        let mut count = Count::default();
        output.lines().for_each(|line| count += Count::of_line(line));
        assert_eq!(count, Count { passed: 13, failed: 2, skipped: 1 });
        assert_eq!(count.to_string(), "13 passed, 2 failed, 1 skipped");
        assert_eq!(Count { skipped: 0, ..count }.to_string(), "13 passed, 2 failed");
    }
}
