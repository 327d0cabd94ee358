//! One life of the importer: started, listened to, killed.

use std::io::{BufRead, BufReader};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use crate::Error;
use crate::import::Said;

/// An importer that says nothing for so long hangs.
const SILENCE_MAX: Duration = Duration::from_secs(60);

/// When the importer is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plan {
    /// So long after its start: while it starts, recovers, or works.
    AfterStart(Duration),
    /// So long after so many saves more became durable.
    AfterAcks(u64, Duration),
    /// Never: it may finish.
    Never,
}

/// What the importer had said when it ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Life {
    /// How many saves it found in the log; `None` if it was killed before it could say.
    pub found: Option<u64>,
    /// Saves up to this number it had begun to append; 0 if none.
    pub tried: u64,
    /// Saves up to this number it had acknowledged; 0 if none.
    pub acked: u64,
    /// How many saves the log held when the importer finished by itself.
    pub finished: Option<u64>,
    /// How long it lived.
    pub lived: Duration,
}

impl Life {
    fn hear(&mut self, said: Said) {
        match said {
            Said::At(n) => self.found = Some(n),
            Said::Try(n) => self.tried = n,
            Said::Ack(n) => self.acked = n,
            Said::Done(n) => self.finished = Some(n),
        }
    }

    /// Saves that became durable in this life.
    fn progress(&self) -> u64 {
        self.acked.saturating_sub(self.found.unwrap_or(0))
    }
}

/// Starts the importer, kills it as planned, and returns what it had said.
///
/// # Errors
/// [`Error::Spawn`], [`Error::Importer`] if it failed by itself or hangs.
pub fn live(command: &mut Command, plan: Plan) -> Result<Life, Error> {
    let begun = Instant::now();
    let spawned = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn();
    let mut child = Reaped(spawned.map_err(Error::Spawn)?);
    let Some(stdout) = child.0.stdout.take() else {
        return Err(Error::Importer("its standard output is not there".to_owned()));
    };
    let heard = listen(stdout);
    let mut life = Life::default();
    let ended_itself = follow(&heard, plan, begun, &mut life)?;
    if !ended_itself {
        // The channel may have closed just as the process ended: then this is no kill at all.
        child.0.kill().map_err(Error::Spawn)?;
    }
    let status = child.0.wait().map_err(Error::Spawn)?;
    life.lived = begun.elapsed();
    // What it said before it died is still in the pipe, and counts.
    for line in heard {
        life.hear(parse(&line)?);
    }
    judge(status, &life)?;
    Ok(life)
}

/// The importer, which must not outlive its round, whatever ends the round.
struct Reaped(Child);

impl Drop for Reaped {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Hands over the importer's lines as they come.
fn listen(stdout: ChildStdout) -> Receiver<String> {
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        for line in BufReader::new(stdout).lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                break;
            }
        }
    });
    receiver
}

fn parse(line: &str) -> Result<Said, Error> {
    Said::parse(line).ok_or_else(|| Error::Importer(format!("it said {line:?}")))
}

/// Listens until the planned moment; returns whether the importer ended before.
fn follow(
    heard: &Receiver<String>,
    plan: Plan,
    begun: Instant,
    life: &mut Life,
) -> Result<bool, Error> {
    let mut until = match plan {
        Plan::AfterStart(after) => Some(begun + after),
        _ => None,
    };
    loop {
        let now = Instant::now();
        if until.is_some_and(|t| now >= t) {
            return Ok(false);
        }
        let patience = until.map_or(SILENCE_MAX, |t| t - now);
        match heard.recv_timeout(patience) {
            Ok(line) => life.hear(parse(&line)?),
            Err(RecvTimeoutError::Disconnected) => return Ok(true),
            Err(RecvTimeoutError::Timeout) if until.is_some() => return Ok(false),
            Err(RecvTimeoutError::Timeout) => {
                return Err(Error::Importer(format!("it said nothing for {SILENCE_MAX:?}")));
            }
        }
        if let Plan::AfterAcks(acks, delay) = plan
            && until.is_none()
            && life.progress() >= acks
        {
            until = Some(Instant::now() + delay);
        }
    }
}

/// An importer ends by our hand or by having finished; anything else is a failure of its own.
fn judge(status: ExitStatus, life: &Life) -> Result<(), Error> {
    const SIGKILL: i32 = 9;
    match (status.signal(), status.success(), life.finished) {
        (Some(SIGKILL), ..) | (None, true, Some(_)) => Ok(()),
        _ => Err(Error::Importer(format!("it ended with {status}"))),
    }
}
