//! What of the hints and the table fits on the terminal. A screen that is larger scrolls away with every redraw, and a line that
//! is longer takes two.

use std::io::stdout;

use rustix::termios::tcgetwinsize;

/// Lines and columns of a terminal.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Size {
    lines: usize,
    columns: usize,
}

impl Size {
    /// The terminal's, as it is now; `None` where there is no terminal. One that doesn't know has no limit.
    pub(crate) fn now() -> Option<Self> {
        let size = tcgetwinsize(stdout()).ok()?;
        let or_endless = |count: u16| if count == 0 { usize::MAX } else { count.into() };
        Some(Self { lines: or_endless(size.ws_row), columns: or_endless(size.ws_col) })
    }

    /// The text that redraws the whole screen. Where not all of it fits, hints go before lines of the table do.
    pub(crate) fn redraw(self, hints: &str, table: &str) -> String {
        // The cursor stands on the last line.
        let room = self.lines.saturating_sub(1);
        let mut lines: Vec<_> = hints.lines().chain([""]).chain(table.lines()).collect();
        if lines.len() > room {
            lines = hints.lines().take(1).chain([""]).chain(table.lines()).collect();
        }
        let missing = lines.len().saturating_sub(room);
        let more = format!("... and {} more: the terminal is small", missing + 1);
        if missing > 0 {
            lines.truncate(room.saturating_sub(1));
            lines.push(&more);
        }
        let mut text = String::from("\x1b[H");
        for line in lines {
            text.extend(line.chars().take(self.columns));
            text.push_str("\x1b[K\n");
        }
        // Whatever is left below.
        text + "\x1b[J"
    }
}

#[cfg(test)]
mod tests {
    use super::Size;

    fn drawn(lines: usize, columns: usize) -> Vec<String> {
        let text = Size { lines, columns }.redraw("a page\n\n  try this\n", "from to\n1\n2\n3\n");
        let text = text.strip_prefix("\x1b[H").and_then(|text| text.strip_suffix("\x1b[J")).expect("one redraw");
        text.split_terminator("\x1b[K\n").map(str::to_owned).collect()
    }

    #[test]
    fn what_does_not_fit_is_left_out_from_the_hints_on() {
        assert_eq!(drawn(9, 80), ["a page", "", "  try this", "", "from to", "1", "2", "3"]);
        assert_eq!(drawn(8, 80), ["a page", "", "from to", "1", "2", "3"]);
        assert_eq!(drawn(6, 80), ["a page", "", "from to", "1", "... and 2 more: the terminal is small"][..]);
        assert_eq!(drawn(9, 4)[..3], ["a pa", "", "  tr"]);
    }
}
