//! What a directive has to say.

/// Log levels by name; at the last nothing is said. The levels between differ in lines of etcd's
/// logger only, which transcripts are without.
const LEVELS: [&str; 6] = ["DEBUG", "INFO", "WARN", "ERROR", "FATAL", "NONE"];

#[derive(Default)]
pub(crate) struct Output {
    text: String,
    quiet: bool,
}

impl Output {
    /// Adds to it, unless quiet.
    pub(crate) fn push(&mut self, text: &str) {
        if !self.quiet {
            self.text.push_str(text);
        }
    }

    /// All that was said, which is then gone.
    pub(crate) fn take(&mut self) -> String {
        std::mem::take(&mut self.text)
    }

    pub(crate) fn is_quiet(&self) -> bool {
        self.quiet
    }

    /// Sets the level by its name; says whether it was quiet before.
    pub(crate) fn set_level(&mut self, name: &str) -> Result<bool, String> {
        let known = LEVELS.iter().any(|level| level.eq_ignore_ascii_case(name));
        if !known {
            return Err(format!("log levels must be either of [{}]", LEVELS.join(" ")));
        }
        Ok(std::mem::replace(&mut self.quiet, name.eq_ignore_ascii_case("NONE")))
    }

    pub(crate) fn set_quiet(&mut self, quiet: bool) {
        self.quiet = quiet;
    }

    /// Begins an indented part; what was said so far is to be given to [`Output::end`].
    pub(crate) fn begin(&mut self) -> String {
        self.take()
    }

    /// Ends it: its lines follow `outer`, with two blanks before each.
    pub(crate) fn end(&mut self, outer: String) {
        let inner = std::mem::replace(&mut self.text, outer);
        for line in inner.lines() {
            self.text.push_str("  ");
            self.text.push_str(line);
            self.text.push('\n');
        }
    }
}
