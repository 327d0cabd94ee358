//! The window of appends that a follower has not answered yet.

use std::collections::VecDeque;

/// Appends under way to one follower, oldest first: a limit of how many, and one of their payload
/// bytes.
///
/// The limit of bytes is soft. An append is added whole if there is room for its first byte, since
/// one must always be able to go.
///
/// Memory is taken as the window fills, up to 16 bytes an append.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inflights {
    /// The last index of each append and its payload bytes. Invariant: indexes ascend.
    sent: VecDeque<(u64, u64)>,
    /// Invariant: the sum over `sent`.
    bytes: u64,
    max_messages: usize,
    /// 0 for no limit.
    max_bytes: u64,
}

impl Inflights {
    /// An empty window for `max_messages` appends (not 0, or nothing is ever sent ahead) and
    /// `max_bytes` of payload, 0 for any.
    pub const fn new(max_messages: usize, max_bytes: u64) -> Self {
        Self { sent: VecDeque::new(), bytes: 0, max_messages, max_bytes }
    }

    /// Notes an append whose last entry is at `index`, with `bytes` of payload. Not to be called
    /// when the window is full, or with an index below the last one.
    pub fn add(&mut self, index: u64, bytes: u64) {
        debug_assert!(!self.full(), "an append was sent through a full window");
        debug_assert!(self.sent.back().is_none_or(|(last, _)| *last <= index));
        self.sent.push_back((index, bytes));
        self.bytes = self.bytes.saturating_add(bytes);
    }

    /// Takes out the appends whose last entry is at or below `index`: they are acknowledged.
    pub fn free_le(&mut self, index: u64) {
        while let Some((last, bytes)) = self.sent.front()
            && *last <= index
        {
            self.bytes = self.bytes.saturating_sub(*bytes);
            self.sent.pop_front();
        }
    }

    /// Whether nothing more may be sent for now.
    pub fn full(&self) -> bool {
        self.sent.len() >= self.max_messages
            || (self.max_bytes != 0 && self.bytes >= self.max_bytes)
    }

    /// How many appends are under way.
    pub fn count(&self) -> usize {
        self.sent.len()
    }

    /// Empties the window.
    pub fn reset(&mut self) {
        self.sent.clear();
        self.bytes = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_acknowledgement_frees_all_up_to_it() {
        let mut window = Inflights::new(3, 0);
        for index in [5, 7, 9] {
            window.add(index, 1);
        }
        assert!(window.full());
        window.free_le(4);
        assert_eq!(window.count(), 3);
        window.free_le(8);
        assert_eq!((window.count(), window.full()), (1, false));
        window.free_le(100);
        assert_eq!(window.count(), 0);
        window.free_le(100);
        assert_eq!(window.count(), 0);
    }

    #[test]
    fn the_last_append_may_pass_the_limit_of_bytes() {
        let mut window = Inflights::new(10, 100);
        window.add(1, 99);
        assert!(!window.full());
        window.add(2, 1_000);
        assert!(window.full());
        window.free_le(1);
        assert!(window.full());
        window.free_le(2);
        assert!(!window.full());
    }

    #[test]
    fn without_a_limit_of_bytes_only_appends_count() {
        let mut window = Inflights::new(2, 0);
        window.add(1, u64::MAX);
        assert!(!window.full());
        window.add(2, u64::MAX);
        assert!(window.full());
    }

    #[test]
    fn a_reset_window_is_as_new() {
        let mut window = Inflights::new(2, 10);
        window.add(7, 10);
        window.reset();
        assert_eq!(window, Inflights::new(2, 10));
        window.add(3, 1);
        assert_eq!(window.count(), 1);
    }

    #[test]
    fn the_window_goes_round_many_times() {
        let mut window = Inflights::new(4, 0);
        for index in 1..1_000 {
            window.add(index, 1);
            if window.full() {
                window.free_le(index - 2);
                assert_eq!(window.count(), 2);
            }
        }
    }
}
