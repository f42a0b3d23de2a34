//! Rules about what may not spread: the types of foreign crates, and unsafe code.

use crate::tidy::{Finding, source::Source};

/// A crate that may be replaced one day is named in one place.
pub(crate) fn foreign_crates_stay_home(source: &Source) -> Vec<Finding> {
    let Some(inside) = source.path.strip_prefix("mesh-agent/src/") else { return Vec::new() };
    let mut findings = Vec::new();
    for (name, homes) in HOMES {
        if homes.iter().any(|home| is_within(inside, home)) {
            continue;
        }
        let lines = source.product_lines().filter(|(_, line)| names_crate(line, name));
        let advice = format!("{name} stays in {}: offer what is needed from there", homes.join(", "));
        findings.extend(lines.map(|(line, _)| Finding::new(source, line, "foreign crate", advice.as_str())));
    }
    findings
}

/// Where unsafe code is, is where a reviewer looks twice.
pub(crate) fn unsafe_stays_where_it_is_allowed(source: &Source) -> Vec<Finding> {
    if UNSAFE.iter().any(|home| is_within(&source.path, home)) {
        return Vec::new();
    }
    let lines =
        source.code.lines().enumerate().filter(|(_, line)| has_word(line, "unsafe") || has_word(line, "unsafe_code"));
    let advice = format!("no unsafe code outside {}", UNSAFE.join(", "));
    lines.map(|(at, _)| Finding::new(source, at + 1, "unsafe", advice.as_str())).collect()
}

/// Whether `path` is the module `home`: its file, or a file of its folder.
fn is_within(path: &str, home: &str) -> bool {
    path.strip_prefix(home).is_some_and(|rest| rest == ".rs" || rest.starts_with('/'))
}

/// Whether `line` has a path that starts with the crate.
fn names_crate(line: &str, name: &str) -> bool {
    words(line, name).any(|(before, after)| {
        let is_head = !before.ends_with("::") && !before.ends_with('.');
        is_head && (after.starts_with("::") || before.trim_end().ends_with("use"))
    })
}

fn has_word(line: &str, word: &str) -> bool {
    words(line, word).next().is_some()
}

/// What stands before and after each place where `word` is a whole word of `line`.
fn words<'l>(line: &'l str, word: &'l str) -> impl Iterator<Item = (&'l str, &'l str)> {
    let part_of_word = |c: char| c.is_alphanumeric() || c == '_';
    line.match_indices(word)
        .map(move |(at, _)| (&line[..at], &line[at + word.len()..]))
        .filter(move |(before, after)| !before.ends_with(part_of_word) && !after.starts_with(part_of_word))
}

/// Crate, and the modules of the agent that may name it.
const HOMES: [(&str, &[&str]); 11] = [
    ("aya", &["kernel"]),
    ("aya_log", &["kernel"]),
    ("hyper", &["proxy/http", "transport", "admin"]),
    ("hyper_util", &["proxy/http", "transport", "admin", "xds/client"]),
    ("h2", &["proxy/http", "transport", "admin"]),
    ("prost", &["xds", "admin/csds"]),
    ("tonic", &["xds/client", "admin", "grpc"]),
    ("rustls", &["identity"]),
    ("tokio_rustls", &["identity"]),
    ("webpki", &["identity"]),
    ("saphyr_parser", &["file"]),
];

/// Modules whose unsafe code is reviewed as such.
const UNSAFE: [&str; 5] =
    ["mesh-ebpf", "mesh-common", "mesh-agent/src/kernel", "mesh-agent/src/pod/netns", "mesh-agent/src/app/memory"];

#[cfg(test)]
mod tests {
    use super::*;

    const NONE: [usize; 0] = [];

    fn lines(rule: fn(&Source) -> Vec<Finding>, path: &str, text: &str) -> Vec<usize> {
        rule(&Source::new(path, text)).into_iter().map(|it| it.line).collect()
    }

    #[test]
    fn a_foreign_crate_away_from_home_is_found() {
        let text =
            "use aya::Ebpf;\nuse hyper;\nfn f(x: h2::Reason) {}\nuse crate::h2::Own;\nlet hyper = 1; // hyper::x\n";
        assert_eq!(lines(foreign_crates_stay_home, "mesh-agent/src/rollout.rs", text), [1, 2, 3]);
        assert_eq!(lines(foreign_crates_stay_home, "mesh-agent/src/proxy/http/h2.rs", text), [1]);
        assert_eq!(lines(foreign_crates_stay_home, "mesh-agent/src/kernel/loader.rs", "use aya::Ebpf;\n"), NONE);
        assert_eq!(lines(foreign_crates_stay_home, "tests/harness/wire.rs", text), NONE);
    }

    #[test]
    fn unsafe_code_away_from_home_is_found() {
        let text = "#![allow(unsafe_code)]\n// unsafe\nlet x = unsafe { y() };\n";
        assert_eq!(lines(unsafe_stays_where_it_is_allowed, "mesh-agent/src/proxy/tcp.rs", text), [1, 3]);
        assert_eq!(lines(unsafe_stays_where_it_is_allowed, "mesh-agent/src/pod/netns.rs", text), NONE);
        assert_eq!(lines(unsafe_stays_where_it_is_allowed, "mesh-agent/src/kernel/maps.rs", text), NONE);
        assert_eq!(lines(unsafe_stays_where_it_is_allowed, "mesh-agent/src/kernels.rs", text), [1, 3]);
    }
}
