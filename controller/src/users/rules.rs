//! Who may have what: `users` of controller.yaml, and which of it is whose.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use rampool_proto::by_text::ByText;
use rampool_proto::hostlist::HostList;
use rampool_proto::munge;
use rampool_proto::size::Size;
use serde::{Deserialize, Deserializer};

use crate::person::Person;

/// `users` of controller.yaml.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UsersConfig {
    /// Where the controller listens to users, who prove by MUNGE who they are. None: they are
    /// served by the socket on the controller's host alone.
    pub listen: Option<SocketAddr>,
    /// The folder of `unmunge`.
    #[serde(default = "default_commands")]
    pub commands: PathBuf,
    /// Who may have what: the first rule that names a user is that user's.
    pub rules: Vec<Rule>,
    /// What groups may have together, beside what each of their members may.
    #[serde(default)]
    pub accounts: BTreeMap<String, Account>,
}

/// What some users may have, each of them.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// By login name.
    #[serde(default)]
    pub users: BTreeSet<String>,
    /// By group.
    #[serde(default)]
    pub groups: BTreeSet<String>,
    /// The nodes where they may have a pool mounted.
    pub heads: HostList,
    /// The nodes that may lend to them. None: all.
    pub donors: Option<HostList>,
    /// How much of the donors' memory, in bytes, all pools of one user together.
    #[serde(deserialize_with = "size")]
    pub at_most: u64,
    /// How many pools.
    pub pools: u32,
    /// How long each may live.
    #[serde(deserialize_with = "duration")]
    pub longest: Duration,
}

/// What the members of a group may have together.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Account {
    /// Its members.
    pub group: String,
    /// How much of the donors' memory, in bytes.
    #[serde(deserialize_with = "size")]
    pub at_most: u64,
}

fn default_commands() -> PathBuf {
    munge::FOLDER.into()
}

fn size<'de, D: Deserializer<'de>>(from: D) -> Result<u64, D::Error> {
    Ok(ByText::<Size>::deserialize(from)?.0.0)
}

fn duration<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(from)?;
    humantime::parse_duration(&text)
        .map_err(|error| serde::de::Error::custom(format!("{text:?} is no duration: {error}")))
}

impl UsersConfig {
    /// Says what in it cannot be meant.
    pub(crate) fn check(&self, nodes: &HostList) -> Result<(), String> {
        for (rule, number) in self.rules.iter().zip(1..) {
            rule.check(nodes)
                .map_err(|problem| format!("users.rules, rule {number}: {problem}"))?;
        }
        for (name, account) in &self.accounts {
            let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
            if name.is_empty() || name.len() > LONGEST_ACCOUNT || !name.chars().all(plain) {
                return Err(format!(
                    "users.accounts: {name:?}: letters, digits, `-`, `_` and `.`, at most                      {LONGEST_ACCOUNT}"
                ));
            }
            if account.group.is_empty() {
                return Err(format!("users.accounts: {name} names no group"));
            }
        }
        Ok(())
    }

    /// The rule that is this user's; none for those whom no rule names, and for root, who on a node
    /// is no person.
    #[must_use]
    pub fn rule_of(&self, person: &Person) -> Option<&Rule> {
        self.rules.iter().find(|rule| person.uid != 0 && rule.names(person))
    }

    /// The account that this user's pool counts for, of those that the user is a member of: the
    /// one that is `asked` for, or the only one.
    pub fn account_of(&self, person: &Person, asked: &str) -> Result<Option<&str>, String> {
        let member = |account: &Account| person.groups.contains(&account.group);
        let own = self.accounts.iter().filter(|(_, account)| member(account));
        let own: Vec<&str> = own.map(|(name, _)| name.as_str()).collect();
        let names = own.join(", ");
        match (own.iter().find(|name| **name == asked), &own[..]) {
            (Some(account), _) => Ok(Some(account)),
            (None, []) if asked.is_empty() => Ok(None),
            (None, [only]) if asked.is_empty() => Ok(Some(only)),
            (None, _) if asked.is_empty() => {
                Err(format!("you are a member of several accounts; say which (--account): {names}"))
            }
            (None, []) => Err(format!("you are no member of an account {asked:?}, nor of another")),
            (None, _) => {
                Err(format!("you are no member of an account {asked:?}; of {names} you are"))
            }
        }
    }
}

/// The longest name of an account.
const LONGEST_ACCOUNT: usize = 64;

impl Rule {
    fn names(&self, person: &Person) -> bool {
        self.users.contains(&person.name) || !self.groups.is_disjoint(&person.groups)
    }

    fn check(&self, nodes: &HostList) -> Result<(), String> {
        if self.users.is_empty() && self.groups.is_empty() {
            return Err("it names neither `users` nor `groups`".into());
        }
        if self.users.contains("root") {
            return Err("root is no user: on the controller's host it is an operator".into());
        }
        if self.heads.is_empty() {
            return Err("it names no `heads`".into());
        }
        if self.longest.as_secs() == 0 {
            return Err("`longest` is less than a second".into());
        }
        let donors = self.donors.iter().flat_map(HostList::iter);
        match self.heads.iter().chain(donors).find(|name| !nodes.contains(name)) {
            Some(stranger) => Err(format!("{stranger} is not in nodes")),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(yaml: &str) -> UsersConfig {
        serde_yaml::from_str(yaml).unwrap()
    }

    const RULE: &str = "heads: n1, at_most: 1GiB, pools: 1, longest: 1h";

    fn person(name: &str, uid: u32, groups: &[&str]) -> Person {
        let groups = groups.iter().map(|group| (*group).to_owned()).collect();
        Person { name: name.into(), uid, gid: uid, groups }
    }

    #[test]
    fn the_first_rule_that_names_somebody_is_theirs_and_root_is_nobody() {
        let config = config(
            "rules:\n- {users: [ada], heads: n1, at_most: 2GiB, pools: 2, longest: 2h}\n\
             - {groups: [chem, root], heads: n1, at_most: 1GiB, pools: 1, longest: 1h}",
        );
        let pools = |person: &Person| config.rule_of(person).map(|rule| rule.pools);
        assert_eq!(pools(&person("ada", 1000, &["chem"])), Some(2));
        assert_eq!(pools(&person("bob", 1001, &["users", "chem"])), Some(1));
        assert_eq!(pools(&person("eve", 1002, &["users"])), None);
        assert_eq!(pools(&person("root", 0, &["root", "chem"])), None);
        assert_eq!(
            pools(&person("chem", 1003, &[])),
            None,
            "a user of a group's name is no member"
        );
    }

    #[test]
    fn a_pool_counts_for_the_only_account_or_the_one_that_is_named() {
        let config = config(
            "rules: []\naccounts: {chem: {group: chemists, at_most: 1T}, bio: {group: bio, at_most: 1T}}",
        );
        let of = |groups: &[&str], asked: &str| {
            let found = config.account_of(&person("ada", 1, groups), asked);
            found.map(|account| account.map(str::to_owned))
        };
        assert_eq!(of(&["x"], ""), Ok(None));
        assert_eq!(of(&["chemists"], ""), Ok(Some("chem".into())));
        assert_eq!(of(&["chemists", "bio"], "bio"), Ok(Some("bio".into())));
        assert!(of(&["chemists", "bio"], "").unwrap_err().contains("bio, chem"));
        assert!(
            of(&["chemists"], "bio")
                .unwrap_err()
                .contains("no member of an account \"bio\"; of chem")
        );
        assert!(of(&["chem"], "chem").is_err(), "an account's name is not its group's");
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        let nodes: HostList = "n[1-2]".parse().unwrap();
        let check = |rule: String| config(&format!("rules: [{{{rule}}}]")).check(&nodes);
        assert_eq!(check(format!("users: [ada], {RULE}")), Ok(()));
        for (rule, words) in [
            (RULE.to_owned(), "neither `users` nor `groups`"),
            (format!("users: [root], {RULE}"), "root is no user"),
            (format!("users: [ada], {}", RULE.replace("n1", "n3")), "n3 is not in nodes"),
            (format!("users: [ada], donors: n4, {RULE}"), "n4 is not in nodes"),
            (format!("users: [ada], {}", RULE.replace("1h", "1ms")), "less than a second"),
        ] {
            let told = check(rule).unwrap_err();
            assert!(told.contains(words) && told.contains("rule 1"), "{told}");
        }
        let account =
            |yaml: &str| config(&format!("rules: []\naccounts: {{{yaml}}}")).check(&nodes);
        assert!(account("'a b': {group: x, at_most: 1G}").is_err());
        assert!(account("a: {group: '', at_most: 1G}").is_err());
    }
}
