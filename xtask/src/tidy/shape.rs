//! Rules about the shape of a file: its length, its header, its name, what it exports, what it leaves open.

use crate::tidy::{Finding, source::Source};

/// One idea per file: nobody reads the thousand-and-first line.
pub(crate) fn file_is_short(source: &Source) -> Vec<Finding> {
    let lines = source.product_lines().count();
    if lines <= LONGEST {
        return Vec::new();
    }
    let advice = format!("{lines} lines without its tests, {LONGEST} are allowed: cut it where it has two ideas");
    vec![Finding::new(source, LONGEST + 1, "length", advice)]
}

/// The first thing a reader sees is what the file is for.
pub(crate) fn file_says_what_it_is_for(source: &Source) -> Vec<Finding> {
    if !source.is_rust() || source.text.starts_with("//! ") {
        return Vec::new();
    }
    vec![Finding::new(
        source,
        1,
        "header",
        "open the file with `//!`: what it is for, why this shape, what it leaves out",
    )]
}

/// Ten open tabs called mod.rs help nobody.
pub(crate) fn module_is_named_by_its_file(source: &Source) -> Vec<Finding> {
    match source.path.strip_suffix("/mod.rs") {
        Some(folder) => vec![Finding::new(source, 1, "mod.rs", format!("call it {folder}.rs"))],
        None => Vec::new(),
    }
}

/// What a module offers is to be read off its own lines.
pub(crate) fn no_glob_reexport(source: &Source) -> Vec<Finding> {
    let is_glob = |line: &str| {
        let line = line.trim();
        line.starts_with("pub") && line.contains(" use ") && line.ends_with("*;")
    };
    let lines = source.code.lines().enumerate().filter(|(_, line)| is_glob(line));
    lines.map(|(at, _)| Finding::new(source, at + 1, "glob", "name what is exported, one by one")).collect()
}

/// A note to self is kept where work is planned, not where it is forgotten.
pub(crate) fn open_ends_have_an_issue(source: &Source) -> Vec<Finding> {
    let is_open = |line: &str| MARKS.iter().any(|mark| line.contains(mark)) && !names_an_issue(line);
    let lines = source.text.lines().enumerate().filter(|(_, line)| is_open(line));
    lines.map(|(at, _)| Finding::new(source, at + 1, "open end", "do it, or name its issue as #N")).collect()
}

fn names_an_issue(line: &str) -> bool {
    line.split('#').skip(1).any(|after| after.starts_with(|c: char| c.is_ascii_digit()))
}

const LONGEST: usize = 500;

/// In two halves, or this file would be its own first finding.
const MARKS: [&str; 3] = [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X")];

#[cfg(test)]
mod tests {
    use super::*;

    fn source(path: &str, text: &str) -> Source {
        Source::new(path, text)
    }

    #[test]
    fn tests_do_not_count_as_length() {
        let line = "fn f() {}\n";
        let long = source("a.rs", &line.repeat(501));
        assert_eq!(file_is_short(&long)[0].line, 501);
        let tested = format!("{}#[cfg(test)]\nmod tests {{\n{}}}\n", line.repeat(500), line.repeat(100));
        assert_eq!(file_is_short(&source("a.rs", &tested)), []);
        assert_eq!(file_is_short(&source("a/tests.rs", &line.repeat(501))), []);
    }

    #[test]
    fn a_file_without_a_header_is_found() {
        assert_eq!(file_says_what_it_is_for(&source("a.rs", "use std::fs;\n")).len(), 1);
        assert_eq!(file_says_what_it_is_for(&source("a.rs", "//! What for.\n")), []);
        assert_eq!(file_says_what_it_is_for(&source("a.md", "# Title\n")), []);
    }

    #[test]
    fn a_mod_rs_is_found() {
        assert_eq!(module_is_named_by_its_file(&source("a/src/b/mod.rs", ""))[0].advice, "call it a/src/b.rs");
        assert_eq!(module_is_named_by_its_file(&source("a/src/b.rs", "")), []);
    }

    #[test]
    fn a_glob_reexport_is_found() {
        let text = "use a::*;\npub use b::c;\npub(crate) use d::*;\n";
        let lines: Vec<_> = no_glob_reexport(&source("a.rs", text)).iter().map(|it| it.line).collect();
        assert_eq!(lines, [3]);
    }

    #[test]
    fn an_open_end_without_issue_is_found() {
        let text = format!("// {}: later\n// {}(#12): later\n", MARKS[0], MARKS[1]);
        let lines: Vec<_> = open_ends_have_an_issue(&source("a.rs", &text)).iter().map(|it| it.line).collect();
        assert_eq!(lines, [1]);
    }
}
