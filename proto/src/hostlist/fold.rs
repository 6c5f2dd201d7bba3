//! Writing a host list: neighbours that differ in one number become a bracket group.

/// A name taken apart, its numbers free to become groups.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(String),
    /// Ranges `(first, last)` as written.
    Numbers(Vec<(String, String)>),
}

/// The shortest text this folding finds that reads as `names` in their order.
pub(super) fn text(names: &[String]) -> String {
    let mut terms: Vec<Vec<Part>> = names.iter().map(|name| take_apart(name)).collect();
    let longest = terms.iter().map(Vec::len).max().unwrap_or(0);
    // From the last number to the first: the last group varies fastest when read, so neighbours
    // may only be joined at a number before which nothing is joined yet.
    for place in (0..longest).rev() {
        terms = join_neighbours(terms, place);
    }
    terms.iter().map(|term| write(term)).collect::<Vec<_>>().join(",")
}

/// Splits `r1n007` into `r`, 1, `n`, 007. A run of digits that a reader would refuse in
/// brackets (more than nine) stays text.
fn take_apart(name: &str) -> Vec<Part> {
    let mut parts = Vec::new();
    let mut rest = name;
    while let Some(first) = rest.chars().next() {
        let digits = first.is_ascii_digit();
        let end = rest.find(|c: char| c.is_ascii_digit() != digits).unwrap_or(rest.len());
        let (run, after) = rest.split_at(end);
        parts.push(if digits && run.len() <= 9 {
            Part::Numbers(vec![(run.to_owned(), run.to_owned())])
        } else {
            Part::Text(run.to_owned())
        });
        rest = after;
    }
    parts
}

fn join_neighbours(terms: Vec<Vec<Part>>, place: usize) -> Vec<Vec<Part>> {
    let mut joined: Vec<Vec<Part>> = Vec::with_capacity(terms.len());
    for term in terms {
        match joined.last_mut() {
            Some(last) if differ_only_at(place, last, &term) => append(last, term, place),
            _ => joined.push(term),
        }
    }
    joined
}

fn differ_only_at(place: usize, one: &[Part], other: &[Part]) -> bool {
    one.len() == other.len()
        && matches!(
            (one.get(place), other.get(place)),
            (Some(Part::Numbers(_)), Some(Part::Numbers(_)))
        )
        && one[..place] == other[..place]
        && one[place + 1..] == other[place + 1..]
}

/// Adds the numbers of `term` at `place` to those of `to`.
fn append(to: &mut [Part], mut term: Vec<Part>, place: usize) {
    let (Part::Numbers(ranges), Part::Numbers(more)) = (&mut to[place], &mut term[place]) else {
        return;
    };
    for (first, last) in more.drain(..) {
        match ranges.last_mut() {
            Some(range) if first == last && follows(range, &first) => range.1 = last,
            _ => ranges.push((first, last)),
        }
    }
}

/// Whether `next` is what a reader of `range` would come to next: one more, padded to the
/// width of the range's first number.
fn follows(range: &(String, String), next: &str) -> bool {
    let width = range.0.len();
    range.1.parse::<u32>().is_ok_and(|last| format!("{:0width$}", last + 1) == next)
}

fn write(term: &[Part]) -> String {
    let mut text = String::new();
    for part in term {
        match part {
            Part::Text(run) => text.push_str(run),
            Part::Numbers(ranges) => match ranges.as_slice() {
                [(first, last)] if first == last => text.push_str(first),
                ranges => {
                    let items: Vec<String> = ranges.iter().map(write_range).collect();
                    text.push_str(&format!("[{}]", items.join(",")));
                }
            },
        }
    }
    text
}

fn write_range((first, last): &(String, String)) -> String {
    if first == last { first.clone() } else { format!("{first}-{last}") }
}

#[cfg(test)]
mod tests {
    use super::text;

    fn folded(names: &str) -> String {
        text(&names.split(' ').map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn neighbours_become_ranges_and_order_is_kept() {
        assert_eq!(folded("n1 n2 n3 mds1"), "n[1-3],mds1");
        assert_eq!(folded("n3 n2 n1"), "n[3,2,1]");
        assert_eq!(folded("n1 m1 n2"), "n1,m1,n2");
        assert_eq!(folded("n008 n009 n010"), "n[008-010]");
        assert_eq!(folded("n9 n10 n11"), "n[9-11]");
        assert_eq!(folded("n9 n010"), "n[9,010]");
        assert_eq!(folded("n999 n1000"), "n[999-1000]");
    }

    #[test]
    fn a_grid_of_names_folds_in_both_numbers() {
        assert_eq!(folded("r1n1 r1n2 r2n1 r2n2"), "r[1-2]n[1-2]");
        assert_eq!(folded("r1n1 r1n2 r2n1 r2n3"), "r1n[1-2],r2n[1,3]");
        assert_eq!(folded("r1n1 r2n1 r1n2"), "r[1-2]n1,r1n2");
    }

    #[test]
    fn digits_that_fit_no_bracket_stay_as_they_are() {
        assert_eq!(folded("n1234567890 n1234567891"), "n1234567890,n1234567891");
        assert_eq!(folded("n999999998 n999999999"), "n[999999998-999999999]");
    }
}
