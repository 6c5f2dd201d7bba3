//! Other programs' words made fit for a terminal.

/// `text` in one line: line breaks become `; `, and what could steer a terminal is taken out.
/// Nodes' programs are quoted as they spoke, and one of them may be broken or hostile.
#[must_use]
pub fn one_line(text: &str) -> String {
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let joined = lines.collect::<Vec<_>>().join("; ");
    joined.replace('\t', " ").replace(char::is_control, "\u{fffd}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_joined_and_escapes_lose_their_force() {
        assert_eq!(one_line("a\n  b\r\n\n"), "a; b");
        assert_eq!(one_line("\x1b[2Jx\ty"), "\u{fffd}[2Jx y");
    }
}
