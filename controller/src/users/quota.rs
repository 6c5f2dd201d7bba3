//! What a user, or an account, has, and whether one more pool fits. Pure.
//!
//! What counts is the donors' memory: a mirror takes twice its size. Pools count until they are
//! released, whatever became of them. Those of Slurm's jobs and those that operators made for a user
//! do not: jobs have Slurm's own limits.

use rampool_proto::size::Size;
use rampool_proto::v1::Placement;

use super::rules::{Account, Rule};
use crate::pool::record::PoolRecord;

/// One pool, as quotas see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Use {
    /// Its name.
    pub pool: String,
    /// Whose it is.
    pub uid: u32,
    /// The account that it counts for; may be empty.
    pub account: String,
    /// What donors lend to it.
    pub bytes: u64,
}

impl Use {
    /// What a record takes, where it counts.
    #[must_use]
    pub fn of(record: &PoolRecord) -> Option<Self> {
        (record.spec.by_user && !record.is_released()).then(|| Self {
            pool: record.assembly.name.to_string(),
            uid: record.spec.uid,
            account: record.spec.account.clone(),
            bytes: lent(&record.placement),
        })
    }
}

/// What donors lend, spares included.
fn lent(placement: &Placement) -> u64 {
    let pieces = placement.pieces.iter().chain(&placement.spares);
    pieces.fold(0, |sum, piece| sum.saturating_add(piece.bytes))
}

/// Whether `new` fits beside what there `is`: for its user by the rule, and for its account.
pub fn fits(
    new: &Use,
    is: &[Use],
    rule: &Rule,
    account: Option<(&str, &Account)>,
) -> Result<(), String> {
    let own: Vec<&Use> = is.iter().filter(|one| one.uid == new.uid).collect();
    if own.len() >= rule.pools as usize {
        let said = format!("you may have {}", pools(rule.pools as usize));
        return Err(format!("{said} at a time: you have {}", have(&own)));
    }
    if sum(&own).saturating_add(new.bytes) > rule.at_most {
        let may = format!("your pools may take {} of donors' memory together", Size(rule.at_most));
        return Err(format!(
            "{may}: this one would take {}, and you have {}",
            Size(new.bytes),
            have(&own)
        ));
    }
    let Some((name, account)) = account else { return Ok(()) };
    let together: Vec<&Use> = is.iter().filter(|one| one.account == name).collect();
    let has = sum(&together);
    if has.saturating_add(new.bytes) > account.at_most {
        return Err(format!(
            "the pools of account {name} may take {} of donors' memory together: this one would \
             take {}, and its members have {} in {}",
            Size(account.at_most),
            Size(new.bytes),
            Size(has),
            pools(together.len()),
        ));
    }
    Ok(())
}

fn sum(uses: &[&Use]) -> u64 {
    uses.iter().fold(0, |sum, one| sum.saturating_add(one.bytes))
}

fn pools(count: usize) -> String {
    if count == 1 { "1 pool".to_owned() } else { format!("{count} pools") }
}

/// `3 GiB in 2 pools (a, b)`.
fn have(own: &[&Use]) -> String {
    if own.is_empty() {
        return "none yet".to_owned();
    }
    let names: Vec<&str> = own.iter().map(|one| one.pool.as_str()).collect();
    format!("{} in {} ({})", Size(sum(own)), pools(own.len()), names.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn rule(at_most: u64, pools: u32) -> Rule {
        Rule {
            users: [].into(),
            groups: [].into(),
            heads: "n1".parse().unwrap(),
            donors: None,
            at_most,
            pools,
            longest: std::time::Duration::from_secs(60),
        }
    }

    fn one(pool: &str, uid: u32, account: &str, bytes: u64) -> Use {
        Use { pool: pool.into(), uid, account: account.into(), bytes }
    }

    fn account(at_most: u64) -> Account {
        Account { group: "chem".into(), at_most }
    }

    #[test]
    fn a_refusal_says_what_is_allowed_and_what_there_is() {
        let (gib, rule) = (1 << 30, rule(4 << 30, 2));
        let is = [one("a", 7, "chem", 2 * gib), one("b", 8, "chem", 9 * gib)];
        assert_eq!(fits(&one("n", 7, "", 2 * gib), &is, &rule, None), Ok(()));
        assert_eq!(
            fits(&one("n", 7, "", 3 * gib), &is, &rule, None).unwrap_err(),
            "your pools may take 4 GiB of donors' memory together: this one would take 3 GiB, and you \
             have 2 GiB in 1 pool (a)"
        );
        let two = [one("a", 7, "", gib), one("c", 7, "", gib)];
        assert_eq!(
            fits(&one("n", 7, "", 1), &two, &rule, None).unwrap_err(),
            "you may have 2 pools at a time: you have 2 GiB in 2 pools (a, c)"
        );
        let chem = account(12 << 30);
        let told = fits(&one("n", 7, "chem", 2 * gib), &is, &rule, Some(("chem", &chem)));
        assert_eq!(
            told.unwrap_err(),
            "the pools of account chem may take 12 GiB of donors' memory together: this one would \
             take 2 GiB, and its members have 11 GiB in 2 pools"
        );
    }

    proptest! {
        #[test]
        fn whatever_is_asked_in_whatever_order_no_limit_is_ever_passed(
            asked in prop::collection::vec((0u32..3, 0usize..3, any::<bool>(), 0u64..100), 0..60),
            at_most in 0u64..300, pools in 0u32..5, together in 0u64..400,
        ) {
            let (rule, account) = (rule(at_most, pools), account(together));
            let mut is: Vec<Use> = Vec::new();
            for (uid, at, up, bytes) in asked {
                if !up {
                    if at < is.len() { is.remove(at); }
                    continue;
                }
                // One of the three users is in no account.
                let of = (uid != 2).then_some(("chem", &account));
                let new = one("p", uid, of.map_or("", |(name, _)| name), bytes);
                if fits(&new, &is, &rule, of).is_ok() { is.push(new); }
                for uid in 0..3 {
                    let own: Vec<&Use> = is.iter().filter(|one| one.uid == uid).collect();
                    prop_assert!(own.len() <= pools as usize && sum(&own) <= at_most);
                }
                let chem: Vec<&Use> = is.iter().filter(|one| one.account == "chem").collect();
                prop_assert!(sum(&chem) <= together);
            }
        }

        #[test]
        fn what_fits_is_not_refused(bytes in 0u64..100, others in prop::collection::vec(0u64..1000, 0..9)) {
            let is: Vec<Use> = others.iter().map(|bytes| one("o", 8, "", *bytes)).collect();
            prop_assert_eq!(fits(&one("n", 7, "", bytes), &is, &rule(100, 1), None), Ok(()));
        }

        #[test]
        fn no_sum_overflows(a in any::<u64>(), b in any::<u64>()) {
            let fit = fits(&one("n", 7, "", a), &[one("a", 7, "", b)], &rule(u64::MAX - 1, 2), None);
            prop_assert_eq!(fit.is_ok(), a.checked_add(b).is_some_and(|sum| sum < u64::MAX));
        }
    }
}
