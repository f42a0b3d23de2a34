//! Which kernels there are, and the files of one.
//!
//! A kernel is asked for by its series (`6.1`); of each series the newest that Debian has is taken, and of all series the
//! newest as well, whatever its number. What was found is remembered for a week, so that a run needs no network.

use std::{
    collections::BTreeMap,
    fmt, fs,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result, bail};

use crate::vm::{cache, debian::Archive};

/// Major and minor number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Series(pub(crate) u32, pub(crate) u32);

/// A kernel that is here.
#[derive(Debug, Clone)]
pub(crate) struct Kernel {
    pub(crate) series: Series,
    /// As `uname -r` says.
    pub(crate) release: String,
    pub(crate) image: PathBuf,
    /// Folder of its modules.
    pub(crate) modules: PathBuf,
}

/// All kernels that can be had, by series, and those of the matrix that cannot.
#[derive(Debug)]
pub(crate) struct Catalogue {
    packages: BTreeMap<Series, String>,
}

impl Series {
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let mut numbers = text.split(|c: char| !c.is_ascii_digit());
        Some(Self(numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
    }
}

impl fmt::Display for Series {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.0, self.1)
    }
}

impl Catalogue {
    /// What Debian has, as of this week.
    pub(crate) fn load() -> Result<Self> {
        let index = cache::folder()?.join("kernels.txt");
        let fresh = index.metadata().and_then(|it| it.modified()).ok().and_then(|then| then.elapsed().ok());
        if fresh.is_none_or(|age| age > WEEK) {
            match Archive::update().and_then(|archive| archive.kernels()) {
                Ok(names) => fs::write(&index, names.join("\n")).context("list of kernels")?,
                Err(error) if index.exists() => eprintln!("vm: the list of kernels stays as it was: {error:#}"),
                Err(error) => return Err(error),
            }
        }
        let names = fs::read_to_string(&index).with_context(|| index.display().to_string())?;
        Ok(Self { packages: newest_of_each(names.lines()) })
    }

    /// The series of the matrix that are there, and those that are not.
    pub(crate) fn matrix(&self) -> (Vec<Series>, Vec<Series>) {
        let newest = self.packages.keys().next_back().copied();
        let (mut there, absent): (Vec<_>, Vec<_>) = MATRIX.iter().partition(|it| self.packages.contains_key(it));
        there.extend(newest.filter(|newest| !MATRIX.contains(newest)));
        (there, absent)
    }

    /// The kernel of that series, fetched if it is not here yet.
    pub(crate) fn get(&self, series: Series) -> Result<Kernel> {
        let Some(package) = self.packages.get(&series) else {
            let known: Vec<_> = self.packages.keys().map(Series::to_string).collect();
            bail!("no Debian suite has a kernel {series}; there are {}", known.join(", "));
        };
        let release = release(package).context("a package named by its release")?.to_owned();
        let place = cache::folder()?.join("kernels").join(&release);
        if !place.exists() {
            // From 7.1 on, image and modules are two packages.
            let mut packages = vec![package.clone()];
            if package.starts_with("linux-binary-") {
                packages.push(package.replace("linux-binary-", "linux-modules-"));
            }
            fs::create_dir_all(place.with_file_name("")).context("folder of kernels")?;
            cache::fill(&place, |folder| Archive::update()?.unpack(&packages, folder))?;
        }
        let find = |choices: [String; 2]| choices.iter().map(|it| place.join(it)).find(|path| path.exists());
        let image = find([format!("boot/vmlinuz-{release}"), format!("usr/lib/modules/{release}/vmlinuz")]);
        let modules = find([format!("usr/lib/modules/{release}"), format!("lib/modules/{release}")]);
        Ok(Kernel {
            series,
            image: image.with_context(|| lacks(&place, "image"))?,
            modules: modules.with_context(|| lacks(&place, "modules"))?,
            release,
        })
    }
}

fn lacks(place: &Path, what: &str) -> String {
    format!("the kernel's package has no {what} where it should be: {}", place.display())
}

/// `6.1.0-50-cloud-amd64` of `linux-image-6.1.0-50-cloud-amd64`.
fn release(package: &str) -> Option<&str> {
    package.strip_prefix("linux-image-").or_else(|| package.strip_prefix("linux-binary-"))
}

fn newest_of_each<'a>(names: impl Iterator<Item = &'a str>) -> BTreeMap<Series, String> {
    let mut packages = BTreeMap::<Series, String>::new();
    for name in names {
        let Some(found) = release(name).and_then(Series::parse) else { continue };
        let best = packages.entry(found).or_insert_with(|| name.to_owned());
        // An image of 7.1 and later is empty: it only asks for its parts.
        if rank(name) > rank(best) {
            name.clone_into(best);
        }
    }
    packages
}

/// Greater is newer; a package that holds the kernel before one that asks for it.
fn rank(package: &str) -> (Vec<u32>, bool) {
    let numbers = package.split(|c: char| !c.is_ascii_digit()).filter_map(|part| part.parse().ok());
    (numbers.collect(), package.starts_with("linux-binary-"))
}

/// The long-term kernels from the oldest that matters, and those after them; the newest comes by itself.
const MATRIX: [Series; 7] =
    [Series(5, 10), Series(5, 15), Series(6, 1), Series(6, 6), Series(6, 12), Series(6, 16), Series(6, 18)];

const WEEK: Duration = Duration::from_secs(7 * 24 * 3600);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_each_series_the_newest_is_taken_and_the_newest_of_all_belongs_to_the_matrix() {
        let names = "linux-image-6.1.0-47-cloud-amd64\nlinux-image-6.1.0-50-cloud-amd64\nlinux-headers-6.1\n\
            linux-image-7.2.9+deb13-cloud-amd64\nlinux-binary-7.2.12+deb13-cloud-amd64\n\
            linux-image-7.2.12+deb13-cloud-amd64\nlinux-image-5.10.0-9-cloud-amd64";
        let catalogue = Catalogue { packages: newest_of_each(names.lines()) };
        assert_eq!(catalogue.packages[&Series(6, 1)], "linux-image-6.1.0-50-cloud-amd64");
        assert_eq!(catalogue.packages[&Series(7, 2)], "linux-binary-7.2.12+deb13-cloud-amd64");
        let (there, absent) = catalogue.matrix();
        assert_eq!(there, [Series(5, 10), Series(6, 1), Series(7, 2)]);
        assert!(absent.contains(&Series(5, 15)) && absent.contains(&Series(6, 6)));
    }
}
