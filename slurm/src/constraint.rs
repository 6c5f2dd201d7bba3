//! What a job's `--constraint` asks for: an expression of features, one of which may name a
//! profile. `lua/rampool.lua` reads it by the same rule; `tests/submit.rs` compares the two.
//!
//! | expression | asks for `moreIOPS` |
//! | --- | --- |
//! | `moreIOPS`, `moreIOPS&ssd`, `(a\|b)&moreIOPS` | yes: all nodes of the job have it |
//! | `moreIOPS_64G` | no: another word |
//! | `moreIOPS\|ssd`, `[a\|moreIOPS]`, `[moreIOPS*2&ssd]` | nobody can say: refused |

/// Why nobody can say which profile an expression asks for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unclear {
    /// The profile stands where not all nodes need have it.
    #[error(
        "--constraint asks for {0} on some nodes or as one choice of several; a pool is for the \
         whole job: write {0}&(the rest)"
    )]
    NotForAll(String),
    /// Two profiles at once.
    #[error("--constraint asks for {0} and for {1}; a job has one pool: name one of them")]
    Two(String, String),
}

/// A profile that a part of an expression names, and whether all nodes of the job must have it.
struct Mention<'a> {
    name: &'a str,
    for_all: bool,
}

/// What stands between two brackets.
#[derive(Default)]
struct Group<'a> {
    mentions: Vec<Mention<'a>>,
    is_choice: bool,
    /// How many mentions there were before the last word or bracket, which a count belongs to.
    before_last: usize,
}

/// The profile that an expression asks for, if any.
///
/// # Errors
/// [`Unclear`].
pub fn asked(expression: &str, is_profile: impl Fn(&str) -> bool) -> Result<Option<&str>, Unclear> {
    let mut groups = vec![Group::default()];
    let mut negated = false;
    for part in parts(expression) {
        match part {
            "(" | "[" => groups.push(Group::default()),
            ")" | "]" => close(&mut groups),
            "|" => top(&mut groups).is_choice = true,
            "&" | "," | "!" => {}
            count if count.starts_with('*') => {
                // As many nodes, not all.
                let group = top(&mut groups);
                let counted = group.mentions.iter_mut().skip(group.before_last);
                counted.for_each(|mention| mention.for_all = false);
            }
            name => {
                let group = top(&mut groups);
                group.before_last = group.mentions.len();
                if is_profile(name) && !negated {
                    group.mentions.push(Mention { name, for_all: true });
                }
            }
        }
        negated = part == "!";
    }
    while groups.len() > 1 {
        close(&mut groups);
    }
    decide(groups.pop().unwrap_or_default())
}

/// The words, the brackets and signs between them, and counts with their star.
fn parts(expression: &str) -> impl Iterator<Item = &str> {
    let mut rest = expression;
    std::iter::from_fn(move || {
        let first = rest.chars().next()?;
        let is_sign = |c: char| "&|,()[]!*".contains(c);
        let end = match first {
            '*' => 1 + rest[1..].find(is_sign).unwrap_or(rest.len() - 1),
            sign if is_sign(sign) => 1,
            _ => rest.find(is_sign).unwrap_or(rest.len()),
        };
        let (part, after) = rest.split_at(end);
        rest = after;
        Some(part)
    })
}

fn top<'g, 'a>(groups: &'g mut Vec<Group<'a>>) -> &'g mut Group<'a> {
    if groups.is_empty() {
        groups.push(Group::default());
    }
    let last = groups.len() - 1;
    &mut groups[last]
}

/// What is between the brackets becomes part of what is around them.
fn close(groups: &mut Vec<Group<'_>>) {
    let inner = groups.pop().unwrap_or_default();
    let for_all = !inner.is_choice;
    let outer = top(groups);
    outer.before_last = outer.mentions.len();
    let mentions = inner.mentions.into_iter();
    outer.mentions.extend(mentions.map(|m| Mention { for_all: m.for_all && for_all, ..m }));
}

fn decide(all: Group<'_>) -> Result<Option<&str>, Unclear> {
    let mut found: Option<&str> = None;
    for mention in all.mentions {
        if !mention.for_all || all.is_choice {
            return Err(Unclear::NotForAll(mention.name.to_owned()));
        }
        match found {
            Some(other) if other != mention.name => {
                return Err(Unclear::Two(other.to_owned(), mention.name.to_owned()));
            }
            _ => found = Some(mention.name),
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn is_profile(name: &str) -> bool {
        ["moreIOPS", "moreIOPS_64G"].contains(&name)
    }

    #[test]
    fn a_word_of_its_own_for_all_nodes_is_asked_for() {
        for (expression, profile) in [
            ("", None),
            ("ssd", None),
            ("moreIOPS", Some("moreIOPS")),
            ("moreIOPS&ssd", Some("moreIOPS")),
            ("ssd,moreIOPS", Some("moreIOPS")),
            ("(a|b)&moreIOPS", Some("moreIOPS")),
            ("[rack1|rack2]&moreIOPS", Some("moreIOPS")),
            ("(moreIOPS&a)&b", Some("moreIOPS")),
            ("moreIOPS&moreIOPS", Some("moreIOPS")),
            ("moreIOPS_64G", Some("moreIOPS_64G")),
            ("notmoreIOPS&moreIOPS_9", None),
            ("!moreIOPS&ssd", None),
            ("moreIOPS&ssd*4", Some("moreIOPS")),
        ] {
            assert_eq!(asked(expression, is_profile), Ok(profile), "{expression}");
        }
    }

    #[test]
    fn what_not_all_nodes_need_have_is_refused() {
        for expression in [
            "moreIOPS|ssd",
            "[a|moreIOPS]",
            "[moreIOPS*2&ssd*1]",
            "moreIOPS*2",
            "(moreIOPS&a|b)&c",
            "a&(b|(moreIOPS))",
            "(moreIOPS)*2&a",
        ] {
            let not_for_all = Unclear::NotForAll("moreIOPS".to_owned());
            assert_eq!(asked(expression, is_profile), Err(not_for_all), "{expression}");
        }
        let two = asked("moreIOPS&moreIOPS_64G", is_profile).unwrap_err();
        assert!(two.to_string().contains("name one of them"), "{two}");
    }

    proptest! {
        #[test]
        fn no_expression_is_too_odd(expression in "[a-z&|,()\\[\\]!*0-9]{0,40}|(moreIOPS|[&|()*2])*") {
            let _ = asked(&expression, is_profile);
        }
    }
}
