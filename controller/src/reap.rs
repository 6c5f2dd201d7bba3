//! What nodes hold of pools that this controller does not know: shown, and removed where a
//! person says so. Nothing else ever removes it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use rampool_proto::pool_name::Assembly;
use rampool_proto::v1::{
    DestroyExportRequest, DetachRequest, Failure, FailureKind, Holding, HoldingKind, Inventory,
    PoolId, StopVolumeRequest, UnmountRequest,
};

use crate::agents::{Agents, Answer, Call};

/// What a node holds of assemblies that nobody knows.
#[must_use]
pub fn unknown(inventory: &Inventory, is_known: impl Fn(&Assembly) -> bool) -> Vec<Holding> {
    let foreign = |holding: &&Holding| assembly_of(holding).is_some_and(|of| !is_known(&of));
    inventory.holdings.iter().filter(foreign).cloned().collect()
}

fn assembly_of(holding: &Holding) -> Option<Assembly> {
    holding.pool.as_ref().and_then(|id| Assembly::try_from(id).ok())
}

/// What a reaping of `wanted` assemblies (all, if none is named) would remove of `unknown`
/// holdings; refused where one is named that is not among them.
pub fn chosen(unknown: Vec<Holding>, wanted: &[String]) -> Result<Vec<Holding>, Failure> {
    if wanted.is_empty() {
        return Ok(unknown);
    }
    let of = |holding: &Holding| assembly_of(holding).map(|of| of.to_string());
    let held: BTreeSet<String> = unknown.iter().filter_map(of).collect();
    if let Some(stranger) = wanted.iter().find(|name| !held.contains(*name)) {
        let shown: String = stranger.chars().take(80).collect();
        return Err(Failure::new(FailureKind::NotFound, "find what to remove")
            .saying(format!("the node holds no unknown assembly {shown:?}"))
            .advising("without names it shows what it holds; known pools end by `rampool down`"));
    }
    Ok(unknown.into_iter().filter(|h| of(h).is_some_and(|of| wanted.contains(&of))).collect())
}

/// The calls that remove these holdings: what a head holds first, then targets and memory, the
/// latest generation first, so that no target is left on memory that goes. None of them ends
/// somebody's use.
#[must_use]
pub fn calls(holdings: &[Holding]) -> Vec<Call> {
    let mut assemblies: BTreeMap<Assembly, (bool, bool)> = BTreeMap::new();
    for holding in holdings {
        let Some(assembly) = assembly_of(holding) else { continue };
        let (head, donor) = assemblies.entry(assembly).or_default();
        match holding.kind() {
            HoldingKind::Ramdisk | HoldingKind::Export | HoldingKind::Unspecified => *donor = true,
            _ => *head = true,
        }
    }
    let latest_first = || assemblies.iter().rev();
    let of_heads = latest_first().filter(|(_, (head, _))| *head).flat_map(|(assembly, _)| {
        let pool = Some(PoolId::from(assembly));
        [
            Call::Unmount(UnmountRequest { pool: pool.clone(), force: false }),
            Call::StopVolume(StopVolumeRequest { pool: pool.clone() }),
            Call::Detach(DetachRequest { pool, donors: Vec::new() }),
        ]
    });
    let of_donors = latest_first().filter(|(_, (_, donor))| *donor).map(|(assembly, _)| {
        let pool = Some(PoolId::from(assembly));
        Call::DestroyExport(DestroyExportRequest { pool, force: false, carved: 0 })
    });
    of_heads.chain(of_donors).collect()
}

/// What `node` holds that nobody knows, of the assemblies `wanted`; removed if `apply`.
pub async fn reap(
    agents: &Arc<dyn Agents>,
    node: &str,
    wanted: &[String],
    apply: bool,
    is_known: impl Fn(&Assembly) -> bool,
) -> Result<Vec<Holding>, Failure> {
    let answer = agents.call(node, Call::GetInventory, None).await?;
    let Answer::Inventory(inventory) = answer else {
        return Err(Failure::new(FailureKind::Failed, "ask for the inventory").on(node));
    };
    let holdings = chosen(unknown(&inventory, is_known), wanted).map_err(|f| f.on(node))?;
    if apply {
        for call in calls(&holdings) {
            tracing::warn!(node, "reap: {}", call.words());
            agents.call(node, call, None).await?;
        }
    }
    Ok(holdings)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn holding(assembly: &str, kind: HoldingKind) -> Holding {
        let (name, generation) = assembly.split_once('.').unwrap();
        let pool = PoolId { name: name.into(), generation: generation.parse().unwrap() };
        Holding { pool: Some(pool), kind: kind.into(), ..Holding::default() }
    }

    #[test]
    fn only_what_nobody_knows_and_only_what_was_named_goes() {
        let inventory = Inventory {
            holdings: vec![
                holding("known.1", HoldingKind::Ramdisk),
                holding("old.3", HoldingKind::Ramdisk),
                holding("old.4", HoldingKind::Export),
                holding("Foreign.1", HoldingKind::Export),
            ],
            ..Inventory::default()
        };
        let found = unknown(&inventory, |assembly| assembly.name.as_str() == "known");
        assert_eq!(found.len(), 2);
        assert_eq!(chosen(found.clone(), &[]).unwrap().len(), 2);
        let one = chosen(found.clone(), &["old.3".into()]).unwrap();
        assert_eq!(one, [holding("old.3", HoldingKind::Ramdisk)]);
        let refused = chosen(found, &["known.1".into()]).unwrap_err();
        assert!(refused.said.contains("known.1"), "{refused}");
    }

    #[test]
    fn a_heads_things_go_before_memory_and_targets_before_what_they_show() {
        let names = |calls: &[Call]| -> Vec<String> {
            calls.iter().map(|call| format!("{call:?}").chars().take(11).collect()).collect()
        };
        let holdings = [
            holding("old.3", HoldingKind::Ramdisk),
            holding("old.4", HoldingKind::Export),
            holding("old.4", HoldingKind::Session),
        ];
        let calls = calls(&holdings);
        assert_eq!(
            names(&calls),
            ["Unmount(Unm", "StopVolume(", "Detach(Deta", "DestroyExpo", "DestroyExpo"]
        );
        let Call::DestroyExport(first) = &calls[3] else { panic!("{calls:?}") };
        assert_eq!(first.pool.as_ref().unwrap().generation, 4);
    }

    proptest! {
        #[test]
        fn nothing_is_ever_forced(kinds in prop::collection::vec((1..7i32, 1..5u32), 0..20)) {
            let holdings: Vec<Holding> = kinds.iter().map(|(kind, generation)| {
                holding(&format!("old.{generation}"), HoldingKind::try_from(*kind).unwrap())
            }).collect();
            for call in calls(&holdings) {
                match call {
                    Call::Unmount(request) => prop_assert!(!request.force),
                    Call::DestroyExport(request) => prop_assert!(!request.force),
                    Call::StopVolume(_) | Call::Detach(_) => {}
                    other => prop_assert!(false, "{:?}", other),
                }
            }
        }
    }
}
