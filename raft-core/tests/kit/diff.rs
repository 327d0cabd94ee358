//! What differs between two texts, for people.

/// Lines shown around a difference.
const CONTEXT: usize = 3;
/// Lines of a diff that are shown at most.
const MAX_LINES: usize = 80;

/// A unified diff, `-` expected and `+` actual, with a few lines of context; cut when long.
pub(crate) fn unified(expected: &str, actual: &str) -> String {
    let (old, new): (Vec<&str>, Vec<&str>) = (expected.lines().collect(), actual.lines().collect());
    let edits = edits(&old, &new);
    let near = |at: usize| {
        let range = at.saturating_sub(CONTEXT)..(at + CONTEXT + 1).min(edits.len());
        edits[range].iter().any(|(mark, _)| *mark != ' ')
    };
    let mut out = String::new();
    let (mut shown, mut gap) = (0, false);
    for (at, (mark, line)) in edits.iter().enumerate() {
        if !near(at) {
            gap = true;
            continue;
        }
        if shown == MAX_LINES {
            out.push_str("  [cut]\n");
            break;
        }
        if std::mem::take(&mut gap) {
            out.push_str("  ...\n");
        }
        out.extend([mark.to_string().as_str(), " ", line, "\n"]);
        shown += 1;
    }
    out
}

/// The lines of both, by their longest common subsequence.
fn edits<'a>(old: &[&'a str], new: &[&'a str]) -> Vec<(char, &'a str)> {
    // common[i][j]: how long it is for old[i..] and new[j..].
    let mut common = vec![vec![0_u32; new.len() + 1]; old.len() + 1];
    for i in (0..old.len()).rev() {
        for j in (0..new.len()).rev() {
            common[i][j] = if old[i] == new[j] {
                common[i + 1][j + 1] + 1
            } else {
                common[i + 1][j].max(common[i][j + 1])
            };
        }
    }
    let (mut i, mut j) = (0, 0);
    let mut out = Vec::new();
    while i < old.len() || j < new.len() {
        if i < old.len() && j < new.len() && old[i] == new[j] {
            out.push((' ', old[i]));
            (i, j) = (i + 1, j + 1);
        } else if j == new.len() || i < old.len() && common[i + 1][j] >= common[i][j + 1] {
            out.push(('-', old[i]));
            i += 1;
        } else {
            out.push(('+', new[j]));
            j += 1;
        }
    }
    out
}
