//! Tables of aligned columns, the same on a terminal and in a file.

/// Lines of cells under a head.
#[derive(Debug)]
pub(super) struct Table {
    lines: Vec<Vec<String>>,
}

impl Table {
    pub(super) fn new(head: &[&str]) -> Self {
        Self { lines: vec![head.iter().map(|&title| title.to_owned()).collect()] }
    }

    /// Adds a line. An empty cell is shown as `-`, so that every line has the same number of words.
    pub(super) fn line(&mut self, cells: Vec<String>) {
        let shown = |cell: String| if cell.is_empty() { "-".to_owned() } else { cell };
        self.lines.push(cells.into_iter().map(shown).collect());
    }

    pub(super) fn render(&self) -> String {
        let columns = self.lines.iter().map(Vec::len).max().unwrap_or(0);
        let width = |column: usize| {
            self.lines.iter().filter_map(|line: &Vec<String>| line.get(column)).map(|c| c.chars().count()).max()
        };
        let widths: Vec<_> = (0..columns).map(|column| width(column).unwrap_or(0)).collect();
        let mut text = String::new();
        for line in &self.lines {
            for (cell, width) in line.iter().zip(&widths) {
                text.push_str(&format!("{cell:width$}  "));
            }
            text.truncate(text.trim_end().len());
            text.push('\n');
        }
        text
    }
}

/// A duration in milliseconds, in the largest unit that leaves at most three digits or so.
pub(super) fn age(millis: u64) -> String {
    match millis {
        0..1_000 => format!("{millis}ms"),
        1_000..120_000 => format!("{}s", millis / 1_000),
        120_000..7_200_000 => format!("{}m", millis / 60_000),
        _ => format!("{}h", millis / 3_600_000),
    }
}

/// A number of bytes, with a binary unit.
pub(super) fn size(bytes: u64) -> String {
    let mut scaled = bytes;
    for unit in ["B", "KiB", "MiB", "GiB"] {
        if scaled < 10_240 {
            return format!("{scaled}{unit}");
        }
        scaled /= 1024;
    }
    format!("{scaled}TiB")
}

#[cfg(test)]
mod tests {
    use super::{Table, age, size};

    #[test]
    fn columns_align_and_lines_do_not_trail() {
        let mut table = Table::new(&["NAME", "STATE"]);
        table.line(vec!["reviews-v1".into(), "meshed".into()]);
        table.line(vec!["ä".into(), String::new()]);
        assert_eq!(table.render(), "NAME        STATE\nreviews-v1  meshed\nä           -\n");
    }

    #[test]
    fn figures_stay_short() {
        assert_eq!([999, 1_000, 119_999, 120_000, 7_200_000].map(age), ["999ms", "1s", "119s", "2m", "2h"]);
        assert_eq!([0, 10_239, 10_240, 1 << 40].map(size), ["0B", "10239B", "10KiB", "1024GiB"]);
    }
}
