//! The contract of the seam, run against every implementation of it.

use std::io::{self, ErrorKind, IoSlice};
use std::path::Path;

use raft_vfs::{Access, FileKind, LockError, Vfs, VfsFile, VfsFileExt};

/// Runs each function on the operating system's files and on a simulated disk.
macro_rules! contract {
    ($($name:ident),* $(,)?) => {
        mod os {
            $(#[test]
            fn $name() {
                let dir = tempfile::tempdir().unwrap();
                super::$name(&raft_vfs::OsVfs, dir.path());
            })*
        }

        #[cfg(feature = "sim")]
        mod sim {
            $(#[test]
            fn $name() {
                let disk = raft_vfs::SimVfs::new(7);
                let root = std::path::Path::new("/log");
                raft_vfs::Vfs::create_dir(&disk, root).unwrap();
                super::$name(&disk, root);
            })*
        }
    };
}

contract! {
    a_missing_file_is_not_found,
    a_path_through_a_file_is_refused,
    a_new_file_is_empty_and_open_for_both,
    a_name_is_created_once,
    nothing_is_created_without_its_directory,
    a_read_stops_at_the_end_of_the_file,
    an_exact_read_past_the_end_is_an_error,
    a_write_behind_the_end_leaves_zeros_between,
    vectored_writes_put_the_buffers_one_after_another,
    more_buffers_than_a_call_takes_are_written_in_turns,
    cutting_and_extending_leaves_zeros,
    a_handle_for_reading_cannot_change_the_file,
    only_regular_files_are_opened,
    a_rename_replaces_and_old_handles_keep_the_old_file,
    renaming_a_missing_file_is_not_found,
    a_removed_file_lives_on_for_its_handles_and_maps,
    a_directory_is_not_removed_as_a_file,
    a_list_is_sorted_and_says_what_things_are,
    a_list_of_anything_but_a_directory_is_an_error,
    syncing_a_directory_needs_a_directory,
    everything_can_be_synced,
    an_identity_belongs_to_the_file_not_the_name,
    a_map_shows_the_first_bytes,
    a_map_past_the_end_is_refused,
    a_lock_excludes_until_it_is_dropped,
    locks_on_different_files_do_not_touch,
    a_lock_file_must_be_a_regular_file_in_a_directory,
    random_numbers_differ,
}

fn kind<T: std::fmt::Debug>(result: io::Result<T>) -> ErrorKind {
    result.unwrap_err().kind()
}

fn make<V: Vfs>(vfs: &V, path: &Path, bytes: &[u8]) -> V::File {
    let file = vfs.create_excl(path).unwrap();
    file.write_all_at(bytes, 0).unwrap();
    file
}

fn contents<F: VfsFile>(file: &F) -> Vec<u8> {
    let mut bytes = vec![0; usize::try_from(file.len().unwrap()).unwrap()];
    file.read_exact_at(&mut bytes, 0).unwrap();
    bytes
}

fn read<V: Vfs>(vfs: &V, path: &Path) -> Vec<u8> {
    contents(&vfs.open(path, Access::Read).unwrap())
}

fn a_missing_file_is_not_found<V: Vfs>(vfs: &V, root: &Path) {
    assert_eq!(kind(vfs.open(&root.join("a"), Access::Read)), ErrorKind::NotFound);
    assert_eq!(kind(vfs.open(&root.join("a"), Access::ReadWrite)), ErrorKind::NotFound);
    assert_eq!(kind(vfs.remove(&root.join("a"))), ErrorKind::NotFound);
}

fn a_path_through_a_file_is_refused<V: Vfs>(vfs: &V, root: &Path) {
    make(vfs, &root.join("a"), b"x");
    let path = root.join("a/b");
    assert_eq!(kind(vfs.open(&path, Access::Read)), ErrorKind::NotADirectory);
    assert_eq!(kind(vfs.create_excl(&path)), ErrorKind::NotADirectory);
    assert_eq!(kind(vfs.create_dir(&path)), ErrorKind::NotADirectory);
}

fn a_new_file_is_empty_and_open_for_both<V: Vfs>(vfs: &V, root: &Path) {
    let file = vfs.create_excl(&root.join("a")).unwrap();
    assert_eq!(file.len().unwrap(), 0);
    assert_eq!(file.read_at(&mut [0; 4], 0).unwrap(), 0);
    file.write_all_at(b"hello", 0).unwrap();
    assert_eq!(contents(&file), b"hello");
    assert_eq!(read(vfs, &root.join("a")), b"hello");
}

fn a_name_is_created_once<V: Vfs>(vfs: &V, root: &Path) {
    make(vfs, &root.join("a"), b"x");
    vfs.create_dir(&root.join("d")).unwrap();
    for name in ["a", "d"] {
        assert_eq!(kind(vfs.create_excl(&root.join(name))), ErrorKind::AlreadyExists);
        assert_eq!(kind(vfs.create_dir(&root.join(name))), ErrorKind::AlreadyExists);
    }
    assert_eq!(read(vfs, &root.join("a")), b"x");
}

fn nothing_is_created_without_its_directory<V: Vfs>(vfs: &V, root: &Path) {
    assert_eq!(kind(vfs.create_excl(&root.join("d/a"))), ErrorKind::NotFound);
    assert_eq!(kind(vfs.create_dir(&root.join("d/e"))), ErrorKind::NotFound);
}

fn a_read_stops_at_the_end_of_the_file<V: Vfs>(vfs: &V, root: &Path) {
    let file = make(vfs, &root.join("a"), b"hello");
    let mut buf = [9; 8];
    assert_eq!(file.read_up_to_at(&mut buf, 3).unwrap(), 2);
    assert_eq!(buf, *b"lo\x09\x09\x09\x09\x09\x09");
    assert_eq!(file.read_at(&mut buf, 5).unwrap(), 0);
    assert_eq!(file.read_at(&mut buf, 1 << 40).unwrap(), 0);
    assert_eq!(file.read_at(&mut [], 0).unwrap(), 0);
}

fn an_exact_read_past_the_end_is_an_error<V: Vfs>(vfs: &V, root: &Path) {
    let file = make(vfs, &root.join("a"), b"hello");
    assert_eq!(kind(file.read_exact_at(&mut [0; 6], 0)), ErrorKind::UnexpectedEof);
    file.read_exact_at(&mut [0; 5], 0).unwrap();
}

fn a_write_behind_the_end_leaves_zeros_between<V: Vfs>(vfs: &V, root: &Path) {
    let file = make(vfs, &root.join("a"), b"x");
    file.write_all_at(b"y", 9000).unwrap();
    let mut expected = vec![0; 9001];
    expected[0] = b'x';
    expected[9000] = b'y';
    assert_eq!(contents(&file), expected);
    assert_eq!(file.write_at(&[], 20_000).unwrap(), 0);
    assert_eq!(file.len().unwrap(), 9001);
}

fn vectored_writes_put_the_buffers_one_after_another<V: Vfs>(vfs: &V, root: &Path) {
    let file = make(vfs, &root.join("a"), b"....");
    let bufs = [IoSlice::new(b"ab"), IoSlice::new(b""), IoSlice::new(b"cde")];
    assert_eq!(file.write_vectored_at(&bufs, 2).unwrap(), 5);
    assert_eq!(contents(&file), b"..abcde");
    assert_eq!(file.write_vectored_at(&[], 0).unwrap(), 0);
}

fn more_buffers_than_a_call_takes_are_written_in_turns<V: Vfs>(vfs: &V, root: &Path) {
    let file = vfs.create_excl(&root.join("a")).unwrap();
    let bytes: Vec<[u8; 3]> = (0..3000_u32).map(|i| [i as u8, (i >> 8) as u8, 0xaa]).collect();
    let mut bufs: Vec<IoSlice<'_>> = bytes.iter().map(|b| IoSlice::new(b)).collect();
    file.write_all_vectored_at(&mut bufs, 10).unwrap();
    assert_eq!(contents(&file)[10..], bytes.concat());
}

fn cutting_and_extending_leaves_zeros<V: Vfs>(vfs: &V, root: &Path) {
    let file = make(vfs, &root.join("a"), &[7; 5000]);
    file.truncate(100).unwrap();
    assert_eq!(file.len().unwrap(), 100);
    file.truncate(6000).unwrap();
    let mut expected = vec![7; 100];
    expected.resize(6000, 0);
    assert_eq!(contents(&file), expected);
}

fn a_handle_for_reading_cannot_change_the_file<V: Vfs>(vfs: &V, root: &Path) {
    make(vfs, &root.join("a"), b"hello");
    let file = vfs.open(&root.join("a"), Access::Read).unwrap();
    assert!(file.write_at(b"x", 0).is_err());
    assert!(file.write_vectored_at(&[IoSlice::new(b"x")], 0).is_err());
    assert!(file.truncate(1).is_err());
    assert_eq!(contents(&file), b"hello");
    file.sync_data().unwrap();
}

fn only_regular_files_are_opened<V: Vfs>(vfs: &V, root: &Path) {
    vfs.create_dir(&root.join("d")).unwrap();
    for access in [Access::Read, Access::ReadWrite] {
        assert_eq!(kind(vfs.open(&root.join("d"), access)), ErrorKind::InvalidInput);
    }
}

fn a_rename_replaces_and_old_handles_keep_the_old_file<V: Vfs>(vfs: &V, root: &Path) {
    let (a, b) = (root.join("a"), root.join("b"));
    let new = make(vfs, &a, b"new");
    let old = make(vfs, &b, b"old");
    vfs.rename(&a, &b).unwrap();
    assert_eq!(kind(vfs.open(&a, Access::Read)), ErrorKind::NotFound);
    assert_eq!(read(vfs, &b), b"new");
    assert_eq!(contents(&old), b"old");
    new.write_all_at(b"N", 0).unwrap();
    assert_eq!(read(vfs, &b), b"New");
}

fn renaming_a_missing_file_is_not_found<V: Vfs>(vfs: &V, root: &Path) {
    make(vfs, &root.join("b"), b"b");
    assert_eq!(kind(vfs.rename(&root.join("a"), &root.join("b"))), ErrorKind::NotFound);
    assert_eq!(read(vfs, &root.join("b")), b"b");
}

fn a_removed_file_lives_on_for_its_handles_and_maps<V: Vfs>(vfs: &V, root: &Path) {
    let path = root.join("a");
    let file = make(vfs, &path, b"hello");
    let map = file.map(5).unwrap();
    vfs.remove(&path).unwrap();
    vfs.sync_dir(root).unwrap();
    assert_eq!(kind(vfs.open(&path, Access::Read)), ErrorKind::NotFound);
    assert_eq!(map.as_ref(), b"hello");
    file.write_all_at(b"!", 5).unwrap();
    file.sync_data().unwrap();
    assert_eq!(contents(&file), b"hello!");
    make(vfs, &path, b"other");
    assert_eq!(contents(&file), b"hello!");
}

fn a_directory_is_not_removed_as_a_file<V: Vfs>(vfs: &V, root: &Path) {
    vfs.create_dir(&root.join("d")).unwrap();
    assert!(vfs.remove(&root.join("d")).is_err());
    assert_eq!(vfs.list(&root.join("d")).unwrap(), []);
}

fn a_list_is_sorted_and_says_what_things_are<V: Vfs>(vfs: &V, root: &Path) {
    for name in ["b", "a10", "a9", "Z"] {
        make(vfs, &root.join(name), b"");
    }
    vfs.create_dir(&root.join("c")).unwrap();
    make(vfs, &root.join("c/inside"), b"");
    let list = vfs.list(root).unwrap();
    let found: Vec<_> = list.iter().map(|e| (e.name.to_str().unwrap(), e.kind)).collect();
    let file = FileKind::File;
    let expected = [("Z", file), ("a10", file), ("a9", file), ("b", file), ("c", FileKind::Dir)];
    assert_eq!(found, expected);
}

fn a_list_of_anything_but_a_directory_is_an_error<V: Vfs>(vfs: &V, root: &Path) {
    make(vfs, &root.join("a"), b"");
    assert_eq!(kind(vfs.list(&root.join("a"))), ErrorKind::NotADirectory);
    assert_eq!(kind(vfs.list(&root.join("d"))), ErrorKind::NotFound);
}

fn syncing_a_directory_needs_a_directory<V: Vfs>(vfs: &V, root: &Path) {
    make(vfs, &root.join("a"), b"");
    assert_eq!(kind(vfs.sync_dir(&root.join("a"))), ErrorKind::NotADirectory);
    assert_eq!(kind(vfs.sync_dir(&root.join("d"))), ErrorKind::NotFound);
}

fn everything_can_be_synced<V: Vfs>(vfs: &V, root: &Path) {
    let file = make(vfs, &root.join("a"), b"hello");
    file.sync_data().unwrap();
    file.sync_data().unwrap();
    vfs.sync_dir(root).unwrap();
    vfs.sync_dir(root).unwrap();
    assert_eq!(contents(&file), b"hello");
}

fn an_identity_belongs_to_the_file_not_the_name<V: Vfs>(vfs: &V, root: &Path) {
    let a = make(vfs, &root.join("a"), b"a");
    let b = make(vfs, &root.join("b"), b"b");
    assert_ne!(a.id().unwrap(), b.id().unwrap());
    vfs.rename(&root.join("a"), &root.join("b")).unwrap();
    let now = vfs.open(&root.join("b"), Access::Read).unwrap();
    assert_eq!(now.id().unwrap(), a.id().unwrap());
    assert_ne!(now.id().unwrap(), b.id().unwrap());
}

fn a_map_shows_the_first_bytes<V: Vfs>(vfs: &V, root: &Path) {
    let bytes: Vec<u8> = (0..9000_u32).map(|i| (i % 251) as u8).collect();
    let file = make(vfs, &root.join("a"), &bytes);
    for len in [1, 4096, 8999, 9000] {
        assert_eq!(file.map(len as u64).unwrap().as_ref(), &bytes[..len]);
    }
}

fn a_map_past_the_end_is_refused<V: Vfs>(vfs: &V, root: &Path) {
    let file = make(vfs, &root.join("a"), b"hello");
    for len in [0, 6, 4096, u64::MAX] {
        assert_eq!(kind(file.map(len)), ErrorKind::InvalidInput, "length {len}");
    }
}

fn a_lock_excludes_until_it_is_dropped<V: Vfs>(vfs: &V, root: &Path) {
    let path = root.join("LOCK");
    let lock = vfs.lock(&path).unwrap();
    for _ in 0..2 {
        match vfs.lock(&path) {
            Err(LockError::Held { path: named, holder }) => {
                assert_eq!((named, holder), (path.clone(), "this process"));
            }
            other => panic!("expected Held, got {other:?}"),
        }
    }
    // Neither opening nor closing the file touches the lock.
    drop(vfs.open(&path, Access::ReadWrite).unwrap());
    assert!(matches!(vfs.lock(&path), Err(LockError::Held { .. })));
    drop(lock);
    drop(vfs.lock(&path).unwrap());
    drop(vfs.lock(&path).unwrap());
}

fn locks_on_different_files_do_not_touch<V: Vfs>(vfs: &V, root: &Path) {
    let _one = vfs.lock(&root.join("one")).unwrap();
    let _two = vfs.lock(&root.join("two")).unwrap();
    assert!(matches!(vfs.lock(&root.join("one")), Err(LockError::Held { .. })));
}

fn a_lock_file_must_be_a_regular_file_in_a_directory<V: Vfs>(vfs: &V, root: &Path) {
    vfs.create_dir(&root.join("d")).unwrap();
    for (name, expected) in [("d", ErrorKind::InvalidInput), ("x/LOCK", ErrorKind::NotFound)] {
        match vfs.lock(&root.join(name)) {
            Err(LockError::Io { path, source }) => {
                assert_eq!((path, source.kind()), (root.join(name), expected));
            }
            other => panic!("expected an error for {name}, got {other:?}"),
        }
    }
}

fn random_numbers_differ<V: Vfs>(vfs: &V, _: &Path) {
    assert_ne!(vfs.random().unwrap(), vfs.random().unwrap());
    assert!(vfs.unix_millis() > 1_600_000_000_000);
}
