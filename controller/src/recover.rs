//! Pools taken over from what nodes hold, for a controller whose store is lost. Pure: it reads
//! inventories, and answers records that fit them, or why there is none. Agents keep the secrets
//! of their exports, so that nothing of a pool is touched and I/O goes on.

use std::collections::{BTreeMap, BTreeSet};

use rampool_proto::hostlist::HostList;
use rampool_proto::pool_name::Assembly;
use rampool_proto::v1::pool_spec::Capacity;
use rampool_proto::v1::{
    AtExpiry, Backend, Client, FilesystemKind, Holding, HoldingKind, Inventory, Job, JobId,
    MemberState, Piece, Placement, PoolId, PoolSpec, Redundancy, VolumeHealth,
};

use crate::planner::redundancy::{data_halves, group_width, is_redundant, survives};
use crate::pool::record::{Debt, Owed, Phase, PoolRecord};
use crate::spec::{BUILT_IN_PATIENCE_SECONDS, BUILT_IN_REDUNDANT_PATIENCE_SECONDS};

/// Who is said to own a pool that was taken over: nobody knows any more.
pub const OWNER: &str = "recovered";

/// What was found of pools that the store does not know.
#[derive(Debug, Default, PartialEq)]
pub struct Survey {
    /// The pools as they would be recorded.
    pub pools: Vec<PoolRecord>,
    /// What is held and cannot be taken over, and why.
    pub refused: Vec<String>,
}

/// Looks through the inventories of the nodes that answer. `is_foreign` says whether the store
/// has nothing to do with an assembly; `racks` are the labels of nodes.
#[must_use]
pub fn survey(
    inventories: &[&Inventory],
    is_foreign: impl Fn(&Assembly) -> bool,
    racks: &BTreeMap<String, String>,
    now_ms: u64,
) -> Survey {
    let mut survey = Survey::default();
    let found = Found::in_all(inventories, is_foreign);
    let mut in_use: BTreeMap<&str, Vec<&Assembly>> = BTreeMap::new();
    for (assembly, found) in &found {
        if !found.volumes.is_empty() {
            in_use.entry(assembly.name.as_str()).or_default().push(assembly);
        }
    }
    for (assembly, found) in &found {
        let rivals = in_use.get(assembly.name.as_str()).map_or(&[][..], Vec::as_slice);
        let looked = Look { assembly, found, inventories, racks, now_ms };
        let adopted = match rivals {
            // Memory of an earlier generation that a later one uses.
            [user] if *user != assembly && found.volumes.is_empty() => continue,
            [] => Err(looked.unused()),
            [_] => looked.adopt(),
            _ => Err("more than one assembly of this name is in use".to_owned()),
        };
        match adopted {
            Ok(record) => survey.pools.push(record),
            Err(why) => survey.refused.push(format!("{assembly}: {why}")),
        }
    }
    survey
}

/// Where the parts of one assembly are.
#[derive(Default)]
struct Found<'a> {
    /// Nodes with its volume.
    volumes: Vec<(&'a str, &'a Holding)>,
    mounts: Vec<&'a Holding>,
    /// Nodes that let its job in.
    admitted: BTreeSet<&'a str>,
    /// Every node that holds anything of it.
    holders: BTreeSet<&'a str>,
}

impl<'a> Found<'a> {
    fn in_all(
        inventories: &[&'a Inventory],
        is_foreign: impl Fn(&Assembly) -> bool,
    ) -> BTreeMap<Assembly, Self> {
        let mut all: BTreeMap<Assembly, Self> = BTreeMap::new();
        for inventory in inventories {
            for holding in &inventory.holdings {
                let Some(Ok(of)) = holding.pool.as_ref().map(Assembly::try_from) else { continue };
                if !is_foreign(&of) {
                    continue;
                }
                let found = all.entry(of).or_default();
                found.holders.insert(&inventory.node);
                match holding.kind() {
                    HoldingKind::Volume => found.volumes.push((&inventory.node, holding)),
                    HoldingKind::Mount => found.mounts.push(holding),
                    HoldingKind::Job => {
                        found.admitted.insert(&inventory.node);
                    }
                    _ => {}
                }
            }
        }
        all
    }
}

/// A donor's memory, as it says itself.
struct Memory {
    bytes: u64,
    generation: u32,
    backend: Backend,
}

struct Look<'a> {
    assembly: &'a Assembly,
    found: &'a Found<'a>,
    inventories: &'a [&'a Inventory],
    racks: &'a BTreeMap<String, String>,
    now_ms: u64,
}

impl Look<'_> {
    fn unused(&self) -> String {
        let holders: Vec<&str> = self.found.holders.iter().copied().collect();
        format!(
            "{} hold parts of it, and no node that answers has it in use; if none that is silent \
             has, `rampool reap` removes them",
            holders.join(", ")
        )
    }

    fn inventory(&self, node: &str) -> Option<&Inventory> {
        self.inventories.iter().find(|inventory| inventory.node == node).copied()
    }

    fn adopt(&self) -> Result<PoolRecord, String> {
        let (head, volume) = match self.found.volumes.as_slice() {
            [(head, volume)] => (*head, *volume),
            _ => return Err("more than one node has its volume".to_owned()),
        };
        let health = volume.health.as_ref();
        let health = health.ok_or_else(|| format!("{head} does not say of what its volume is"))?;
        let members = self.members(health)?;
        let pieces = self.pieces(head, &members.places, &members.lacking)?;
        let spares = self.pieces(head, &members.spares, &BTreeSet::new())?;
        let redundancy = health.redundancy();
        if !survives(redundancy, pieces.len(), |place| members.lacking.contains(&place)) {
            return Err("its volume lacks more than it bears: its data is lost".to_owned());
        }
        let filesystem = self.filesystem(head, volume)?;
        let placement = self.placement(head, volume, filesystem, health, pieces, spares);
        let generation = self.assembly.generation;
        let carved = |piece: &Piece| if piece.carved == 0 { generation } else { piece.carved };
        // Memory of later numbers joined since.
        let oldest = placement.pieces.iter().map(carved).min();
        let formed = oldest.map_or(generation, |oldest| oldest.min(generation));
        let lent = placement.pieces.iter().chain(&placement.spares);
        let nodes = placement.pieces.iter().chain(&placement.spares).map(|p| p.donor.as_str());
        let boot_id = |node: &str| Some((node.to_owned(), self.inventory(node)?.boot_id.clone()));
        let owed = |place: &usize| Debt {
            node: placement.pieces[*place].donor.clone(),
            what: Owed::Piece { generation, carved: placement.pieces[*place].carved },
        };
        Ok(PoolRecord {
            assembly: self.assembly.clone(),
            boot_ids: nodes.chain([head]).filter_map(boot_id).collect(),
            serials: members.serials,
            formed: if formed == generation { 0 } else { formed },
            given: lent.map(|piece| piece.carved).max().unwrap_or(0),
            debts: members.lacking.iter().map(owed).collect(),
            lacking: members.lacking,
            spec: self.spec(&placement),
            placement,
            phase: Phase::Ready,
            created_ms: self.now_ms,
            ready_ms: self.now_ms,
            released_ms: 0,
        })
    }

    /// Who is in which place. A faulty member stands in its place or beside it, where the place
    /// is then said to be empty.
    fn members(&self, health: &VolumeHealth) -> Result<Members, String> {
        let mut members = Members::default();
        let mut faulty = Vec::new();
        let mut empty = Vec::new();
        for member in &health.members {
            let named = || match member.donor.as_str() {
                "" => Err("a disk of its volume has no session any more".to_owned()),
                donor => Ok(donor.to_owned()),
            };
            match member.state() {
                MemberState::InSync => members.places.push(named()?),
                MemberState::Spare => members.spares.push(named()?),
                MemberState::Faulty => faulty.push(named()?),
                MemberState::Missing => {
                    empty.push(members.places.len());
                    members.places.push(String::new());
                }
                MemberState::Rebuilding | MemberState::Unspecified => {
                    return Err("it is being rebuilt; try again when that has ended".to_owned());
                }
            }
            if !member.serial.is_empty() {
                members.serials.insert(member.donor.clone(), member.serial.clone());
            }
        }
        if faulty.len() > empty.len() || (!is_redundant(health.redundancy()) && !empty.is_empty()) {
            return Err(format!("its volume lost {}", faulty.join(", ")));
        }
        // Donors that export it and are no members were cut off or replaced.
        let strangers = self.strangers(&members);
        let lost = if faulty.len() == empty.len() { faulty } else { strangers };
        if lost.len() != empty.len() {
            return Err("it lacks donors that nobody can name any more".to_owned());
        }
        for (place, donor) in empty.iter().zip(lost) {
            members.places[*place] = donor;
        }
        members.lacking = empty.into_iter().collect();
        Ok(members)
    }

    fn strangers(&self, members: &Members) -> Vec<String> {
        let id = PoolId::from(self.assembly);
        let exports = |inventory: &&&Inventory| {
            inventory
                .holdings
                .iter()
                .any(|h| h.kind() == HoldingKind::Export && h.pool.as_ref() == Some(&id))
        };
        let known = |node: &String| members.places.contains(node) || members.spares.contains(node);
        let nodes = self.inventories.iter().filter(exports).map(|found| found.node.clone());
        nodes.filter(|node| !known(node)).collect()
    }

    /// Nodes that mount the head's file system.
    fn clients(&self) -> Vec<Client> {
        let id = PoolId::from(self.assembly);
        let mounts = |holding: &Holding| {
            holding.kind() == HoldingKind::ShareMount && holding.pool.as_ref() == Some(&id)
        };
        let clients = self.inventories.iter().filter(|node| node.holdings.iter().any(mounts));
        clients
            .map(|node| Client { node: node.node.clone(), address: node.data_address.clone() })
            .collect()
    }

    fn spec(&self, placement: &Placement) -> PoolSpec {
        let job = self.job(placement);
        let own = job.as_ref().filter(|job| !job.outside);
        // No other node takes a lost one's place.
        let among = own.map_or_else(String::new, |job| job.nodes.clone());
        PoolSpec { job, among, ..spec_of(self.assembly, placement) }
    }

    /// The job whose pool it is, by its name: of the nodes that have it mounted. A head that did
    /// not let the job in, where others did, serves it alone.
    fn job(&self, placement: &Placement) -> Option<Job> {
        let (job, run) = self.assembly.name.job()?;
        let admitted = &self.found.admitted;
        let head = Some(placement.head.as_str());
        let head = head.filter(|head| admitted.is_empty() || admitted.contains(head));
        let nodes = head.into_iter().chain(placement.clients.iter().map(|client| &*client.node));
        let nodes = HostList::from_names(nodes).unwrap_or_default();
        let mut lent = placement.pieces.iter().chain(&placement.spares);
        let outside = lent.all(|piece| !nodes.contains(&piece.donor));
        // Of which cluster, its hooks say each time.
        let id = Some(JobId { job, ..JobId::default() });
        Some(Job { id, run, nodes: nodes.to_string(), outside })
    }

    /// The donors' pieces. Who is lacking need not answer: what it holds is owed.
    fn pieces(
        &self,
        head: &str,
        donors: &[String],
        lacking: &BTreeSet<usize>,
    ) -> Result<Vec<Piece>, String> {
        let known = donors.iter().find_map(|donor| self.memory(donor).ok());
        let size = known.map_or(0, |memory| memory.bytes);
        let piece = |(place, donor): (usize, &String)| {
            let generation = self.assembly.generation;
            let (bytes, carved) = match self.memory(donor) {
                Ok(memory) => (memory.bytes, memory.generation),
                Err(_) if lacking.contains(&place) => (size, generation),
                Err(why) => return Err(why),
            };
            Ok(Piece {
                donor: donor.clone(),
                bytes,
                local: donor == head,
                carved: if carved == generation { 0 } else { carved },
                rack: self.racks.get(donor).cloned().unwrap_or_default(),
                lendable_bytes: 0,
            })
        };
        donors.iter().enumerate().map(piece).collect()
    }

    /// The donor's memory behind its export: of this generation, of an earlier one, or under a
    /// number of its own.
    fn memory(&self, donor: &str) -> Result<Memory, String> {
        let Some(inventory) = self.inventory(donor) else {
            return Err(format!("{donor} does not answer; try again when it does"));
        };
        let of_name = |holding: &&Holding| {
            let id = holding.pool.as_ref();
            holding.kind() == HoldingKind::Ramdisk
                && id.is_some_and(|id| id.name == self.assembly.name.as_str())
        };
        let ramdisks: Vec<&Holding> = inventory.holdings.iter().filter(of_name).collect();
        match ramdisks.as_slice() {
            [ramdisk] => Ok(Memory {
                bytes: ramdisk.bytes,
                generation: ramdisk.pool.as_ref().map_or(0, |id| id.generation),
                backend: backend_of(&ramdisk.detail),
            }),
            [] => Err(format!("{donor} no longer holds its piece")),
            _ => Err(format!("{donor} holds more than one piece of this name")),
        }
    }

    /// What the head has mounted, or gave to a user as it is.
    fn filesystem(&self, head: &str, volume: &Holding) -> Result<FilesystemKind, String> {
        let Some(mount) = self.found.mounts.first() else {
            return match volume.filesystem() {
                FilesystemKind::None => Ok(FilesystemKind::None),
                _ => Err(format!(
                    "{head} has its volume, and nothing of it mounted: whether it carries a file \
                     system, or is a bare device of root's, cannot be known; if nobody needs it, \
                     `rampool reap {head}` removes it, and then what its donors hold"
                )),
            };
        };
        match mount.filesystem() {
            kind @ (FilesystemKind::Xfs | FilesystemKind::Ext4) => Ok(kind),
            _ => Err(format!(
                "{head} does not say which file system is mounted on {}: it is none that pools \
                 have, or its agent is older than this controller",
                mount.detail
            )),
        }
    }

    fn placement(
        &self,
        head: &str,
        volume: &Holding,
        filesystem: FilesystemKind,
        health: &VolumeHealth,
        pieces: Vec<Piece>,
        spares: Vec<Piece>,
    ) -> Placement {
        let redundancy = health.redundancy();
        let mount = self.found.mounts.first();
        let lent = pieces.len() + spares.len();
        let halves = data_halves(redundancy, pieces.len());
        let first = pieces.iter().find_map(|piece| self.memory(&piece.donor).ok());
        Placement {
            head: head.to_owned(),
            backend: first.map_or(Backend::Unspecified, |memory| memory.backend).into(),
            layout: health.layout,
            filesystem: filesystem.into(),
            chunk_kib: health.chunk_kib,
            mount_point: mount.map(|mount| mount.detail.clone()).unwrap_or_default(),
            usable_bytes: volume.bytes,
            patience_seconds: if is_redundant(redundancy) {
                BUILT_IN_REDUNDANT_PATIENCE_SECONDS
            } else {
                BUILT_IN_PATIENCE_SECONDS
            },
            notes: vec!["taken over from what nodes hold".to_owned()],
            redundancy: if redundancy == Redundancy::Unspecified {
                Redundancy::None.into()
            } else {
                health.redundancy
            },
            group_width: group_width(redundancy, pieces.len()),
            usable_share: halves as f64 / (2 * lent.max(1)) as f64,
            pieces,
            spares,
            clients: self.clients(),
            head_address: self.inventory(head).map_or_else(String::new, |i| i.data_address.clone()),
        }
    }
}

/// Donors by their places, as the volume names them.
#[derive(Default)]
struct Members {
    places: Vec<String>,
    spares: Vec<String>,
    serials: BTreeMap<String, String>,
    lacking: BTreeSet<usize>,
}

/// What an agent says first of a ramdisk.
fn backend_of(detail: &str) -> Backend {
    match detail.split(',').next() {
        Some("rd_mcp") => Backend::RdMcp,
        Some("tmpfs") => Backend::Tmpfs,
        Some("brd") => Backend::Brd,
        _ => Backend::Unspecified,
    }
}

/// What must have been asked for, as far as it can be known.
fn spec_of(assembly: &Assembly, placement: &Placement) -> PoolSpec {
    let all = || placement.pieces.iter().chain(&placement.spares);
    let donors = HostList::from_names(all().map(|piece| piece.donor.as_str()));
    let bytes = placement.pieces.first().map_or(0, |piece| piece.bytes);
    let clients = HostList::from_names(placement.clients.iter().map(|client| &*client.node));
    PoolSpec {
        clients: clients.map(|list| list.to_string()).unwrap_or_default(),
        name: assembly.name.to_string(),
        profile: "default".to_owned(),
        capacity: Some(Capacity::SizePerDonorBytes(bytes)),
        head: placement.head.clone(),
        // Names of nodes that answered are fit for a list.
        donors: donors.map(|list| list.to_string()).unwrap_or_default(),
        backend: placement.backend,
        layout: placement.layout,
        filesystem: placement.filesystem,
        chunk_kib: placement.chunk_kib,
        mount_point: placement.mount_point.clone(),
        owner: OWNER.to_owned(),
        patience_seconds: placement.patience_seconds,
        head_may_lend: all().any(|piece| piece.local),
        redundancy: placement.redundancy,
        spares: Some(u32::try_from(placement.spares.len()).unwrap_or(u32::MAX)),
        auto_replace: Some(is_redundant(placement.redundancy())),
        at_expiry: AtExpiry::Keep.into(),
        ..PoolSpec::default()
    }
}

#[cfg(test)]
#[path = "recover_tests.rs"]
mod tests;
