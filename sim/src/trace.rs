//! The last things that happened, for whoever has to find out why.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;

use crate::queue::Time;

/// How many lines are kept.
const LINES: usize = 200;

/// Keeps the last lines, or (by default) none: a run that fails is repeated with a trace.
#[derive(Clone, Debug, Default)]
pub struct Trace(Option<Rc<RefCell<VecDeque<String>>>>);

impl Trace {
    /// One that keeps lines. Clones share them.
    pub fn kept() -> Self {
        Self(Some(Rc::default()))
    }

    pub(crate) fn note(&self, now: Time, line: impl FnOnce() -> String) {
        let Some(lines) = &self.0 else { return };
        let mut lines = lines.borrow_mut();
        if lines.len() == LINES {
            lines.pop_front();
        }
        lines.push_back(format!("{now:>7} {}", line()));
    }

    /// The lines so far.
    pub fn lines(&self) -> Vec<String> {
        self.0.as_ref().map_or_else(Vec::new, |lines| lines.borrow().iter().cloned().collect())
    }
}
