//! Reading a host list. Everything is counted before anything is expanded, so that no text,
//! however small, makes a list that is large.

use std::collections::HashSet;

use super::{
    HostListError, MOST_NAMES, check_length, check_name, is_name_character, odd_character,
    too_many, twice,
};

/// The most digits a number in brackets may have: more would name no node, and nine fit `u32`.
const MOST_DIGITS: usize = 9;

/// One name with its bracket groups, before expansion.
struct Term {
    /// Where it begins, in characters from 1.
    column: usize,
    parts: Vec<Part>,
}

enum Part {
    Text(String),
    /// One bracket group.
    Numbers(Vec<Range>),
}

/// `first` to `last`, both included, padded with zeros to `width`.
struct Range {
    first: u32,
    last: u32,
    width: usize,
}

impl Range {
    fn len(&self) -> u64 {
        u64::from(self.last - self.first) + 1
    }
}

impl Term {
    /// How many names it stands for, as far as that can be counted.
    fn len(&self) -> u64 {
        self.parts.iter().fold(1, |count: u64, part| match part {
            Part::Text(_) => count,
            Part::Numbers(ranges) => count.saturating_mul(ranges.iter().map(Range::len).sum()),
        })
    }

    /// The length of its longest name, in bytes.
    fn longest(&self) -> usize {
        let digits = |r: &Range| r.width.max(r.last.to_string().len());
        let length = |part: &Part| match part {
            Part::Text(text) => text.len(),
            Part::Numbers(ranges) => ranges.iter().map(digits).max().unwrap_or(0),
        };
        self.parts.iter().map(length).sum()
    }

    /// The names, the last group varying fastest.
    fn expand(&self) -> Vec<String> {
        let mut names = vec![String::new()];
        for part in &self.parts {
            names = match part {
                Part::Text(text) => names.into_iter().map(|name| name + text).collect(),
                Part::Numbers(ranges) => {
                    let numbers = || {
                        ranges.iter().flat_map(|r| (r.first..=r.last).map(move |n| (n, r.width)))
                    };
                    names
                        .iter()
                        .flat_map(|name| numbers().map(move |(n, w)| format!("{name}{n:0w$}")))
                        .collect()
                }
            };
        }
        names
    }
}

/// The names that `text` stands for.
pub(super) fn names(text: &str) -> Result<Vec<String>, HostListError> {
    let error = |column, problem: String| HostListError::new(text, column, problem);
    let terms = Reader::new(text).list()?;
    let mut count: u64 = 0;
    for term in &terms {
        count = count.saturating_add(term.len());
        if count > MOST_NAMES as u64 {
            return Err(error(term.column, too_many()));
        }
        check_length(term.longest()).map_err(|problem| error(term.column, problem))?;
    }
    let mut names = Vec::new();
    let mut seen = HashSet::new();
    for term in &terms {
        for name in term.expand() {
            check_name(&name).map_err(|problem| error(term.column, problem))?;
            if !seen.insert(name.clone()) {
                return Err(error(term.column, twice(&name)));
            }
            names.push(name);
        }
    }
    Ok(names)
}

/// Goes through the text one character at a time.
struct Reader<'a> {
    text: &'a str,
    rest: std::iter::Peekable<std::str::Chars<'a>>,
    /// Of the next character, from 1.
    column: usize,
}

impl<'a> Reader<'a> {
    fn new(text: &'a str) -> Self {
        Self { text, rest: text.chars().peekable(), column: 1 }
    }

    fn peek(&mut self) -> Option<char> {
        self.rest.peek().copied()
    }

    fn take_if(&mut self, wanted: impl Fn(char) -> bool) -> Option<char> {
        let taken = self.rest.next_if(|c| wanted(*c))?;
        self.column += 1;
        Some(taken)
    }

    fn expected(&mut self, what: &str) -> HostListError {
        let found = match self.peek() {
            None => "the list ends".into(),
            Some(c) => format!("there is {c:?}"),
        };
        self.error(format!("expected {what}, but {found}"))
    }

    fn error(&self, problem: impl Into<String>) -> HostListError {
        HostListError::new(self.text, self.column, problem)
    }

    fn list(mut self) -> Result<Vec<Term>, HostListError> {
        let mut terms = vec![self.term()?];
        while self.take_if(|c| c == ',').is_some() {
            terms.push(self.term()?);
        }
        match self.peek() {
            None => Ok(terms),
            Some(']') => Err(self.error("']' without '['")),
            Some(odd) => Err(self.error(odd_character(odd))),
        }
    }

    fn term(&mut self) -> Result<Term, HostListError> {
        let column = self.column;
        let mut parts = Vec::new();
        loop {
            let mut text = String::new();
            while let Some(c) = self.take_if(is_name_character) {
                text.push(c);
            }
            if !text.is_empty() {
                parts.push(Part::Text(text));
            }
            if self.take_if(|c| c == '[').is_none() {
                break;
            }
            parts.push(Part::Numbers(self.group()?));
        }
        match (parts.is_empty(), self.peek()) {
            (false, _) => Ok(Term { column, parts }),
            (true, None | Some(',' | ']')) => Err(self.expected("a node name")),
            (true, Some(odd)) => Err(self.error(odd_character(odd))),
        }
    }

    /// What is between '[' and ']'.
    fn group(&mut self) -> Result<Vec<Range>, HostListError> {
        let mut ranges = vec![self.range()?];
        loop {
            if self.take_if(|c| c == ',').is_some() {
                ranges.push(self.range()?);
            } else if self.take_if(|c| c == ']').is_some() {
                return Ok(ranges);
            } else {
                return Err(self.expected("',', '-' or ']'"));
            }
        }
    }

    fn range(&mut self) -> Result<Range, HostListError> {
        let column = self.column;
        let (first, written) = self.number()?;
        let width = written.len();
        if self.take_if(|c| c == '-').is_none() {
            return Ok(Range { first, last: first, width });
        }
        let (last, end) = self.number()?;
        let error = |problem| Err(HostListError::new(self.text, column, problem));
        if last < first {
            return error(format!(
                "range {written}-{end} goes down; ranges go up: {end}-{written}"
            ));
        }
        if format!("{last:0width$}") != end {
            return error(format!(
                "range {written}-{end}: both ends need the same number of digits where zeros lead"
            ));
        }
        Ok(Range { first, last, width })
    }

    fn number(&mut self) -> Result<(u32, String), HostListError> {
        let column = self.column;
        let mut digits = String::new();
        while let Some(c) = self.take_if(|c| c.is_ascii_digit()) {
            digits.push(c);
            if digits.len() > MOST_DIGITS {
                let problem = format!("a number of more than {MOST_DIGITS} digits");
                return Err(HostListError::new(self.text, column, problem));
            }
        }
        match digits.parse() {
            Ok(number) => Ok((number, digits)),
            Err(_) => Err(self.expected("a number")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> String {
        names(text).unwrap().join(" ")
    }

    fn refusal(text: &str) -> (usize, String) {
        let error = names(text).unwrap_err();
        (error.column(), error.to_string())
    }

    #[test]
    fn groups_expand_with_their_zeros_and_the_last_varies_fastest() {
        assert_eq!(read("n1"), "n1");
        assert_eq!(read("n[008-011],mds1"), "n008 n009 n010 n011 mds1");
        assert_eq!(read("n[8-11]"), "n8 n9 n10 n11");
        assert_eq!(read("n[998-1001]"), "n998 n999 n1000 n1001");
        assert_eq!(read("n[1,3,5-7]"), "n1 n3 n5 n6 n7");
        assert_eq!(read("r[1-2]n[1-2].ib"), "r1n1.ib r1n2.ib r2n1.ib r2n2.ib");
        assert_eq!(read("[1-2]"), "1 2");
    }

    #[test]
    fn an_error_names_the_column_and_what_was_expected() {
        for (text, column, words) in [
            ("", 1, "expected a node name, but the list ends"),
            ("n1,", 4, "expected a node name, but the list ends"),
            ("n1,,n2", 4, "expected a node name, but there is ','"),
            ("n[", 3, "expected a number, but the list ends"),
            ("n[]", 3, "expected a number, but there is ']'"),
            ("n[1-", 5, "expected a number, but the list ends"),
            ("n[1", 4, "expected ',', '-' or ']', but the list ends"),
            ("n[1-2-3]", 6, "expected ',', '-' or ']', but there is '-'"),
            ("n]", 2, "']' without '['"),
            ("n[3-1]", 3, "goes down"),
            ("n[1-010]", 3, "same number of digits"),
            ("n[1-9999999999]", 5, "more than 9 digits"),
            ("n1, n2", 4, "a blank"),
            ("n1,Node2", 4, "upper-case"),
            ("n_1", 2, "'_' is not allowed"),
            ("n1,n1", 4, "node n1 is there twice"),
            ("a[1-3],b,a[3-5]", 10, "node a3 is there twice"),
            ("ä1", 1, "'ä' is not allowed"),
            ("a,-b", 3, "begins and ends with a letter or digit"),
        ] {
            let (at, said) = refusal(text);
            assert!(said.contains(words), "{text}: {said}");
            assert_eq!(at, column, "{text}: {said}");
        }
    }

    #[test]
    fn a_list_too_large_is_refused_without_being_made() {
        assert_eq!(names("n[1-65536]").unwrap().len(), MOST_NAMES);
        for text in ["n[1-65537]", "n[0-999999999]", "a,n[1-65536]"] {
            assert!(refusal(text).1.contains("more than 65536 nodes"), "{text}");
        }
        let many_groups = "[0-999999999]".repeat(40);
        assert!(refusal(&many_groups).1.contains("more than 65536 nodes"));
        let long_and_many = format!("{}[1-65000]", "a".repeat(100_000));
        assert!(refusal(&long_and_many).1.contains("at most 64"));
    }
}
