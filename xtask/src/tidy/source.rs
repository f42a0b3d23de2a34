//! The files of the checkout, as the rules see them.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};

use crate::tidy::code;

/// A text file.
#[derive(Debug)]
pub(crate) struct Source {
    /// Relative to the checkout, with `/`.
    pub(crate) path: String,
    /// As it is.
    pub(crate) text: String,
    /// Rust only: the same with comments and literals blanked out, line for line.
    pub(crate) code: String,
}

impl Source {
    pub(crate) fn new(path: &str, text: impl Into<String>) -> Self {
        let text = text.into();
        let code = if path.ends_with(".rs") { code::without_comments_and_literals(&text) } else { String::new() };
        Self { path: path.to_owned(), text, code }
    }

    pub(crate) fn is_rust(&self) -> bool {
        self.path.ends_with(".rs")
    }

    /// Whether all of it is tests.
    pub(crate) fn is_tests(&self) -> bool {
        let in_tests_folder = self.path.strip_prefix("tests/").is_some_and(|rest| !rest.contains('/'));
        in_tests_folder || self.path.ends_with("/tests.rs") || self.path.contains("/tests/")
    }

    /// The lines of code before the tests at the end of the file, counted from 1.
    pub(crate) fn product_lines(&self) -> impl Iterator<Item = (usize, &str)> {
        let tests = if self.is_tests() { 0 } else { self.first_line_of_tests() };
        self.code.lines().take(tests).enumerate().map(|(index, line)| (index + 1, line))
    }

    /// How many lines come before the tests.
    fn first_line_of_tests(&self) -> usize {
        let lines: Vec<_> = self.code.lines().collect();
        let is_start = |pair: &[&str]| pair[0].trim() == "#[cfg(test)]" && pair[1].trim().starts_with("mod tests");
        lines.windows(2).position(is_start).unwrap_or(lines.len())
    }
}

/// Every text file that belongs to the project.
pub(crate) fn all(root: &Path) -> Result<Vec<Source>> {
    let mut sources = Vec::new();
    collect(root, &PathBuf::new(), &mut sources)?;
    Ok(sources)
}

fn collect(root: &Path, folder: &Path, sources: &mut Vec<Source>) -> Result<()> {
    let full = root.join(folder);
    for entry in fs::read_dir(&full).with_context(|| format!("cannot read {}", full.display()))? {
        let entry = entry?;
        let name = entry.file_name().into_string().unwrap_or_default();
        let path = folder.join(&name);
        let kind = entry.file_type()?;
        if kind.is_dir() && !NOT_OURS.contains(&name.as_str()) {
            collect(root, &path, sources)?;
        } else if kind.is_file() && is_text(&name) {
            let text = fs::read_to_string(entry.path()).with_context(|| format!("cannot read {}", path.display()))?;
            sources.push(Source::new(&path.to_string_lossy(), text));
        }
    }
    Ok(())
}

fn is_text(name: &str) -> bool {
    name.rsplit_once('.').is_some_and(|(_, extension)| TEXT.contains(&extension))
}

const NOT_OURS: [&str; 2] = [".git", "target"];

const TEXT: [&str; 7] = ["rs", "toml", "md", "sh", "yaml", "service", "py"];
