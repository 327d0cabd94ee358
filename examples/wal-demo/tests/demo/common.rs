//! Runs the demonstration as a user does.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What a run printed, and whether it succeeded.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) success: bool,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Run {
    #[track_caller]
    pub(crate) fn succeeded(self) -> Self {
        assert!(self.success, "{}\n{}", self.stdout, self.stderr);
        self
    }

    #[track_caller]
    pub(crate) fn failed(self) -> Self {
        assert!(!self.success, "{}\n{}", self.stdout, self.stderr);
        self
    }
}

/// Runs the program with `args`.
pub(crate) fn demo(args: &[&str]) -> Run {
    let program = env!("CARGO_BIN_EXE_wal-demo");
    let output = Command::new(program).args(args).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    let (stdout, stderr) = (text(output.stdout), text(output.stderr));
    Run { success: output.status.success(), stdout, stderr }
}

/// The root of the workspace.
pub(crate) fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap().to_owned()
}

/// The etcd directory that comes with the project.
pub(crate) fn small() -> PathBuf {
    workspace().join("etcd-reader/tests/fixtures/small")
}

/// Copies the files of a directory.
pub(crate) fn copy_dir(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}
