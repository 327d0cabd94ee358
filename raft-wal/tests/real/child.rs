//! Child processes: this test binary, run again and told by its environment what to be.

use std::env;
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use crate::{kill, limits, live, lock};

const ROLE: &str = "RAFT_WAL_TEST_ROLE";
const DIR: &str = "RAFT_WAL_TEST_DIR";
const SEED: &str = "RAFT_WAL_TEST_SEED";
/// How long a child may take for what takes milliseconds.
const PATIENCE: Duration = Duration::from_secs(60);

#[test]
#[ignore = "it is the body of the child processes that the other tests start"]
fn child_process() {
    let Ok(role) = env::var(ROLE) else { return };
    let dir = PathBuf::from(env::var_os(DIR).expect("the parent names a directory"));
    let seed = env::var(SEED).expect("the parent gives a seed").parse().expect("a number");
    match role.as_str() {
        "work" => kill::work(&dir, seed),
        "hold" => lock::hold(&dir),
        "look" => live::look_for_ever(&dir),
        other => limits::child(other, &dir, seed),
    }
}

/// A command that starts a child of the given role.
pub(crate) fn command(role: &str, dir: &Path, seed: u64) -> Command {
    let mut command = Command::new(env::current_exe().expect("this binary has a path"));
    prepare(&mut command, role, dir, seed);
    command
}

/// The same, but a write beyond the file size limit is an error for the child, not its death.
pub(crate) fn command_without_xfsz(role: &str, dir: &Path, seed: u64) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", "trap '' XFSZ; exec \"$@\"", "sh"]);
    command.arg(env::current_exe().expect("this binary has a path"));
    prepare(&mut command, role, dir, seed);
    command
}

fn prepare(command: &mut Command, role: &str, dir: &Path, seed: u64) {
    command.args(["--ignored", "--exact", "child::child_process", "--nocapture"]);
    command.env(ROLE, role).env(DIR, dir).env(SEED, seed.to_string());
    command.stdin(Stdio::null());
}

/// Runs a child to its end. Panics with all that it said unless it succeeded.
pub(crate) fn run(mut command: Command) -> Vec<String> {
    let Output { status, stdout, stderr } = command.output().expect("the child starts");
    let said = String::from_utf8_lossy(&stdout);
    let complaint = String::from_utf8_lossy(&stderr);
    assert!(status.success(), "{status}\n{said}\n{complaint}");
    lines(&said)
}

/// What a child tells its parent: one line, handed to the system before this returns, so that no
/// later death of the child takes it back.
pub(crate) fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    writeln!(out, "@{line}").and_then(|()| out.flush()).expect("the parent listens");
}

/// The whole lines among a child's output that it said.
fn lines(output: &str) -> Vec<String> {
    let whole = &output[..output.rfind('\n').map_or(0, |end| end + 1)];
    whole.lines().filter_map(|l| Some(l.split_once('@')?.1.to_owned())).collect()
}

/// A running child whose sayings go to a file, which outlives it. Killed when dropped.
pub(crate) struct Running {
    child: Child,
    journal: PathBuf,
}

impl Running {
    pub(crate) fn start(mut command: Command, journal: PathBuf) -> Self {
        let file = File::create(&journal).expect("a journal");
        let child = command.stdout(file).spawn().expect("the child starts");
        Self { child, journal }
    }

    /// What it said so far.
    pub(crate) fn said(&self) -> Vec<String> {
        let mut all = Vec::new();
        File::open(&self.journal).and_then(|mut f| f.read_to_end(&mut all)).expect("a journal");
        lines(&String::from_utf8_lossy(&all))
    }

    /// Waits until it said a line that begins so.
    pub(crate) fn wait_for(&mut self, beginning: &str) {
        let begun = Instant::now();
        while !self.said().iter().any(|l| l.starts_with(beginning)) {
            if let Some(status) = self.child.try_wait().expect("its status") {
                panic!("the child ended before it said {beginning}: {status}: {:?}", self.said());
            }
            assert!(begun.elapsed() < PATIENCE, "the child never said {beginning}");
            std::thread::sleep(Duration::from_micros(100));
        }
    }

    /// Ends it with SIGKILL and returns everything it said. Panics if it had ended by itself.
    pub(crate) fn kill(mut self) -> Vec<String> {
        self.child.kill().expect("the child can be killed");
        let status = self.child.wait().expect("its status");
        assert_eq!(status.signal(), Some(9), "the child ended by itself: {:?}", self.said());
        self.said()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs `f` on a thread of its own and panics if it hangs.
pub(crate) fn watched<T: Send + 'static>(what: &str, f: impl FnOnce() -> T + Send + 'static) -> T {
    let (send, receive) = std::sync::mpsc::channel();
    let thread = std::thread::spawn(move || send.send(f()));
    match receive.recv_timeout(PATIENCE) {
        Ok(done) => done,
        Err(std::sync::mpsc::RecvTimeoutError::Timeout) => panic!("{what} hangs"),
        Err(_) => match thread.join() {
            Err(panic) => std::panic::resume_unwind(panic),
            Ok(_) => unreachable!("it sends before it ends"),
        },
    }
}
