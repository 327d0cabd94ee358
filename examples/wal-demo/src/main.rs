//! `wal-demo [ETCD_DIR]`: imports an etcd log under kills and shows that nothing was lost.

use std::ffi::OsString;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use wal_demo::Error;
use wal_demo::demo::{Demo, Outcome, run};
use wal_demo::import::{LogOptions, Pace, import};
use wal_demo::show::show;

/// A small etcd data directory that this project's own code wrote.
fn small() -> PathBuf {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    let workspace = package.ancestors().nth(2).unwrap_or(package);
    workspace.join("etcd-reader/tests/fixtures/small")
}

/// Imports an etcd log into a native one, kills the importer again and again, and shows that the
/// recovered log equals its source. Exit code 1 if it does not.
#[derive(Debug, Parser)]
#[command(args_conflicts_with_subcommands = true)]
struct Cli {
    #[command(flatten)]
    demo: DemoArgs,
    #[command(subcommand)]
    hidden: Option<Hidden>,
}

#[derive(Debug, Args)]
struct DemoArgs {
    /// An etcd data directory, a directory that holds wal/, or a wal directory [default: a small
    /// one that comes with the project]
    etcd_dir: Option<PathBuf>,
    /// How often the importer is killed before it may finish
    #[arg(long, default_value_t = 12, value_name = "N", alias = "rounds")]
    kills: u32,
    /// Seed of everything random but time [default: a random one]
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Where the native log goes; it is kept, and an import found there goes on [default: a
    /// temporary directory, removed at the end unless something is wrong]
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Capacity of a native segment [default: a tenth of the source's payload]
    #[arg(long, value_name = "BYTES")]
    segment_bytes: Option<u64>,
}

#[derive(Debug, Subcommand)]
enum Hidden {
    /// The process that is killed
    #[command(hide = true)]
    Import(ImportArgs),
}

#[derive(Debug, Args)]
struct ImportArgs {
    source: PathBuf,
    dir: PathBuf,
    #[arg(long)]
    segment_bytes: u64,
    #[arg(long)]
    votes_unchecked: bool,
    #[arg(long)]
    seed: u64,
    #[arg(long)]
    group_max: u64,
    #[arg(long)]
    least_micros: u64,
}

impl ImportArgs {
    /// The arguments that are parsed into these.
    fn to_args(source: &Path, dir: &Path, log: LogOptions, pace: Pace) -> Vec<OsString> {
        let mut args: Vec<OsString> = vec!["import".into(), source.into(), dir.into()];
        let mut add = |name: &str, value: u64| args.push(format!("--{name}={value}").into());
        add("segment-bytes", log.segment_bytes);
        add("seed", pace.seed);
        add("group-max", pace.group_max);
        add("least-micros", pace.least.as_micros() as u64);
        if log.votes_unchecked {
            args.push("--votes-unchecked".into());
        }
        args
    }

    fn run(&self) -> Result<(), Error> {
        let log =
            LogOptions { segment_bytes: self.segment_bytes, votes_unchecked: self.votes_unchecked };
        let least = Duration::from_micros(self.least_micros);
        let pace = Pace { seed: self.seed, group_max: self.group_max, least };
        import(&self.source, &self.dir, log, pace, &mut io::stdout().lock())
    }
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let result = match cli.hidden {
        Some(Hidden::Import(args)) => args.run(),
        None => demonstrate(cli.demo),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        // Whoever was listening has heard enough.
        Err(Error::Pipe(e)) if e.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(e) => {
            let _ = io::stdout().flush();
            eprintln!("wal-demo: {e}");
            ExitCode::FAILURE
        }
    }
}

fn demonstrate(args: DemoArgs) -> Result<(), Error> {
    let program = std::env::current_exe().map_err(Error::Spawn)?;
    let (dir, temporary) = if let Some(dir) = args.dir {
        (dir, None)
    } else {
        let temporary = tempfile::Builder::new().prefix("wal-demo-").tempdir();
        let temporary = temporary.map_err(Error::TempDir)?;
        (temporary.path().join("log"), Some(temporary))
    };
    let demo = Demo {
        source: args.etcd_dir.unwrap_or_else(small),
        dir,
        kills: args.kills,
        seed: args.seed.unwrap_or_else(|| fastrand::u64(..)),
        segment_bytes: args.segment_bytes,
    };
    let importer = |log, pace| {
        let mut command = Command::new(&program);
        command.args(ImportArgs::to_args(&demo.source, &demo.dir, log, pace));
        command
    };
    let result = tell(&demo, &importer, &mut io::stdout().lock());
    let wrong = result.as_ref().is_err_and(|e| !matches!(e, Error::Pipe(_)));
    if wrong
        && demo.dir.exists()
        && let Some(temporary) = temporary
    {
        // What went wrong can be looked at.
        let kept = temporary.keep();
        eprintln!("wal-demo: the log is kept in {}", kept.display());
    }
    result
}

fn tell(
    demo: &Demo,
    importer: &dyn Fn(LogOptions, Pace) -> Command,
    out: &mut impl Write,
) -> Result<(), Error> {
    let Outcome { kills, equal } = run(demo, importer, out)?;
    let same = show(&demo.source, &demo.dir, out)?;
    writeln!(out, "\nThe whole log is in after {kills} kills, and equals its source: {equal};")
        .and_then(|()| writeln!(out, "every term, kind, payload, conf state and metadata too."))
        .and_then(|()| writeln!(out, "wal-dump finds the same log in both: {same}."))
        .map_err(Error::Pipe)
}
