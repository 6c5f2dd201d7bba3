//! A pool of 3 TiB on memory that is not there: the donors' files are sparse. Sizes beyond what
//! 32 bits count, of bytes, sectors (2 TiB) and blocks' offsets, go through all that a head does.

use rampool_agent::names;
use rampool_proto::v1::{
    self, Backend, Export, FilesystemKind, GetUsageRequest, HoldingKind, VolumeLayout,
};

use crate::cluster::{Agent, Cluster, MIB, demo, export_request, pool};
use crate::trio::POINT;

/// What the volume holds, exactly.
const SIZE: u64 = 3 << 40;

/// How many donors; each really has 896 MiB.
const DONORS: u64 = 2;

/// What each lends: its share, and the mebibyte at its front that is md's or LVM's.
const PIECE: u64 = SIZE / DONORS + MIB;

/// Kept free of the donors' real memory while files are written.
const SPARE: u64 = 160 * MIB;

/// Directories, which XFS spreads over its allocation groups, and so over the whole volume.
const FOLDERS: u64 = 32;

/// Bytes between the beginnings of two files' contents in the noise that they share: no two
/// blocks of 4 KiB are the same.
const SHIFT: u64 = 997;

/// Compares the files with the noise, in large pieces: `cmp` reads 4 KiB at a time.
const COMPARE: &str = r#"
    my ($folders, $shift, $bytes) = @ARGV;
    for my $i (1..$folders) {
        open my $noise, "<", "/tmp/noise" or die; open my $file, "<", "d$i/f" or die;
        sysseek $noise, $i * $shift, 0; -s $file == $bytes or die "d$i/f has another size";
        for (my $left = $bytes; $left > 0; $left -= length $read) {
            sysread $file, $read, 1 << 20; sysread $noise, $written, length $read;
            length $read && $read eq $written or die "d$i/f differs $left bytes from its end";
        }
    }"#;

/// Makes on a donor what the agent's tmpfs backend makes, but for the reservation.
fn sparse_ramdisk(donor: &Agent) {
    let assembly = pool("demo", 1).as_ref().unwrap().try_into().unwrap();
    let (object, serial) = (names::object(&assembly), names::serial(&assembly, &donor.node.name()));
    donor
        .node
        .sh(&format!(
            "set -e
            modprobe target_core_file
            point=/run/rampool/ramdisk/{assembly}
            mkdir -m 700 $point
            mount -t tmpfs -o size={PIECE},nr_inodes=8,mode=0700 {object} $point
            truncate -s {PIECE} $point/ramdisk
            hba=/sys/kernel/config/target/core/fileio_7702000
            mkdir $hba $hba/{object}
            cd $hba/{object}
            printf %s fd_dev_name=$point/ramdisk,fd_dev_size={PIECE},fd_buffered_io=1 > control
            printf 1 > enable
            printf {serial} > wwn/vpd_unit_serial
            printf RAMPOOL > wwn/vendor_id
            printf 4096 > attrib/block_size
            printf 1 > attrib/is_nonrot
            printf 0 > attrib/emulate_3pc
            printf 0 > attrib/emulate_caw"
        ))
        .unwrap();
}

/// The agent takes the ramdisk for its own, whole one, and exports it.
fn lend(donor: &Agent) -> Export {
    sparse_ramdisk(donor);
    let request = export_request(Backend::Tmpfs, PIECE / MIB);
    let export = donor.create_export(request.clone()).unwrap();
    assert_eq!(export.bytes, PIECE);
    assert!(donor.create_export(request).unwrap().already);
    let holdings = donor.inventory().unwrap().holdings;
    let ramdisk = holdings.iter().find(|h| h.kind() == HoldingKind::Ramdisk).unwrap();
    assert_eq!(ramdisk.bytes, PIECE);
    export
}

#[test]
fn a_pool_of_three_tebibytes_is_whole_to_its_last_byte() {
    let cluster = Cluster::boot("agent-large", 3, 896);
    let (head, donors) = (cluster.agent("n1"), [cluster.agent("n2"), cluster.agent("n3")]);
    let exports: Vec<_> = donors.iter().map(lend).collect();
    let attached = head.attach_to(&exports).unwrap();
    assert!(attached.disks.iter().all(|disk| disk.bytes == PIECE), "{attached:?}");
    let volume = head.assemble(VolumeLayout::Lvm, &exports).unwrap();
    assert_eq!(volume.bytes, SIZE);
    reaches_its_end(&head, &volume.device);
    head.stop().unwrap();
    let volume = head.assemble(VolumeLayout::Md, &exports).unwrap();
    assert_eq!(volume.bytes, SIZE);
    reaches_its_end(&head, &volume.device);

    head.mkfs(FilesystemKind::Xfs, exports.len()).unwrap();
    head.mount_at(FilesystemKind::Xfs, POINT).unwrap();
    let usage = head.get_usage(GetUsageRequest { pool: demo() }).unwrap().usage.unwrap();
    // All but the log of 1 GiB and the groups' headers.
    assert!(usage.bytes_total > SIZE - (2 << 30) && usage.bytes_total < SIZE, "{usage:?}");
    assert!(usage.bytes_free > SIZE / 100 * 99 && usage.inodes_free > 1 << 28, "{usage:?}");
    holds_what_fits(&head, &donors);

    head.unmount_demo(false).unwrap();
    head.stop().unwrap();
    head.detach_demo().unwrap();
    for donor in &donors {
        let request = v1::DestroyExportRequest { pool: demo(), ..Default::default() };
        assert_eq!(donor.destroy_export(request).unwrap().freed_bytes, PIECE);
    }
    cluster.assert_as_at_boot();
}

/// The first and the last mebibyte, and those beside 2 TiB, are four different ones.
fn reaches_its_end(head: &Agent, device: &str) {
    let places = [0, (2 << 40) / MIB - 1, (2 << 40) / MIB, SIZE / MIB - 1];
    let places = places.map(|place| place.to_string()).join(" ");
    head.node
        .sh(&format!(
            "set -e; cd /tmp
            for place in {places}; do
                yes $place | head -c 1M | dd of={device} bs=1M seek=$place oflag=direct iflag=fullblock
            done 2>dd
            for place in {places}; do
                dd if={device} bs=1M skip=$place count=1 iflag=direct 2>dd >read
                yes $place | head -c 1M | cmp - read
            done
            ! dd if=/dev/zero of={device} bs=1M seek={} count=1 oflag=direct 2>dd
            rm dd read",
            SIZE / MIB
        ))
        .unwrap();
}

/// Writes about as much as the donors really have, all over the volume, and reads it back.
fn holds_what_fits(head: &Agent, donors: &[Agent]) {
    let real = donors.iter().map(|d| d.available().saturating_sub(SPARE)).min().unwrap() * DONORS;
    let file = real / FOLDERS;
    assert!(file >= 4 * MIB, "the donors have {} MiB left", real / MIB);
    let beyond = head
        .node
        .sh(&format!(
            "set -e; cd {POINT}
            # Each begins elsewhere in the same noise: no two have a block in common.
            head -c {} /dev/urandom > /tmp/noise
            for i in $(seq {FOLDERS}); do
                mkdir d$i
                dd if=/tmp/noise of=d$i/f bs=1M iflag=skip_bytes,count_bytes \
                    skip=$((i * {SHIFT})) count={file} 2>/tmp/dd
            done
            sync; echo 3 > /proc/sys/vm/drop_caches
            perl -e '{COMPARE}' {FOLDERS} {SHIFT} {file}
            rm /tmp/noise /tmp/dd
            # Sectors from 2 TiB on have numbers that 32 bits do not hold.
            xfs_io -r -c 'fiemap -v' d*/f |
                sed -n 's/^ *[0-9]*: \\[[^]]*\\]: *\\([0-9]*\\)\\.\\..*/\\1/p' |
                awk '$1 >= 4294967296' | wc -l",
            file + FOLDERS * SHIFT
        ))
        .unwrap();
    assert!(beyond.parse::<u32>().unwrap() > 0, "no file lies beyond 2 TiB");
}
