//! The modules that the tests want, and those that these want, in the order in which they load.
//!
//! A package carries no `modules.dep`: that is made at installation. Each module names what it depends on itself.

use std::{collections::BTreeMap, fs, path::Path, path::PathBuf, process::Command};

use anyhow::{Context, Result, ensure};

/// A module, ready to load.
#[derive(Debug)]
pub(crate) struct Module {
    pub(crate) name: String,
    pub(crate) bytes: Vec<u8>,
}

/// What of [`WANTED`] is a module of the kernel with this folder. What is not, is built in, or not there.
pub(crate) fn wanted(folder: &Path) -> Result<Vec<Module>> {
    let mut files = BTreeMap::new();
    collect(&folder.join("kernel"), &mut files)?;
    let mut ordered = Vec::new();
    for name in WANTED {
        add(name, &files, &mut ordered)?;
    }
    Ok(ordered)
}

fn add(name: &str, files: &BTreeMap<String, PathBuf>, ordered: &mut Vec<Module>) -> Result<()> {
    let Some(path) = files.get(name).filter(|_| ordered.iter().all(|module| module.name != name)) else {
        return Ok(());
    };
    let bytes = read(path)?;
    for needed in depends(&bytes) {
        add(&needed, files, ordered)?;
    }
    ordered.push(Module { name: name.to_owned(), bytes });
    Ok(())
}

/// Modules by the name they have once loaded.
fn collect(folder: &Path, files: &mut BTreeMap<String, PathBuf>) -> Result<()> {
    for entry in fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let path = entry?.path();
        if path.is_dir() {
            collect(&path, files)?;
        } else if let Some((name, _)) = path.file_name().and_then(|it| it.to_str()).and_then(|it| it.split_once(".ko"))
        {
            files.insert(name.replace('-', "_"), path.clone());
        }
    }
    Ok(())
}

fn read(path: &Path) -> Result<Vec<u8>> {
    if path.extension().is_some_and(|it| it == "ko") {
        return fs::read(path).with_context(|| path.display().to_string());
    }
    let program = if path.extension().is_some_and(|it| it == "zst") { "zstd" } else { "xz" };
    let output = Command::new(program).arg("-dcq").arg(path).output();
    let output = output.with_context(|| format!("modules are compressed: install {program}"))?;
    ensure!(output.status.success(), "{program} cannot unpack {}", path.display());
    Ok(output.stdout)
}

/// The `depends=` of its `.modinfo`, which is zero-terminated strings.
fn depends(module: &[u8]) -> Vec<String> {
    let strings = module.split(|&byte| byte == 0);
    let found = strings.filter_map(|text| text.strip_prefix(b"depends=")).next().unwrap_or_default();
    let names = String::from_utf8_lossy(found).into_owned();
    names.split(',').filter(|name| !name.is_empty()).map(|name| name.replace('-', "_")).collect()
}

const WANTED: [&str; 7] = ["veth", "bridge", "tls", "nf_tables", "tcp_diag", "dummy", "sctp"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_module_says_what_it_depends_on() {
        assert_eq!(depends(b"ELF\0license=GPL\0depends=stp,crc-x\0name=bridge\0"), ["stp", "crc_x"]);
        assert!(depends(b"\0depends=\0name=veth\0").is_empty());
        assert!(depends(b"ELF").is_empty());
    }
}
