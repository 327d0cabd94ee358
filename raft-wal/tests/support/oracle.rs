//! The oracle: which states a crash may leave.

use std::fmt::Write as _;

use super::model::Model;

/// What was issued since a state known to be durable, and how much of it was acknowledged.
#[derive(Clone, Debug)]
pub(crate) struct Issued {
    /// The log after each batch; the first one is where it began.
    pub(crate) states: Vec<Model>,
    /// The newest acknowledged one.
    pub(crate) acked: usize,
}

impl Issued {
    /// Nothing was issued after `durable`.
    pub(crate) fn after(durable: Model) -> Self {
        Self { states: vec![durable], acked: 0 }
    }

    pub(crate) fn last(&self) -> &Model {
        self.states.last().expect("there is a state from the beginning")
    }

    /// Whether a crash may leave `got`: an issued state, acknowledged or later; or that with term
    /// and vote (not commit) of a still later one, which a copy of them may have saved.
    pub(crate) fn legal(&self, got: &Model) -> Result<(), String> {
        let allowed = &self.states[self.acked..];
        if allowed.contains(got) {
            return Ok(());
        }
        let given = |m: &Model| (m.hard_state.term, m.hard_state.vote);
        let raised = allowed.iter().enumerate().any(|(k, state)| {
            let mut lowered = got.clone();
            (lowered.hard_state.term, lowered.hard_state.vote) = given(state);
            lowered == *state
                && (given(got).0 > given(state).0
                    || (given(got).0 == given(state).0 && given(state).1 == 0))
                && allowed[k + 1..].iter().any(|later| given(later) == given(got))
        });
        if raised { Ok(()) } else { Err(self.complain(got)) }
    }

    fn complain(&self, got: &Model) -> String {
        let what = match self.states[..self.acked].iter().rposition(|s| s == got) {
            Some(k) => format!("lost what was acknowledged: state {k} of {}", self.acked),
            None => "a state that was never issued".to_owned(),
        };
        let mut all = format!("{what}: {got:?}\n  acknowledged: state {}", self.acked);
        for (k, s) in self.states.iter().enumerate().skip(self.acked) {
            let difference = s.difference(got).unwrap_or_default();
            let _ = write!(all, "\n  {k}: {s:?}; {difference}");
        }
        all
    }
}
