//! Which files are to be run.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

/// A file of directives.
#[derive(Debug)]
pub(crate) struct Scenario {
    /// The folder, which says how its files are run.
    pub(crate) group: String,
    /// Folder and file.
    pub(crate) name: String,
    pub(crate) path: PathBuf,
    /// Whether it is the project's.
    pub(crate) own: bool,
}

#[derive(Debug)]
pub(crate) struct Options {
    /// Only say what there is.
    pub(crate) list: bool,
    /// Give our own files the output that came.
    pub(crate) rewrite: bool,
    pub(crate) scenarios: Vec<Scenario>,
}

impl Options {
    pub(crate) fn read() -> Result<Self, String> {
        let arguments = Arguments::read(env::args().skip(1));
        let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scenarios");
        let mut scenarios = Vec::new();
        files_of(&own, true, &mut scenarios)?;
        if scenarios.is_empty() {
            return Err(format!("there is no scenario in {}", own.display()));
        }
        let before = scenarios.len();
        match kit_dir() {
            Some((dir, wanted)) => {
                for group in folders(&dir).map_err(|error| format!("{}: {error}", dir.display()))? {
                    files_of(&group, false, &mut scenarios)?;
                }
                if wanted && scenarios.len() == before {
                    return Err(format!("RAFT_KIT_DIR={} has no files", dir.display()));
                }
            }
            None => eprintln!("no conformance kit here (RAFT_KIT_DIR): only our own scenarios"),
        }
        scenarios.retain(|scenario| arguments.wants(&scenario.name));
        let rewrite = env::var_os("RAFT_KIT_REWRITE").is_some_and(|value| value == "1");
        Ok(Self { list: arguments.list, rewrite, scenarios })
    }
}

/// Where the kit is, and whether somebody said so.
fn kit_dir() -> Option<(PathBuf, bool)> {
    if let Some(dir) = env::var_os("RAFT_KIT_DIR") {
        return Some((dir.into(), true));
    }
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/raft-kit");
    dir.is_dir().then_some((dir, false))
}

fn folders(dir: &Path) -> std::io::Result<Vec<PathBuf>> {
    let entries = fs::read_dir(dir)?.map(|entry| entry.map(|entry| entry.path()));
    let mut folders = entries.collect::<Result<Vec<_>, _>>()?;
    folders.retain(|path| path.is_dir());
    folders.sort();
    Ok(folders)
}

fn files_of(dir: &Path, own: bool, out: &mut Vec<Scenario>) -> Result<(), String> {
    let failed = |error| format!("{}: {error}", dir.display());
    let mut files = Vec::new();
    for entry in fs::read_dir(dir).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if path.extension().is_some_and(|extension| extension == "txt") {
            files.push(path);
        }
    }
    files.sort();
    let group = dir.file_name().unwrap_or_default().to_string_lossy().into_owned();
    for path in files {
        let file = path.file_name().unwrap_or_default().to_string_lossy();
        out.push(Scenario { name: format!("{group}/{file}"), group: group.clone(), path, own });
    }
    Ok(())
}

/// The arguments, as far as libtest's mean something here.
#[derive(Debug, Default)]
struct Arguments {
    list: bool,
    /// Only tests that are not run otherwise: there are none.
    ignored: bool,
    exact: bool,
    filters: Vec<String>,
    skip: Vec<String>,
}

impl Arguments {
    fn read(mut arguments: impl Iterator<Item = String>) -> Self {
        let mut read = Self::default();
        while let Some(argument) = arguments.next() {
            match argument.as_str() {
                "--list" => read.list = true,
                "--ignored" => read.ignored = true,
                "--exact" => read.exact = true,
                "--skip" => read.skip.extend(arguments.next()),
                // These take a value, which is no filter.
                "--format" | "--color" | "--test-threads" | "--logfile" | "-Z" => {
                    arguments.next();
                }
                other if other.starts_with('-') => {}
                _ => read.filters.push(argument),
            }
        }
        read
    }

    fn wants(&self, name: &str) -> bool {
        let fits =
            |filter: &String| if self.exact { name == filter } else { name.contains(filter) };
        !self.ignored
            && (self.filters.is_empty() || self.filters.iter().any(fits))
            && !self.skip.iter().any(fits)
    }
}
