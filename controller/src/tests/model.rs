//! What nodes hold and how agents answer, in memory and without time: a plain stand-in for
//! kernels in tests alone. A ramdisk remembers what a superblock would.

use std::collections::{BTreeMap, BTreeSet};

use rampool_proto::pool_name::Assembly;
use rampool_proto::v1::create_export_request::Way as WireWay;
use rampool_proto::v1::{
    AssembleVolumeRequest, CreateExportRequest, Export, Failure, FailureKind, FilesystemKind,
    Holder, Holding, HoldingKind, Inventory, Member, MemberState, Memory, PoolId,
    ReaddMembersResponse, Redundancy, Usage, VolumeHealth,
};

use crate::agents::{Answer, Call};
use crate::planner::redundancy::survives;

pub(crate) const GIB: u64 = 1 << 30;

/// A donor's memory.
#[derive(Clone, Default, Debug, PartialEq)]
struct Disk {
    bytes: u64,
    /// Its place in a volume and that volume's width, as its superblock says.
    place: Option<(usize, usize)>,
}

/// A target. Its secret is drawn when it is made.
#[derive(Clone, Debug, PartialEq)]
struct Way {
    /// Whose memory it shows.
    carved: Assembly,
    secret: (u32, u32),
    /// Whether the head may log in.
    open: bool,
}

/// A head's session with a donor: of no use once the target is another one.
#[derive(Clone, Debug, PartialEq)]
struct Session {
    /// Of the disk that it was opened for.
    serial: String,
    secret: (u32, u32),
}

/// What a head holds of one assembly.
#[derive(Clone, Default, Debug, PartialEq)]
struct Head {
    /// By donor.
    sessions: BTreeMap<String, Session>,
    volume: Option<Volume>,
    mount: bool,
    /// To clients of these addresses, which are names here.
    shared: Option<BTreeSet<String>>,
    shut: bool,
}

#[derive(Clone, Default, Debug, PartialEq)]
struct Volume {
    redundancy: i32,
    /// Serials by place.
    members: Vec<Option<String>>,
    spares: BTreeSet<String>,
}

/// One node.
#[derive(Clone, Debug)]
pub(crate) struct ModelNode {
    boot: u32,
    pub(crate) alive: bool,
    pub(crate) memory: u64,
    pub(crate) mount_in_use: bool,
    /// By the assembly under which the memory was taken.
    disks: BTreeMap<Assembly, Disk>,
    /// Targets, by the assembly whose head each is for.
    exports: BTreeMap<Assembly, Way>,
    /// How many secrets were drawn since the boot.
    drawn: u32,
    /// Heads that are kept away for good.
    fences: BTreeSet<Assembly>,
    heads: BTreeMap<Assembly, Head>,
    /// Shares mounted here.
    share_mounts: BTreeSet<Assembly>,
}

impl ModelNode {
    fn new() -> Self {
        Self {
            boot: 1,
            alive: true,
            memory: 4 * GIB,
            mount_in_use: false,
            disks: BTreeMap::new(),
            exports: BTreeMap::new(),
            drawn: 0,
            fences: BTreeSet::new(),
            heads: BTreeMap::new(),
            share_mounts: BTreeSet::new(),
        }
    }

    /// A power cut.
    pub(crate) fn reboot(&mut self) {
        *self = Self { boot: self.boot + 1, memory: self.memory, ..Self::new() };
    }

    /// Puts an export here behind the controller's back.
    pub(crate) fn plant_export(&mut self, assembly: &Assembly) {
        self.disks.insert(assembly.clone(), Disk { bytes: GIB, place: None });
        self.show(assembly, assembly, true);
    }

    /// Makes a target, unless there is one; one that is open stays so.
    fn show(&mut self, target: &Assembly, carved: &Assembly, open: bool) {
        self.drawn += 1;
        let way = Way { carved: carved.clone(), secret: (self.boot, self.drawn), open };
        self.exports.entry(target.clone()).or_insert(way).open |= open;
    }

    fn shows(&self, carved: &Assembly) -> bool {
        self.exports.values().any(|way| way.carved == *carved)
    }

    /// Every assembly that it holds anything of.
    pub(crate) fn assemblies(&self) -> BTreeSet<Assembly> {
        let donated = self.disks.keys().chain(self.exports.keys());
        donated.chain(self.heads.keys()).chain(&self.share_mounts).cloned().collect()
    }
}

/// All nodes, by name.
#[derive(Clone, Debug)]
pub(crate) struct ModelNodes(pub(crate) BTreeMap<String, ModelNode>);

fn serial(carved: &Assembly, donor: &str) -> String {
    format!("{carved}@{donor}")
}

fn parse_serial(serial: &str) -> (Assembly, &str) {
    let (carved, donor) = serial.split_once('@').unwrap();
    (carved.parse().unwrap(), donor)
}

fn of(id: Option<&PoolId>) -> Assembly {
    Assembly::try_from(id.unwrap()).unwrap()
}

/// The assembly under which a request's memory was taken.
fn carved(assembly: &Assembly, carved: u32) -> Assembly {
    let generation = if carved == 0 { assembly.generation } else { carved };
    Assembly { name: assembly.name.clone(), generation }
}

/// An agent's refusals.
struct Refuse<'a>(&'a str, &'a Call);

impl Refuse<'_> {
    fn as_kind<T>(&self, kind: FailureKind, said: &str) -> Result<T, Failure> {
        Err(Failure::new(kind, self.1.words()).on(self.0).saying(said))
    }
}

impl ModelNodes {
    pub(crate) fn new(names: &[&str]) -> Self {
        Self(names.iter().map(|name| ((*name).to_owned(), ModelNode::new())).collect())
    }

    pub(crate) fn node(&mut self, name: &str) -> &mut ModelNode {
        self.0.get_mut(name).unwrap()
    }

    /// What is held, as "node assembly".
    pub(crate) fn held(&self) -> BTreeSet<String> {
        let of_node = |(name, node): (&String, &ModelNode)| {
            let name = name.clone();
            let held = node.assemblies().into_iter();
            held.map(move |held| format!("{name} {held}")).collect::<Vec<_>>()
        };
        self.0.iter().flat_map(of_node).collect()
    }

    /// The memory and the targets that a node lends, as "target of memory".
    pub(crate) fn lends(&self, name: &str) -> BTreeSet<String> {
        let node = &self.0[name];
        let shown = node.exports.iter().map(|(target, way)| format!("{target} of {}", way.carved));
        let hidden = |disk: &&Assembly| !node.shows(disk);
        let hidden = node.disks.keys().filter(hidden).map(|disk| format!("none of {disk}"));
        shown.chain(hidden).collect()
    }

    /// Whether a node has a pool mounted.
    pub(crate) fn is_mounted(&self, name: &str, assembly: &Assembly) -> bool {
        self.0[name].heads.get(assembly).is_some_and(|head| head.mount)
    }

    /// Whether a node holds anything as a head.
    pub(crate) fn has_head(&self, name: &str) -> bool {
        !self.0[name].heads.is_empty()
    }

    /// Whether a client has a pool mounted.
    pub(crate) fn mounts_share(&self, name: &str, assembly: &Assembly) -> bool {
        self.0[name].share_mounts.contains(assembly)
    }

    /// Whether a client that is alive holds a pool's head back.
    fn is_used_by_clients(&self, assembly: &Assembly) -> bool {
        self.0.values().any(|node| node.alive && node.share_mounts.contains(assembly))
    }

    /// Whether a head is logged in to a donor.
    pub(crate) fn has_session(&self, head: &str, assembly: &Assembly, donor: &str) -> bool {
        let head = self.0[head].heads.get(assembly);
        head.is_some_and(|head| head.sessions.contains_key(donor))
    }

    /// The place, of how many, as whose member a piece of memory was filled.
    pub(crate) fn filled(&self, donor: &str, carved: &Assembly) -> Option<(usize, usize)> {
        self.0[donor].disks.get(carved)?.place
    }

    /// Whether a node has this memory.
    pub(crate) fn has(&self, donor: &str, carved: &Assembly) -> bool {
        self.0[donor].disks.contains_key(carved)
    }

    /// Whether a node has this memory and shows it to that head.
    pub(crate) fn has_piece(&self, donor: &str, carved: &Assembly, target: &Assembly) -> bool {
        let shown = self.0[donor].exports.get(target).is_some_and(|way| way.carved == *carved);
        shown && self.has(donor, carved)
    }

    /// The memory that a head reaches under this serial, if its session is up.
    fn reached(&self, assembly: &Assembly, head: &Head, serial: &str) -> Option<&Disk> {
        let (carved, donor) = parse_serial(serial);
        let session = head.sessions.get(donor).filter(|session| session.serial == serial)?;
        let way = self.0[donor].exports.get(assembly)?;
        let up = way.secret == session.secret && way.carved == carved;
        self.0[donor].disks.get(&carved).filter(|_| up)
    }

    /// Whether a head has a pool's volume, and if so, whether that works.
    pub(crate) fn works(&self, name: &str, assembly: &Assembly) -> Option<bool> {
        let head = self.0[name].heads.get(assembly)?;
        head.volume.as_ref()?;
        Some(self.has_usable_set(assembly, head))
    }

    /// Members of volumes behind which their heads find memory that was never filled for them.
    pub(crate) fn blank_members(&self) -> Vec<String> {
        let mut blank = Vec::new();
        for (assembly, head) in self.0.values().flat_map(|node| &node.heads) {
            let Some(Volume { members, .. }) = &head.volume else { continue };
            for (at, serial) in members.iter().enumerate() {
                let Some(serial) = serial else { continue };
                let disk = self.reached(assembly, head, serial);
                if disk.is_some_and(|disk| disk.place != Some((at, members.len()))) {
                    blank.push(serial.clone());
                }
            }
        }
        blank
    }

    /// Heads that could write to all of a pool now: mounted, not shut, and with access to a
    /// usable set of members.
    pub(crate) fn writers(&self) -> Vec<(String, Assembly)> {
        let mut writers = Vec::new();
        for (name, node) in &self.0 {
            for (assembly, head) in &node.heads {
                if head.mount && !head.shut && self.has_usable_set(assembly, head) {
                    writers.push((name.clone(), assembly.clone()));
                }
            }
        }
        writers
    }

    fn has_usable_set(&self, assembly: &Assembly, head: &Head) -> bool {
        let Some(volume) = &head.volume else { return false };
        let width = volume.members.len();
        let served = |at: usize| {
            let disk = self.reached(assembly, head, volume.members[at].as_ref()?)?;
            (disk.place? == (at, width)).then_some(())
        };
        let lost = |at: usize| served(at).is_none();
        survives(redundancy(volume.redundancy), volume.members.len(), lost)
    }

    /// Whether this memory is part of what a head has mounted.
    pub(crate) fn is_in_use(&self, donor: &str, carved: &Assembly, under: &Assembly) -> bool {
        let there = self.0[donor].disks.contains_key(carved);
        let serial = serial(carved, donor);
        self.0.values().filter_map(|node| node.heads.get(under)).any(|head| {
            let volume = head.volume.as_ref();
            there
                && head.mount
                && !head.shut
                && volume.is_some_and(|v| v.members.contains(&Some(serial.clone())))
        })
    }

    fn disk(&self, serial: &str) -> Option<&Disk> {
        let (carved, donor) = parse_serial(serial);
        self.0[donor].disks.get(&carved)
    }

    fn set_place(&mut self, serial: &str, place: Option<(usize, usize)>) {
        let (carved, donor) = parse_serial(serial);
        if let Some(disk) = self.node(donor).disks.get_mut(&carved) {
            disk.place = place;
        }
    }

    pub(crate) fn inventory(&self, name: &str) -> Result<Inventory, Failure> {
        let node = &self.0[name];
        if !node.alive {
            return Err(unreachable(name));
        }
        let lent: u64 = node.disks.values().map(|disk| disk.bytes).sum();
        Ok(Inventory {
            node: name.to_owned(),
            boot_id: format!("boot-{}", node.boot),
            agent_version: env!("CARGO_PKG_VERSION").to_owned(),
            memory: Some(Memory {
                total_bytes: node.memory + GIB,
                available_bytes: node.memory + GIB - lent.min(node.memory),
                lendable_bytes: node.memory.saturating_sub(lent),
                floor_bytes: GIB,
                lent_bytes: lent,
            }),
            holdings: self.holdings(node),
            certificate_ends_ms: u64::MAX,
            ..Inventory::default()
        })
    }

    fn holdings(&self, node: &ModelNode) -> Vec<Holding> {
        let holding = |assembly: &Assembly, kind: HoldingKind| Holding {
            pool: Some(PoolId::from(assembly)),
            kind: kind.into(),
            ..Holding::default()
        };
        let mounts = node.share_mounts.iter();
        let mut found: Vec<Holding> =
            mounts.map(|assembly| holding(assembly, HoldingKind::ShareMount)).collect();
        for (carved, disk) in &node.disks {
            let ramdisk = holding(carved, HoldingKind::Ramdisk);
            found.push(Holding { bytes: disk.bytes, ..ramdisk });
        }
        found.extend(node.exports.keys().map(|target| holding(target, HoldingKind::Export)));
        for (assembly, head) in &node.heads {
            for (donor, session) in &head.sessions {
                let up = self.reached(assembly, head, &session.serial).is_some();
                found.push(Holding {
                    name: format!("iqn.2026-11.org.rampool:{assembly}.{donor}"),
                    detail: if up { "LOGGED_IN" } else { "FREE" }.to_owned(),
                    donor: donor.clone(),
                    ..holding(assembly, HoldingKind::Session)
                });
            }
            if let Some(volume) = &head.volume {
                let health = Some(self.health(assembly, head, volume));
                found.push(Holding { health, ..holding(assembly, HoldingKind::Volume) });
            }
            if head.mount {
                let detail = format!("/rampool/{}", assembly.name);
                let filesystem = FilesystemKind::Xfs.into();
                found.push(Holding { detail, filesystem, ..holding(assembly, HoldingKind::Mount) });
            }
        }
        found
    }

    fn health(&self, assembly: &Assembly, head: &Head, volume: &Volume) -> VolumeHealth {
        let member = |serial: &Option<String>| match serial {
            None => Member { state: MemberState::Missing.into(), ..Member::default() },
            Some(serial) => {
                let donor = parse_serial(serial).1.to_owned();
                let up = self.reached(assembly, head, serial).is_some();
                let state = if up { MemberState::InSync } else { MemberState::Faulty };
                Member { serial: serial.clone(), donor, state: state.into() }
            }
        };
        let spare = |serial: &String| Member {
            serial: serial.clone(),
            donor: parse_serial(serial).1.to_owned(),
            state: MemberState::Spare.into(),
        };
        let members: Vec<Member> = volume.members.iter().map(member).collect();
        let out = members.iter().filter(|member| member.state() != MemberState::InSync).count();
        VolumeHealth {
            redundancy: volume.redundancy,
            lacking: u32::try_from(out).unwrap(),
            members: members.into_iter().chain(volume.spares.iter().map(spare)).collect(),
            ..VolumeHealth::default()
        }
    }

    /// Does what a call asks, as an agent would.
    pub(crate) fn carry_out(&mut self, name: &str, call: &Call) -> Result<Answer, Failure> {
        if !self.0[name].alive {
            return Err(unreachable(name));
        }
        let answer = self.apply(name, call);
        self.node(name).heads.retain(|_, head| *head != Head::default());
        answer
    }

    fn apply(&mut self, name: &str, call: &Call) -> Result<Answer, Failure> {
        let refuse = Refuse(name, call);
        match call {
            Call::GetInventory => {
                self.inventory(name).map(|inventory| Answer::Inventory(Box::new(inventory)))
            }
            Call::CreateExport(request) => self.create_export(name, request, &refuse),
            Call::FenceExport(request) => {
                let (assembly, node) = (of(request.pool.as_ref()), self.node(name));
                node.exports.remove(&assembly);
                node.fences.insert(assembly);
                Ok(Answer::Done)
            }
            Call::DestroyExport(request) => {
                let target = of(request.pool.as_ref());
                let carved = carved(&target, request.carved);
                self.destroy_export(name, &target, &carved, request.force, &refuse)
            }
            Call::Attach(request) => {
                let assembly = of(request.pool.as_ref());
                self.attach(name, &assembly, &request.exports, &refuse)
            }
            Call::AssembleVolume(request) => self.assemble(name, request, &refuse),
            Call::ReplaceMember(request) => {
                let assembly = of(request.pool.as_ref());
                self.replace(name, &assembly, &request.old_serial, &request.new_serial, &refuse)
            }
            Call::MountShare(request) => {
                let assembly = of(request.pool.as_ref());
                let head = &self.0[&request.head];
                let shared = head.heads.get(&assembly).and_then(|head| head.shared.as_ref());
                if !head.alive || !shared.is_some_and(|clients| clients.contains(name)) {
                    return refuse.as_kind(FailureKind::Failed, "access denied");
                }
                self.node(name).share_mounts.insert(assembly);
                Ok(Answer::Done)
            }
            Call::UnmountShare(request) => {
                let assembly = of(request.pool.as_ref());
                self.unmount_share(name, &assembly, request.force, &refuse)
            }
            Call::Unmount(request) => {
                let assembly = of(request.pool.as_ref());
                self.unmount_share(name, &assembly, request.force, &refuse)?;
                let head = self.0[name].heads.get(&assembly);
                let shared = head.is_some_and(|head| head.shared.is_some());
                if !request.force && shared && self.is_used_by_clients(&assembly) {
                    return refuse.as_kind(FailureKind::Busy, "clients are connected");
                }
                self.apply_to_head(name, call, &refuse)
            }
            _ => self.apply_to_head(name, call, &refuse),
        }
    }

    fn unmount_share(
        &mut self,
        name: &str,
        assembly: &Assembly,
        force: bool,
        refuse: &Refuse<'_>,
    ) -> Result<Answer, Failure> {
        let node = self.node(name);
        if node.share_mounts.contains(assembly) && node.mount_in_use && !force {
            return refuse.as_kind(FailureKind::Busy, "it is in use");
        }
        node.share_mounts.remove(assembly);
        Ok(Answer::Unmounted(Vec::new()))
    }

    fn attach(
        &mut self,
        name: &str,
        assembly: &Assembly,
        exports: &[Export],
        refuse: &Refuse<'_>,
    ) -> Result<Answer, Failure> {
        let mut head = self.0[name].heads.get(assembly).cloned().unwrap_or_default();
        for export in exports {
            let (carved, donor) = parse_serial(&export.serial);
            let node = &self.0[donor];
            let way = node
                .exports
                .get(assembly)
                .filter(|way| node.alive && way.open && way.carved == carved);
            let Some(way) = way else {
                return refuse.as_kind(FailureKind::Failed, "no such target");
            };
            let new = Session { serial: export.serial.clone(), secret: way.secret };
            if *head.sessions.entry(donor.to_owned()).or_insert(new.clone()) != new {
                return refuse.as_kind(FailureKind::Failed, "its session is FREE");
            }
        }
        self.node(name).heads.insert(assembly.clone(), head);
        Ok(Answer::Done)
    }

    fn create_export(
        &mut self,
        name: &str,
        request: &CreateExportRequest,
        refuse: &Refuse<'_>,
    ) -> Result<Answer, Failure> {
        let target = of(request.pool.as_ref());
        let carved = carved(&target, request.carved);
        let node = self.node(name);
        if carved < target && !node.disks.contains_key(&carved) {
            return refuse.as_kind(FailureKind::NotFound, "no such ramdisk");
        }
        if node.exports.iter().any(|(other, way)| *other != target && way.carved == carved) {
            return refuse.as_kind(FailureKind::Conflict, "another target shows it");
        }
        if node.exports.get(&target).is_some_and(|way| way.carved != carved) {
            return refuse.as_kind(FailureKind::Conflict, "its target shows other memory");
        }
        if node.fences.contains(&target) {
            return refuse.as_kind(FailureKind::Conflict, "that head was fenced");
        }
        let new = Disk { bytes: request.bytes, place: None };
        node.disks.entry(carved.clone()).or_insert(new);
        let reserved = matches!(request.way, Some(WireWay::Reserved(_)));
        node.show(&target, &carved, !reserved);
        Ok(Answer::Export(Export {
            donor: name.to_owned(),
            bytes: request.bytes,
            serial: serial(&carved, name),
            carved: request.carved,
            ..Export::default()
        }))
    }

    fn destroy_export(
        &mut self,
        name: &str,
        target: &Assembly,
        carved: &Assembly,
        force: bool,
        refuse: &Refuse<'_>,
    ) -> Result<Answer, Failure> {
        let shown = serial(carved, name);
        let in_session = self.0.values().filter(|node| node.alive).any(|node| {
            let mut heads = node.heads.iter();
            heads.any(|(of, head)| self.reached(of, head, &shown).is_some())
        });
        if in_session && !force {
            return refuse.as_kind(FailureKind::Conflict, "a session is logged in");
        }
        let node = self.node(name);
        node.exports.retain(|_, way| way.carved != *carved);
        let moot = |fenced: &Assembly| {
            fenced.name == target.name && fenced.generation <= target.generation
        };
        node.fences.retain(|fenced| !moot(fenced));
        let freed = node.disks.remove(carved).map_or(0, |disk| disk.bytes);
        Ok(Answer::Freed(freed))
    }

    fn assemble(
        &mut self,
        name: &str,
        request: &AssembleVolumeRequest,
        refuse: &Refuse<'_>,
    ) -> Result<Answer, Failure> {
        let assembly = of(request.pool.as_ref());
        let head = self.0[name].heads.get(&assembly).cloned().unwrap_or_default();
        let coming = request.replacing.as_ref().map(|replacing| &replacing.new_serial);
        let named = || request.serials.iter().chain(&request.spares).chain(coming);
        if named().any(|serial| self.reached(&assembly, &head, serial).is_none()) {
            return refuse.as_kind(FailureKind::Failed, "no such disk");
        }
        let answer = Ok(Answer::Volume("/dev/fake".into(), GIB));
        if head.volume.is_some() {
            return answer;
        }
        let width = request.serials.len();
        if request.formed == 0 {
            for (place, serial) in request.serials.iter().enumerate() {
                self.set_place(serial, Some((place, width)));
            }
        }
        let placed = named().filter_map(|serial| Some((self.disk(serial)?.place?, serial)));
        let placed: BTreeMap<(usize, usize), &String> = placed.collect();
        let width = placed.keys().next().map_or(0, |(_, width)| *width);
        let member = |place| placed.get(&(place, width)).map(|serial| (*serial).clone());
        let members: Vec<Option<String>> = (0..width).map(member).collect();
        if width == 0
            || !survives(redundancy(request.redundancy), width, |at| members[at].is_none())
        {
            return refuse.as_kind(FailureKind::Failed, "too many members are missing");
        }
        let spare = |serial: &&String| !members.contains(&Some((*serial).clone()));
        let spares = request.spares.iter().chain(coming).filter(spare).cloned().collect();
        let volume = Volume { redundancy: request.redundancy, members, spares };
        self.node(name).heads.entry(assembly).or_default().volume = Some(volume);
        answer
    }

    fn replace(
        &mut self,
        name: &str,
        assembly: &Assembly,
        old: &str,
        new: &str,
        refuse: &Refuse<'_>,
    ) -> Result<Answer, Failure> {
        let head = self.0[name].heads.get(assembly).cloned().unwrap_or_default();
        let Some(mut volume) = head.volume.clone() else {
            return refuse.as_kind(FailureKind::Failed, "no volume");
        };
        let joined = Some(new.to_owned());
        if volume.members.contains(&joined) {
            return Ok(Answer::Done);
        }
        if self.reached(assembly, &head, new).is_none() {
            return refuse.as_kind(FailureKind::Failed, "no such disk");
        }
        let place = volume.members.iter().position(|member| member.as_deref() == Some(old));
        let Some(place) = place.or_else(|| volume.members.iter().position(Option::is_none)) else {
            return refuse.as_kind(FailureKind::NotFound, "no such member");
        };
        if !self.has_usable_set(assembly, &head) {
            return refuse.as_kind(FailureKind::Failed, "nothing to rebuild from");
        }
        let width = volume.members.len();
        volume.members[place] = joined;
        volume.spares.remove(new);
        if !old.is_empty() {
            self.set_place(old, None);
        }
        self.set_place(new, Some((place, width)));
        self.node(name).heads.entry(assembly.clone()).or_default().volume = Some(volume);
        Ok(Answer::Done)
    }

    /// Calls that concern nothing but what a head holds.
    fn apply_to_head(
        &mut self,
        name: &str,
        call: &Call,
        refuse: &Refuse<'_>,
    ) -> Result<Answer, Failure> {
        let in_use = self.0[name].mount_in_use;
        let head = |nodes: &mut Self, id: &Option<PoolId>| {
            nodes.node(name).heads.get(&of(id.as_ref())).cloned().unwrap_or_default()
        };
        let usage = Usage { bytes_total: GIB, bytes_free: GIB, ..Usage::default() };
        let (assembly, head, answer) = match call {
            Call::MakeFilesystem(m) if head(self, &m.pool).volume.is_none() => {
                return refuse.as_kind(FailureKind::Failed, "no volume");
            }
            Call::Mount(m) => {
                assert!(m.readme.contains("MEMORY"));
                let head = head(self, &m.pool);
                if head.volume.is_none() {
                    return refuse.as_kind(FailureKind::Failed, "no volume");
                }
                (of(m.pool.as_ref()), Head { mount: true, ..head }, Answer::Usage(usage))
            }
            Call::ShareFilesystem(m) => {
                let head = head(self, &m.pool);
                if !head.mount {
                    return refuse.as_kind(FailureKind::Failed, "it is not mounted");
                }
                let shared = Some(m.clients.iter().cloned().collect());
                (of(m.pool.as_ref()), Head { shared, ..head }, Answer::Shared("/".into()))
            }
            Call::Unmount(m) => {
                let head = head(self, &m.pool);
                if head.mount && in_use && !m.force {
                    return refuse.as_kind(FailureKind::Busy, "used by 4711 (vi, ada)");
                }
                let holder = Holder {
                    pid: 4711,
                    command: "vi".into(),
                    user: "ada".into(),
                    ..Holder::default()
                };
                let ended = if head.mount && in_use { vec![holder] } else { Vec::new() };
                let head = Head { mount: false, shared: None, shut: false, ..head };
                (of(m.pool.as_ref()), head, Answer::Unmounted(ended))
            }
            Call::StopVolume(m) => {
                let head = head(self, &m.pool);
                if head.mount {
                    return refuse.as_kind(FailureKind::Conflict, "mounted");
                }
                (of(m.pool.as_ref()), Head { volume: None, ..head }, Answer::Done)
            }
            Call::Detach(m) => {
                let assembly = of(m.pool.as_ref());
                let mut head = head(self, &m.pool);
                let meant =
                    |donor: &str| m.donors.is_empty() || m.donors.iter().any(|d| d == donor);
                let gone = |serial: &String| {
                    let donor = parse_serial(serial).1;
                    let dead = self.reached(&assembly, &head, serial).is_none();
                    meant(donor) && (dead || !self.0[donor].alive) && !m.donors.is_empty()
                };
                let mut volume = head.volume.clone();
                if let Some(volume) = &mut volume {
                    // A redundant volume is relieved of dead members.
                    let bare = redundancy(volume.redundancy) == Redundancy::None;
                    let members = volume.members.iter_mut();
                    members
                        .filter(|m| m.as_ref().is_some_and(gone) && !bare)
                        .for_each(|m| *m = None);
                    volume.spares.retain(|spare| !gone(spare));
                }
                let in_volume = |volume: &Volume| {
                    let mut all = volume.members.iter().flatten().chain(&volume.spares);
                    all.any(|serial| {
                        let donor = parse_serial(serial).1;
                        let session = head.sessions.get(donor);
                        meant(donor) && session.is_some_and(|session| session.serial == *serial)
                    })
                };
                if let Some(volume) = volume.as_mut().filter(|_| !m.donors.is_empty()) {
                    volume.spares.retain(|spare| !meant(parse_serial(spare).1));
                }
                if volume.as_ref().is_some_and(in_volume) {
                    return refuse.as_kind(FailureKind::Conflict, "in a volume");
                }
                head.volume = volume;
                head.sessions.retain(|donor, _| !meant(donor));
                (assembly, head, Answer::Done)
            }
            Call::FailVolume(m) => {
                let head = head(self, &m.pool);
                (of(m.pool.as_ref()), Head { shut: head.mount, ..head }, Answer::Done)
            }
            Call::GetUsage(m) => {
                if !head(self, &m.pool).mount {
                    return refuse.as_kind(FailureKind::NotFound, "not mounted");
                }
                return Ok(Answer::Usage(Usage { bytes_free: GIB / 2, ..usage }));
            }
            Call::ReaddMembers(_) => return Ok(Answer::Readded(ReaddMembersResponse::default())),
            _ => return Ok(Answer::Done),
        };
        self.node(name).heads.insert(assembly, head);
        Ok(answer)
    }
}

fn redundancy(value: i32) -> Redundancy {
    Redundancy::try_from(value).unwrap_or(Redundancy::None)
}

fn unreachable(name: &str) -> Failure {
    Failure::new(FailureKind::NotNow, "reach the node's agent")
        .on(name)
        .saying("connection refused")
}
