//! An allocator that counts: how much a thread has asked for at most, and how much at once.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

/// The system's allocator, with a tally for each thread.
pub(crate) struct Counting;

thread_local! {
    static LIVE: Cell<i64> = const { Cell::new(0) };
    static PEAK: Cell<i64> = const { Cell::new(0) };
    static LARGEST: Cell<usize> = const { Cell::new(0) };
}

fn add(size: usize) {
    let bytes = i64::try_from(size).unwrap_or(i64::MAX);
    // A thread that ends frees what it had after its tally is gone.
    let _ = LIVE.try_with(|live| {
        live.set(live.get().saturating_add(bytes));
        let _ = PEAK.try_with(|peak| peak.set(peak.get().max(live.get())));
    });
    let _ = LARGEST.try_with(|largest| largest.set(largest.get().max(size)));
}

fn remove(size: usize) {
    let bytes = i64::try_from(size).unwrap_or(i64::MAX);
    let _ = LIVE.try_with(|live| live.set(live.get().saturating_sub(bytes)));
}

// SAFETY: every call goes to the system's allocator as it came; the tally allocates nothing, since
// its cells are constant-initialised and need no destructor.
#[expect(unsafe_code, reason = "there is no other way to count what a process asks for")]
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        add(layout.size());
        // SAFETY: the caller's promises are passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        add(layout.size());
        // SAFETY: as above.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // For a moment there may be both.
        add(size);
        remove(layout.size());
        // SAFETY: as above.
        unsafe { System.realloc(block, layout, size) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        remove(layout.size());
        // SAFETY: as above.
        unsafe { System.dealloc(block, layout) }
    }
}

/// What this thread needed at most since [`start`].
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Need {
    /// Bytes at one time, above what it had before.
    pub(crate) peak: u64,
    /// The largest single request.
    pub(crate) largest: usize,
}

/// Begins to measure this thread; returns what it has now.
pub(crate) fn start() -> i64 {
    let live = LIVE.get();
    PEAK.set(live);
    LARGEST.set(0);
    live
}

/// What was needed since [`start`], which returned `before`.
pub(crate) fn since(before: i64) -> Need {
    Need { peak: u64::try_from(PEAK.get() - before).unwrap_or(0), largest: LARGEST.get() }
}
