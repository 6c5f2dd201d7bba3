//! The donors that lend to jobs elsewhere: what they can lend, and whether Slurm's licences count
//! as much.

use std::collections::BTreeSet;

use rampool_proto::hostlist::HostList;
use rampool_proto::size::MIB;
use rampool_proto::v1::{Finding, Severity};
use rampool_slurm::facts::Lend;
use rampool_slurm::licence::{self, Capacity};
use rampool_slurm::text::config::Config;
use rampool_slurm::wish::LICENCE;

use super::{Jobs, Waiting};
use crate::nodes::Known;

impl Jobs {
    /// The donors of all profiles that lend to jobs elsewhere.
    pub(super) fn donors_of_pools(&self) -> BTreeSet<String> {
        let pools = self.profiles.values().filter(|own| own.lend == Some(Lend::Pool));
        let donors = pools.filter_map(|own| own.donors.as_ref()).flat_map(HostList::iter);
        donors.map(str::to_owned).collect()
    }

    /// The most that a donor could lend to jobs elsewhere, with what it lends now, as it said last.
    pub(super) fn most_elsewhere(&self, donor: &Known) -> Option<u64> {
        let memory = donor.inventory.as_ref()?.memory.as_ref()?;
        let all = memory.lendable_bytes + self.pools.lent_elsewhere(donor);
        Some(self.pools.allowance(&donor.name).map_or(all, |allowance| all.min(allowance)))
    }

    /// What stands in the way of jobs that wait for the memory of donors elsewhere, once it is
    /// known what those may lend.
    pub(super) fn examine_donors(&self, config: &Config) -> Vec<Finding> {
        let names = self.donors_of_pools();
        if names.is_empty() {
            return Vec::new();
        }
        let donors: Vec<Known> = names.iter().filter_map(|name| self.nodes.get(name)).collect();
        let capacity = Capacity {
            all: donors.iter().filter_map(|donor| self.most_elsewhere(donor)).sum(),
            of_admins: donors.iter().map(|donor| self.pools.lent_to_admins(donor)).sum(),
        };
        let by_licence = self.config.wait_by == Waiting::Licence;
        let licences =
            by_licence.then(|| licence::examine(config.licenses(LICENCE), capacity)).flatten();
        licences
            .into_iter()
            .chain(donors.iter().filter_map(|donor| self.lends_nothing(donor)))
            .chain(donors.iter().filter_map(|donor| self.asks_nobody(donor)))
            .collect()
    }

    /// A donor under Slurm whose agent would lend to jobs elsewhere what Slurm may give to jobs there.
    fn asks_nobody(&self, donor: &Known) -> Option<Finding> {
        self.pools.allowance(&donor.name)?;
        if donor.current()?.asks_slurm {
            return None;
        }
        Some(Finding {
            node: donor.name.clone(),
            severity: Severity::Warning.into(),
            text:
                "Slurm: it runs jobs and lends to jobs elsewhere, and its agent does not ask Slurm \
                   how much it may"
                    .to_owned(),
            fix: format!(
                "slurm_commands: {} in its /etc/rampool/agent.yaml; systemctl restart rampool-agent",
                self.config.commands.display()
            ),
        })
    }

    /// A donor under Slurm that leaves nothing of its memory out of what Slurm gives to jobs.
    fn lends_nothing(&self, donor: &Known) -> Option<Finding> {
        if self.pools.allowance(&donor.name)? > 0 {
            return None;
        }
        let lendable = donor.inventory.as_ref()?.memory.as_ref()?.lendable_bytes / MIB;
        let name = &donor.name;
        Some(Finding {
            node: name.clone(),
            severity: Severity::Error.into(),
            text:
                "Slurm: it is a donor of jobs elsewhere, but Slurm gives all of its memory to jobs \
                   here: it lends nothing"
                    .to_owned(),
            fix: format!(
                "slurm.conf: MemSpecLimit={lendable} or less for {name}; scontrol reconfigure"
            ),
        })
    }
}
