//! mkfs.xfs accepts the shape we give it at every size, from the smallest volume to exbibytes.

use rampool_agent::filesystem::shape::{Stripe, refuse_small_xfs, xfs};

use crate::cluster::{Cluster, MIB};

pub(crate) fn mkfs_takes_every_size_from_the_smallest_to_exbibytes(cluster: &Cluster) {
    let node = cluster.lab.node("n1").unwrap();
    // The edges of our own rules, and sizes beside powers of two.
    let edges = [300, 511, 512, 639, 1023, 1024, 16_383, 16_384];
    let powers = (30..=62).step_by(4).flat_map(|power| {
        let mib = (1u64 << power) / MIB;
        [mib + 3, mib + mib / 2]
    });
    let mut script = String::from("set -e; cd /tmp\n");
    for mib in edges.into_iter().chain(powers) {
        for (chunk_kib, width) in [(64, 1), (64, 5), (64, 128), (1024, 4)] {
            let bytes = mib * MIB;
            if u64::from(chunk_kib) * 1024 * u64::from(width) * 64 > bytes {
                // Wider stripes need larger members than such a volume has.
                continue;
            }
            refuse_small_xfs(bytes).unwrap();
            let uuid = "1d3f5c0a-8b7e-4f52-9a64-c1e0772602a9".parse().unwrap();
            let arguments = xfs(bytes, Stripe { chunk_kib, width }, 64, &uuid).join(" ");
            script.push_str(&format!(
                "truncate -s {bytes} f; mkfs.xfs -N {arguments} f >/dev/null 2>out || \
                 {{ echo {mib} MiB, {chunk_kib} KiB x {width}: $(head -3 out); }}\n"
            ));
        }
    }
    node.write_file("/tmp/script", 0o755, script).unwrap();
    let refused = node.sh("sh /tmp/script; rm /tmp/script /tmp/out /tmp/f").unwrap();
    assert_eq!(refused, "");
}
