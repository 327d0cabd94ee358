//! What an input is, and what each way of opening makes of it: `show TARGET FILE`.

use std::ffi::OsString;
use std::io::{self, Write};
use std::path::Path;

use raft_fuzz::corpus;
use raft_fuzz::targets::{disk_of_dir, disk_of_etcd, disk_of_segment};
use raft_vfs::SimVfs;
use raft_wal::{Options, ReadOnly, Wal, verify};

fn main() -> io::Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [target, file] = &args[..] else { return Err(io::Error::other("show TARGET FILE")) };
    let input = corpus::read(Path::new(file))?;
    let mut out = io::stdout().lock();
    let log = match target.as_str() {
        "dir_open" => disk_of_dir(&input),
        "segment_open" => disk_of_segment(&input),
        "etcd_dir" => {
            let disk = disk_of_etcd(&input);
            files(&disk, &mut out)?;
            return dump(&disk, "/etcd", &mut out);
        }
        _ => return Err(io::Error::other("dir_open, segment_open or etcd_dir")),
    };
    let (disk, options) = log.ok_or_else(|| io::Error::other("an input that means nothing"))?;
    files(&disk, &mut out)?;
    openings(&disk, &options, &mut out)?;
    dump(&disk, "/data/log", &mut out)
}

fn files(disk: &SimVfs, out: &mut impl Write) -> io::Result<()> {
    for path in disk.paths() {
        let len = disk.read_file(&path).map_or(0, |bytes| bytes.len());
        writeln!(out, "{len:>8} {}", path.display())?;
    }
    Ok(())
}

fn openings(disk: &SimVfs, options: &Options, out: &mut impl Write) -> io::Result<()> {
    let dir = "/data/log";
    match verify(disk.fork(), dir, options) {
        Ok(v) => writeln!(out, "verify: {:?}, lost {:?}", v.status, v.lost)?,
        Err(e) => writeln!(out, "verify: {e}")?,
    }
    match ReadOnly::open(disk.fork(), dir, options) {
        Ok((_, report)) => writeln!(out, "read-only: {report}")?,
        Err(e) => writeln!(out, "read-only: {e}")?,
    }
    match Wal::open(disk.fork(), dir, options) {
        Ok((_, report)) => writeln!(out, "open: {report}")?,
        Err(e) => writeln!(out, "open: {e}")?,
    }
    match Wal::open_degraded(disk.fork(), dir, options) {
        Ok(log) => {
            let (first, next) = (log.first_index(), log.next_index());
            writeln!(out, "degraded: [{first}, {next}), lost {:?}", log.lost())?;
            for problem in log.problems() {
                writeln!(out, "  {problem}")?;
            }
        }
        Err(e) => writeln!(out, "degraded: {e}")?,
    }
    Ok(())
}

fn dump(disk: &SimVfs, dir: &str, out: &mut impl Write) -> io::Result<()> {
    for command in ["dump", "verify"] {
        writeln!(out, "== wal-dump {command}")?;
        let args = ["wal-dump", command, dir].map(OsString::from);
        let mut messages = Vec::new();
        let code = wal_dump::run_on(disk, args, out, &mut messages);
        writeln!(out, "{}exit code {code}", String::from_utf8_lossy(&messages))?;
    }
    Ok(())
}
