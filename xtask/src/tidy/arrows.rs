//! Which module of the agent may use which: the arrows of ARCHITECTURE.md, as a table.
//!
//! An arrow that is missing here is a decision, not an oversight. Whoever needs one adds it, and says why where the
//! architecture is described.

use crate::tidy::{Finding, source::Source};

/// Finds every `crate::module` that the table does not allow.
pub(crate) fn modules_follow_the_arrows(source: &Source) -> Vec<Finding> {
    let Some(module) = module_of(&source.path) else { return Vec::new() };
    let Some((_, allowed)) = ARROWS.iter().find(|(name, _)| *name == module) else {
        let advice = format!("module {module} is new: give it its arrows in xtask/src/tidy/arrows.rs");
        return vec![Finding::new(source, 1, "arrows", advice)];
    };
    if allowed.contains(&EVERYTHING) {
        return Vec::new();
    }
    let product: Vec<_> = source.product_lines().map(|(_, line)| line).collect();
    used_modules(&product.join("\n"))
        .into_iter()
        .filter(|(_, used)| used != module && !allowed.contains(&used.as_str()))
        .map(|(line, used)| {
            let advice = format!("{module} may not use {used}: turn the arrow round, or pass the value in");
            Finding::new(source, line, "arrows", advice)
        })
        .collect()
}

/// The module of the agent that a file belongs to; none for the crate's roots.
fn module_of(path: &str) -> Option<&str> {
    let inside = path.strip_prefix("mesh-agent/src/")?;
    let module = inside.split(['/', '.']).next()?;
    (!["lib", "main"].contains(&module)).then_some(module)
}

/// Each module named after `crate::`, alone or in braces, and its line.
fn used_modules(code: &str) -> Vec<(usize, String)> {
    let mut used = Vec::new();
    for (at, _) in code.match_indices("crate::") {
        let is_path_start = !code[..at].ends_with(|c: char| c.is_alphanumeric() || "_$".contains(c));
        if is_path_start {
            let line = code[..at].matches('\n').count() + 1;
            let rest = &code[at + "crate::".len()..];
            used.extend(heads(rest).into_iter().map(|(offset, name)| (line + offset, name)));
        }
    }
    used
}

/// The first words of a path, or of each path of a brace group, and how many lines further down each is.
fn heads(rest: &str) -> Vec<(usize, String)> {
    let word = |text: &str| text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect::<String>();
    let Some(group) = rest.strip_prefix('{') else { return vec![(0, word(rest))] };
    let (mut depth, mut line, mut expects, mut found) = (1, 0, true, Vec::new());
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            '\n' => line += 1,
            ',' if depth == 1 => expects = true,
            _ if expects && !c.is_whitespace() => {
                found.push((line, word(&group[at..])));
                expects = false;
            }
            _ => {}
        }
        if depth == 0 {
            break;
        }
    }
    found
}

const EVERYTHING: &str = "*";

/// Module, and the modules it may use. Nobody but `cli` may use `app`, and `proxy` is `app`'s alone.
const ARROWS: [(&str, &[&str]); 25] = [
    ("model", &[]),
    ("route", &["model", "snapshot"]),
    ("snapshot", &["model", "route", "spread", "identity"]),
    ("spread", &["model"]),
    ("balance", &["model", "snapshot", "spread"]),
    ("dns", &["model", "snapshot"]),
    ("decode", &["model"]),
    ("file", &["model", "decode"]),
    ("protobuf", &["model", "decode"]),
    ("settings", &["model"]),
    ("kernel", &["model", "spread"]),
    ("pod", &["model", "kernel", "spread"]),
    ("transport", &["model", "identity"]),
    ("drain", &[]),
    ("telemetry", &["model"]),
    ("proxy", &["model", "route", "snapshot", "balance", "transport", "identity", "telemetry", "drain"]),
    ("grpc", &[]),
    ("admin", &["model", "snapshot", "telemetry", "drain", "protobuf", "grpc"]),
    ("tier", &["model", "snapshot"]),
    ("rollout", &["model", "snapshot", "kernel", "tier"]),
    ("identity", &["model"]),
    ("xds", &["model", "identity", "grpc"]),
    ("check", &["kernel"]),
    ("app", &[EVERYTHING]),
    // What the command line's verbs end in; only main calls it.
    ("cli", &["app", "settings", "file", "check", "kernel", "admin", "telemetry", "drain"]),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn found(path: &str, text: &str) -> Vec<(usize, String)> {
        let source = Source::new(path, text);
        modules_follow_the_arrows(&source).into_iter().map(|it| (it.line, it.advice)).collect()
    }

    #[test]
    fn a_wrong_arrow_is_found_in_a_use_a_group_and_a_path() {
        let text = "//! x\nuse crate::proxy::Worker;\nuse crate::{\n    model::Name,\n    pod::{self, Pod},\n};\n\
            fn f() -> crate::app::App {}\n";
        let lines: Vec<_> = found("mesh-agent/src/route/host.rs", text).iter().map(|it| it.0).collect();
        assert_eq!(lines, [2, 5, 7]);
    }

    #[test]
    fn allowed_arrows_and_comments_and_tests_pass() {
        let text = "// crate::app\nuse crate::model::Name;\nuse crate::route::path;\nuse my_crate::proxy;\n\
            #[cfg(test)]\nmod tests {\n    use crate::file;\n}\n";
        assert_eq!(found("mesh-agent/src/route/host.rs", text), []);
        assert_eq!(found("mesh-agent/src/app.rs", "use crate::proxy;\n"), []);
        assert_eq!(found("mesh-agent/src/main.rs", "use crate::proxy;\n"), []);
        assert_eq!(found("tests/harness/lib.rs", "use crate::proxy;\n"), []);
    }

    #[test]
    fn a_module_without_arrows_is_found() {
        assert!(found("mesh-agent/src/wasm.rs", "")[0].1.contains("is new"));
    }
}
