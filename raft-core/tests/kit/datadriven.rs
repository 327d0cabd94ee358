//! The files: directives, each with an input and the output that is expected of it.

use std::ops::Range;

/// A directive and what is expected of it.
#[derive(Debug)]
pub(crate) struct Case {
    /// Where the directive is, counted from 1.
    pub(crate) line: usize,
    /// The directive as written.
    pub(crate) text: String,
    pub(crate) directive: Directive,
    /// Each line with its end.
    pub(crate) expected: String,
    /// The lines of `expected` in the file, counted from 0.
    pub(crate) expected_lines: Range<usize>,
}

/// A command, its arguments and its input.
#[derive(Debug)]
pub(crate) struct Directive {
    pub(crate) command: String,
    pub(crate) args: Vec<Arg>,
    pub(crate) input: String,
}

/// `key`, `key=value` or `key=(value, value)`.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Arg {
    pub(crate) key: String,
    pub(crate) values: Vec<String>,
}

impl Directive {
    fn parse(text: &str, input: String) -> Result<Self, String> {
        let (command, rest) = text.split_once(' ').unwrap_or((text, ""));
        Ok(Self { command: command.to_owned(), args: parse_args(rest)?, input })
    }

    /// The arguments without values, in order.
    pub(crate) fn bare(&self) -> impl Iterator<Item = &str> {
        self.args.iter().filter(|arg| arg.values.is_empty()).map(|arg| arg.key.as_str())
    }

    /// The values of `key`, if it is there.
    pub(crate) fn values(&self, key: &str) -> Option<&[String]> {
        self.args
            .iter()
            .find(|arg| arg.key == key && !arg.values.is_empty())
            .map(|arg| arg.values.as_slice())
    }

    /// The value of `key`, if it is there.
    pub(crate) fn value(&self, key: &str) -> Option<&str> {
        self.values(key).map(|values| values[0].as_str())
    }

    /// The `nth` argument without a value.
    pub(crate) fn nth(&self, nth: usize) -> Result<&str, String> {
        let missing = || format!("{}: argument {} is missing", self.command, nth + 1);
        self.bare().nth(nth).ok_or_else(missing)
    }
}

fn parse_args(mut rest: &str) -> Result<Vec<Arg>, String> {
    let mut args = Vec::new();
    loop {
        rest = rest.trim_start();
        if rest.is_empty() {
            return Ok(args);
        }
        let end = rest.find([' ', '=']).unwrap_or(rest.len());
        let key = rest[..end].to_owned();
        rest = &rest[end..];
        let mut values = Vec::new();
        if let Some(after) = rest.strip_prefix('=') {
            if let Some(list) = after.strip_prefix('(') {
                let close = closing(list).ok_or_else(|| format!("{key}: a `)` is missing"))?;
                values = split_list(&list[..close]);
                rest = &list[close + 1..];
            } else {
                let end = after.find(' ').unwrap_or(after.len());
                values.push(after[..end].to_owned());
                rest = &after[end..];
            }
        }
        args.push(Arg { key, values });
    }
}

/// Where the parenthesis is that closes one opened before `list`.
fn closing(list: &str) -> Option<usize> {
    let mut depth = 0;
    list.find(|c| {
        match c {
            '(' => depth += 1,
            ')' => depth -= 1,
            _ => {}
        }
        depth < 0
    })
}

fn split_list(list: &str) -> Vec<String> {
    let mut depth = 0;
    let parts = list.split(|c| {
        match c {
            '(' => depth += 1,
            ')' => depth -= 1,
            _ => {}
        }
        c == ',' && depth == 0
    });
    parts.map(|part| part.trim_start().to_owned()).collect()
}

/// Reads a whole file.
pub(crate) fn parse(text: &str) -> Result<Vec<Case>, String> {
    let lines: Vec<&str> = text.lines().collect();
    let mut cases = Vec::new();
    let mut at = 0;
    while at < lines.len() {
        let line = lines[at].trim();
        if line.is_empty() || line.starts_with('#') {
            at += 1;
            continue;
        }
        let start = at;
        let mut directive = line.to_owned();
        while let Some(open) = directive.strip_suffix('\\') {
            at += 1;
            let next = lines.get(at).ok_or_else(|| format!("line {at}: nothing is continued"))?;
            directive = format!("{} {}", open.trim_end(), next.trim());
        }
        at += 1;
        let input_start = at;
        while at < lines.len() && lines[at] != "----" {
            at += 1;
        }
        if at == lines.len() {
            return Err(format!("line {}: `{directive}` is without `----`", start + 1));
        }
        let input = lines[input_start..at].join("\n").trim().to_owned();
        at += 1;
        let expected_start = at;
        while at < lines.len() && !lines[at].trim().is_empty() {
            at += 1;
        }
        let mut expected = String::new();
        for line in &lines[expected_start..at] {
            expected.push_str(line);
            expected.push('\n');
        }
        cases.push(Case {
            line: start + 1,
            directive: Directive::parse(&directive, input)?,
            text: directive,
            expected,
            expected_lines: expected_start..at,
        });
    }
    Ok(cases)
}

/// The file with what came out in place of what was expected.
pub(crate) fn rewrite(text: &str, cases: &[Case], actual: &[String]) -> String {
    let lines: Vec<&str> = text.lines().collect();
    let mut out = String::new();
    let mut at = 0;
    for (case, actual) in cases.iter().zip(actual) {
        for line in &lines[at..case.expected_lines.start] {
            out.push_str(line);
            out.push('\n');
        }
        out.push_str(actual);
        at = case.expected_lines.end;
    }
    for line in &lines[at..] {
        out.push_str(line);
        out.push('\n');
    }
    out
}
