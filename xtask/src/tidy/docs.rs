//! Rules about what the documents owe to the code.

use crate::tidy::{Finding, source::Source};

/// Every dependency is a decision, and ARCHITECTURE.md says what it is for.
pub(crate) fn dependencies_are_explained(sources: &[Source]) -> Vec<Finding> {
    let find = |path: &str| sources.iter().find(|source| source.path == path);
    let Some(manifest) = find("Cargo.toml") else { return Vec::new() };
    let document = find("ARCHITECTURE.md").map_or("", |source| source.text.as_str());
    dependencies(&manifest.text)
        .filter(|(_, name)| !document.contains(&format!("`{name}`")))
        .map(|(line, name)| {
            Finding::new(manifest, line, "dependency", format!("say in ARCHITECTURE.md what `{name}` is for"))
        })
        .collect()
}

/// Line and name of each foreign dependency of the workspace.
fn dependencies(manifest: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut inside = false;
    manifest.lines().enumerate().filter_map(move |(at, line)| {
        if line.starts_with('[') {
            inside = line == "[workspace.dependencies]";
        }
        let (name, value) = line.split_once('=')?;
        (inside && !value.contains("path =")).then_some((at + 1, name.trim()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unexplained_dependency_is_found() {
        let manifest = "[workspace]\nresolver = \"3\"\n[workspace.dependencies]\nown = { path = \"own\" }\n\
            bytes = \"1\"\nhttp = \"1\"\n[profile.dev]\ndebug = 1\n";
        let sources = [Source::new("Cargo.toml", manifest), Source::new("ARCHITECTURE.md", "| `http` | types |\n")];
        let findings = dependencies_are_explained(&sources);
        assert_eq!(findings.len(), 1);
        assert_eq!(findings[0].to_string(), "Cargo.toml:5: dependency: say in ARCHITECTURE.md what `bytes` is for");
    }
}
